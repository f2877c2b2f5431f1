// Launches and their errors.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace pyconv::cuda {

// Memory on the device for the duration of a call, in the order of its stream.
using Allocate = std::function<void*(std::int64_t bytes)>;

// After a launch: an error of the launch itself becomes an exception that names kernel and problem.
inline void check_launch(const char* kernel, const std::string& problem) {
    const cudaError_t error = cudaGetLastError();
    if (error == cudaSuccess) return;
    throw std::runtime_error(std::string("CUDA kernel ") + kernel + " (" + problem +
                             "): " + cudaGetErrorString(error));
}

}  // namespace pyconv::cuda
