// The sum over the rows of a matrix: bias gradients.
#pragma once

#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// out[j] = sum over i of x[i * step + j], in the order of i.
template <class T>
void column_sum(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step, T* out) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    std::int64_t j = 0;
    for (; j + 4 * kLanes <= columns; j += 4 * kLanes) {
        V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
        const T* p = x + j;
        for (std::int64_t i = 0; i < rows; ++i, p += step) {
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) sum[v] = sum[v] + V::load(p + v * kLanes);
        }
        for (int v = 0; v < 4; ++v) sum[v].store(out + j + v * kLanes);
    }
    for (; j < columns; j += kLanes) {
        const int lanes = columns - j < kLanes ? static_cast<int>(columns - j) : kLanes;
        V sum = V::zero();
        const T* p = x + j;
        for (std::int64_t i = 0; i < rows; ++i, p += step) {
            sum = sum + (lanes == kLanes ? V::load(p) : V::load_partial(p, lanes));
        }
        sum.store_partial(out + j, lanes);
    }
}

}  // namespace pyconv::PYCONV_ISA
