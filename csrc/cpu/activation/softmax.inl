// Softmax and its logarithm, with their derivatives: along rows that are dense in memory, or down
// columns that lie side by side, one in each lane.
#pragma once

#include <cmath>
#include <limits>

#include "cpu/activation/exponential.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

template <class T>
PYCONV_INLINE T logarithm(T x) {
    return static_cast<T>(std::log(static_cast<double>(x)));
}
template <class T>
PYCONV_INLINE Vec<T> logarithms(Vec<T> x) {
    T lanes[Vec<T>::kLanes];
    x.store(lanes);
    for (T& value : lanes) value = logarithm(value);
    return Vec<T>::load(lanes);
}

template <class T>
PYCONV_INLINE Mask<T> first_lanes(int n) {
    static const T numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return less(Vec<T>::load(numbers), Vec<T>::broadcast(static_cast<T>(n)));
}

// f(i, lanes) for each vector of a row.
template <class T, class F>
PYCONV_INLINE void along_row(std::int64_t n, F f) {
    constexpr int kLanes = Vec<T>::kLanes;
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
    if (i < n) f(i, static_cast<int>(n - i));
}
template <class T>
PYCONV_INLINE Vec<T> load_row(const T* p, int lanes, T rest) {
    if (lanes == Vec<T>::kLanes) return Vec<T>::load(p);
    return select(first_lanes<T>(lanes), Vec<T>::load_partial(p, lanes), Vec<T>::broadcast(rest));
}

// A NaN may get lost here: exp(x - max) finds it again.
template <class T>
PYCONV_INLINE T row_max(const T* x, std::int64_t n) {
    constexpr T kLowest = -std::numeric_limits<T>::infinity();
    Vec<T> best = Vec<T>::broadcast(kLowest);
    along_row<T>(n, [&](std::int64_t i, int lanes) PYCONV_INLINE_LAMBDA {
        best = max(best, load_row(x + i, lanes, kLowest));
    });
    return reduce_max(best);
}

// The sum of exp(x - top); the terms are left in `y` where there is one.
template <class T, bool kStore>
PYCONV_INLINE T row_exponentials(const T* x, std::int64_t n, T top, T* y) {
    using V = Vec<T>;
    V sum = V::zero();
    along_row<T>(n, [&](std::int64_t i, int lanes) PYCONV_INLINE_LAMBDA {
        // In lanes behind the end exp(-inf - top) = 0, be top what it may, but for -inf and NaN,
        // where all is NaN.
        const V e = exp_of_negative(load_row(x + i, lanes, -std::numeric_limits<T>::infinity()) -
                                    V::broadcast(top));
        sum = sum + e;
        if (kStore) store(e, y + i, lanes);
    });
    return reduce_add(sum);
}

template <class T, bool kLogarithm>
void softmax_rows(const T* x, T* y, std::int64_t rows, std::int64_t n) {
    using V = Vec<T>;
    for (std::int64_t r = 0; r < rows; ++r, x += n, y += n) {
        const T top = row_max(x, n);
        const T sum = row_exponentials<T, !kLogarithm>(x, n, top, y);
        if (kLogarithm) {
            const V shift = V::broadcast(logarithm(sum));
            along_row<T>(n, [&](std::int64_t i, int lanes) PYCONV_INLINE_LAMBDA {
                store(load_row(x + i, lanes, T(0)) - V::broadcast(top) - shift, y + i, lanes);
            });
        } else {
            const V scale = V::broadcast(T(1) / sum);
            along_row<T>(n, [&](std::int64_t i, int lanes) PYCONV_INLINE_LAMBDA {
                store(load_row(y + i, lanes, T(0)) * scale, y + i, lanes);
            });
        }
    }
}

// From the result y: y (dy - sum y dy), and dy - exp(y) sum dy.
template <class T, bool kLogarithm>
PYCONV_INLINE Vec<T> softmax_term(Vec<T> dy, Vec<T> y) {
    return kLogarithm ? dy : y * dy;
}
template <class T, bool kLogarithm>
PYCONV_INLINE Vec<T> softmax_derivative(Vec<T> dy, Vec<T> y, Vec<T> sum) {
    return kLogarithm ? fnma(exp(y), sum, dy) : y * (dy - sum);
}

template <class T, bool kLogarithm>
void softmax_backward_rows(const T* dy, const T* y, T* dx, std::int64_t rows, std::int64_t n) {
    using V = Vec<T>;
    for (std::int64_t r = 0; r < rows; ++r, dy += n, y += n, dx += n) {
        V sums = V::zero();
        along_row<T>(n, [&](std::int64_t i, int lanes) PYCONV_INLINE_LAMBDA {
            sums = sums + softmax_term<T, kLogarithm>(load_row(dy + i, lanes, T(0)),
                                                      load_row(y + i, lanes, T(0)));
        });
        const V sum = V::broadcast(reduce_add(sums));
        along_row<T>(n, [&](std::int64_t i, int lanes) PYCONV_INLINE_LAMBDA {
            store(softmax_derivative<T, kLogarithm>(load_row(dy + i, lanes, T(0)),
                                                    load_row(y + i, lanes, T(0)), sum),
                  dx + i, lanes);
        });
    }
}

// `columns` of `length` elements, `step` apart.
template <class T, bool kLogarithm>
void softmax_columns(const T* x, T* y, std::int64_t length, std::int64_t step,
                     std::int64_t columns) {
    using V = Vec<T>;
    along_row<T>(columns, [&](std::int64_t j, int lanes) PYCONV_INLINE_LAMBDA {
        V top = V::broadcast(-std::numeric_limits<T>::infinity());
        for (std::int64_t k = 0; k < length; ++k) {
            top = max(top, load_row(x + k * step + j, lanes, T(0)));
        }
        V sum = V::zero();
        for (std::int64_t k = 0; k < length; ++k) {
            const V e = exp_of_negative(load_row(x + k * step + j, lanes, T(0)) - top);
            sum = sum + e;
            if (!kLogarithm) store(e, y + k * step + j, lanes);
        }
        const V last = kLogarithm ? logarithms(sum) : V::broadcast(T(1)) / sum;
        for (std::int64_t k = 0; k < length; ++k) {
            T* const to = y + k * step + j;
            store(kLogarithm ? load_row(x + k * step + j, lanes, T(0)) - top - last
                             : load_row(to, lanes, T(0)) * last,
                  to, lanes);
        }
    });
}

template <class T, bool kLogarithm>
void softmax_backward_columns(const T* dy, const T* y, T* dx, std::int64_t length,
                              std::int64_t step, std::int64_t columns) {
    using V = Vec<T>;
    along_row<T>(columns, [&](std::int64_t j, int lanes) PYCONV_INLINE_LAMBDA {
        V sum = V::zero();
        for (std::int64_t k = 0; k < length; ++k) {
            const std::int64_t i = k * step + j;
            sum = sum + softmax_term<T, kLogarithm>(load_row(dy + i, lanes, T(0)),
                                                    load_row(y + i, lanes, T(0)));
        }
        for (std::int64_t k = 0; k < length; ++k) {
            const std::int64_t i = k * step + j;
            store(softmax_derivative<T, kLogarithm>(load_row(dy + i, lanes, T(0)),
                                                    load_row(y + i, lanes, T(0)), sum),
                  dx + i, lanes);
        }
    });
}

}  // namespace pyconv::PYCONV_ISA
