// Cross-entropy, row by row: the softmax and its logarithm at one place.
#pragma once

#include "cpu/activation/softmax.inl"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

template <class T>
void cross_entropy(const T* x, const std::int64_t* targets, std::int64_t rows, std::int64_t n, T* p,
                   double* losses) {
    using V = Vec<T>;
    for (std::int64_t r = 0; r < rows; ++r, x += n, p += n) {
        const T top = row_max(x, n);
        const T sum = row_exponentials<T, true>(x, n, top, p);
        const V scale = V::broadcast(T(1) / sum);
        along_row<T>(n, [&](std::int64_t i, int lanes) PYCONV_INLINE_LAMBDA {
            store(load_row(p + i, lanes, T(0)) * scale, p + i, lanes);
        });
        const double distance = static_cast<double>(x[targets[r]]) - static_cast<double>(top);
        losses[r] = std::log(static_cast<double>(sum)) - distance;
    }
}

template <class T>
void cross_entropy_backward(const T* p, const std::int64_t* targets, std::int64_t rows,
                            std::int64_t n, T scale, T* dx) {
    using V = Vec<T>;
    for (std::int64_t r = 0; r < rows; ++r, p += n, dx += n) {
        along_row<T>(n, [&](std::int64_t i, int lanes) PYCONV_INLINE_LAMBDA {
            store(load_row(p + i, lanes, T(0)) * V::broadcast(scale), dx + i, lanes);
        });
        dx[targets[r]] = (p[targets[r]] - T(1)) * scale;
    }
}

}  // namespace pyconv::PYCONV_ISA
