// Dropout with random numbers that depend on the seed and the logical position alone.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pyconv::cuda {

// Memory of images x pixels x channels elements, whose random numbers are counted as images x
// channels x pixels.
struct DropoutShape {
    std::int64_t images, channels, pixels;
};

template <class T>
void dropout(const DropoutShape& shape, double p, std::uint64_t seed, const T* x, T* y, bool* mask,
             cudaStream_t stream);

template <class T>
void dropout_backward(std::int64_t n, double p, const T* dy, const bool* mask, T* dx,
                      cudaStream_t stream);

}  // namespace pyconv::cuda
