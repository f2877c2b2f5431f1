// Arrays of any strides, laid out anew.
#pragma once

#include <cuda_runtime.h>

#include "cuda/common/index.h"

namespace pyconv::cuda {

// Elements of `size` bytes (1, 2, 4 or 8), strides in bytes.
struct StridedCopy {
    Axes extent{{1, 1, 1, 1}}, from, to;
    const char* source = nullptr;
    char* target = nullptr;
    int size = 4;
};
void copy_strided(const StridedCopy& copy, cudaStream_t stream);

}  // namespace pyconv::cuda
