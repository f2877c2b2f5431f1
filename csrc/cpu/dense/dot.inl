// Few rows against a matrix that lies along the sum (a dense layer's weight at a small batch): the
// vectors run along the sum, up to five rows of the matrix at a time, each element of it read once;
// also many rows against so few columns that whole vectors of them would be mostly empty. 4 x 5
// sums with 32 registers, 2 x 5 with 16: 10 FMAs (5 cycles) against 7 loads.
#pragma once

#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// c[i][j] = sum over k of a[i * a_step + k] * b[j * b_step + k], i < kRows, j < kColumns.
template <class T, int kRows, int kColumns>
void dot_tile(const T* a, std::int64_t a_step, const T* b, std::int64_t b_step, std::int64_t depth,
              T* c, std::int64_t c_step) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    V sum[kRows][kColumns];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 5
        for (int j = 0; j < kColumns; ++j) sum[i][j] = V::zero();
    }
    const auto step = [&](auto&& load) PYCONV_INLINE_LAMBDA {
        V x[kRows];
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i) x[i] = load(a + i * a_step);
#pragma GCC unroll 5
        for (int j = 0; j < kColumns; ++j) {
            const V w = load(b + j * b_step);
#pragma GCC unroll 4
            for (int i = 0; i < kRows; ++i) sum[i][j] = fma(x[i], w, sum[i][j]);
        }
    };
    std::int64_t k = 0;
    for (; k + kLanes <= depth; k += kLanes) {
        if constexpr (kRows == 1) {
            // The matrix is read once, at the speed of memory: the next rows of it.
#pragma GCC unroll 5
            for (int j = 0; j < kColumns; ++j) prefetch(b + (kColumns + j) * b_step + k);
        }
        step([k](const T* p) { return V::load(p + k); });
    }
    if (k < depth) {
        const int rest = static_cast<int>(depth - k);
        step([k, rest](const T* p) { return V::load_partial(p + k, rest); });
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 5
        for (int j = 0; j < kColumns; ++j) c[i * c_step + j] = reduce_add(sum[i][j]);
    }
}

}  // namespace pyconv::PYCONV_ISA
