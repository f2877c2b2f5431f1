// Copies into the packed forms that the micro-kernels read.
#pragma once

#include <cstdint>

namespace pyconv {

// dst[k * width + j] = src[k * k_step + j * j_step] for k < depth, j < columns; zero for
// columns <= j < width.
template <class T>
void pack(const T* src, std::int64_t k_step, std::int64_t j_step, std::int64_t depth,
          std::int64_t columns, std::int64_t width, T* dst);

}  // namespace pyconv
