// Norms, summed in float64: sixteen sums side by side, added up in the end, so that the order is
// the same for every instruction set.
#pragma once

#include <cmath>

#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

template <class T, class F>
PYCONV_INLINE double side_by_side(const T* x, std::int64_t n, F combine) {
    constexpr int kSums = 16;
    double sum[kSums] = {};
    std::int64_t i = 0;
    for (; i + kSums <= n; i += kSums) {
        for (int j = 0; j < kSums; ++j) sum[j] = combine(sum[j], static_cast<double>(x[i + j]));
    }
    for (int j = 0; i < n; ++i, ++j) sum[j] = combine(sum[j], static_cast<double>(x[i]));
    for (int half = kSums / 2; half > 0; half /= 2) {
        for (int j = 0; j < half; ++j) sum[j] += sum[j + half];
    }
    return sum[0];
}

template <class T>
double sum_abs(const T* x, std::int64_t n) {
    return side_by_side(
        x, n, [](double sum, double a) PYCONV_INLINE_LAMBDA { return sum + __builtin_fabs(a); });
}

template <class T>
double sum_squares(const T* x, std::int64_t n) {
    return side_by_side(x, n,
                        [](double sum, double a) PYCONV_INLINE_LAMBDA { return sum + a * a; });
}

template <class T>
double sum_powers(const T* x, std::int64_t n, double order) {
    return side_by_side(x, n, [order](double sum, double a) PYCONV_INLINE_LAMBDA {
        return sum + pow(__builtin_fabs(a), order);
    });
}

template <class T>
double max_abs(const T* x, std::int64_t n) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    V best = V::zero();
    auto nans = is_nan(best);
    std::int64_t i = 0;
    for (; i < n; i += kLanes) {
        const V v =
            i + kLanes <= n ? V::load(x + i) : V::load_partial(x + i, static_cast<int>(n - i));
        nans = nans | is_nan(v);
        best = max(best, abs(v));
    }
    if (any(nans)) return std::numeric_limits<double>::quiet_NaN();
    return static_cast<double>(reduce_max(best));
}

}  // namespace pyconv::PYCONV_ISA
