// Normalization micro-kernels: vectors along the rows, four neighbouring rows at a time, which
// share the loads of what belongs to the columns and the stores of their sums, which stay in L1.
// What comes 1 KB later is prefetched: rows side by side are no stream that the hardware follows
// well.
#pragma once

#include "cpu/activation/activate.h"
#include "cpu/normalization/kernels.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// f(column, lanes) for every vector of a row; f is compiled for whole vectors apart.
template <class T, class F>
PYCONV_INLINE void for_columns(std::int64_t columns, F&& f) {
    constexpr int kLanes = Vec<T>::kLanes;
    std::int64_t j = 0;
    for (; j + kLanes <= columns; j += kLanes) f(j, Whole<T>());
    if (j < columns) f(j, static_cast<int>(columns - j));
}

// f(row, count of rows, column, lanes) for all of a matrix.
template <class T, class F>
PYCONV_INLINE void for_tiles(std::int64_t rows, std::int64_t columns, F&& f) {
    constexpr int kLanes = Vec<T>::kLanes;
    using One = std::integral_constant<int, 1>;
    const std::int64_t whole = columns / kLanes * kLanes;
    std::int64_t i = 0;
#if defined(PYCONV_ISA_avx512) || defined(PYCONV_ISA_avx2)  // the code is large
    for (; i + 4 <= rows; i += 4) {
        for (std::int64_t j = 0; j < whole; j += kLanes) {
            f(i, std::integral_constant<int, 4>(), j, Whole<T>());
        }
    }
#endif
    for (; i < rows; ++i) {
        for (std::int64_t j = 0; j < whole; j += kLanes) f(i, One(), j, Whole<T>());
    }
    if (whole == columns) return;
    for (i = 0; i < rows; ++i) f(i, One(), whole, static_cast<int>(columns - whole));
}

inline constexpr std::int64_t kAhead = 1024;  // bytes
template <class T>
PYCONV_INLINE void prefetch_ahead(const T* p) {
    prefetch(reinterpret_cast<const char*>(p) + kAhead);
}
template <class T>
PYCONV_INLINE void prefetch_write_ahead(const T* p) {
    prefetch_write(reinterpret_cast<const char*>(p) + kAhead);
}

template <int kRows, class T>
PYCONV_INLINE Vec<T> sum_of(const Vec<T> (&v)[kRows]) {
    if constexpr (kRows == 4) {
        return (v[0] + v[1]) + (v[2] + v[3]);
    } else {
        return v[0];
    }
}

template <class T>
void row_sums(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step, T* sum) {
    for_columns<T>(columns, [&](std::int64_t j, auto lanes)
                                PYCONV_INLINE_LAMBDA { store(Vec<T>::zero(), sum + j, lanes); });
    for_tiles<T>(rows, columns,
                 [&](std::int64_t i, auto count, std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
                     constexpr int kRows = decltype(count)::value;
                     const T* row = x + i * step;
                     Vec<T> v[kRows];
#pragma GCC unroll 4
                     for (int r = 0; r < kRows; ++r) {
                         prefetch_ahead(row + r * step + j);
                         v[r] = load(row + r * step + j, lanes);
                     }
                     store(load(sum + j, lanes) + sum_of<kRows>(v), sum + j, lanes);
                 });
}

// The rows lie in the caches: four share the loads and stores of the sums.
template <class T>
void row_deviations(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step,
                    const T* mean, T* m2) {
    using V = Vec<T>;
    for_columns<T>(columns, [&](std::int64_t j, auto lanes)
                                PYCONV_INLINE_LAMBDA { store(V::zero(), m2 + j, lanes); });
    std::int64_t i = 0;
    for (; i + 4 <= rows; i += 4) {
        const T* row = x + i * step;
        for_columns<T>(columns, [&](std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
            const V center = load(mean + j, lanes);
            const T* p = row + j;
            const V a = load(p, lanes) - center;
            const V b = load(p + step, lanes) - center;
            const V c = load(p + 2 * step, lanes) - center;
            const V d = load(p + 3 * step, lanes) - center;
            const V first = fma(a, a, load(m2 + j, lanes));
            store(first + fma(b, b, fma(c, c, d * d)), m2 + j, lanes);
        });
    }
    for (; i < rows; ++i) {
        const T* row = x + i * step;
        for_columns<T>(columns, [&](std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
            const V a = load(row + j, lanes) - load(mean + j, lanes);
            store(fma(a, a, load(m2 + j, lanes)), m2 + j, lanes);
        });
    }
}

// Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
// variances" (1979): the m2 of a union is the sum of both and (mean - other mean)^2 times
// rows * other_rows / (rows + other_rows).
template <class T>
void merge_statistics(T* sum, T* m2, T rows, const T* other_sum, const T* other_m2, T other_rows,
                      std::int64_t columns) {
    using V = Vec<T>;
    const V count = V::broadcast(rows);
    const V other_count = V::broadcast(other_rows);
    const V weight = V::broadcast(rows * other_rows / (rows + other_rows));
    const bool first = rows == 0;
    for_columns<T>(columns, [&](std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
        const V a = load(sum + j, lanes);
        const V b = load(other_sum + j, lanes);
        V total = load(other_m2 + j, lanes);
        if (!first) {
            const V between = b / other_count - a / count;
            total = fma(between * between, weight, load(m2 + j, lanes) + total);
        }
        store(total, m2 + j, lanes);
        store(first ? b : a + b, sum + j, lanes);
    });
}

// f(constant) with the activation known to the compiler where it is a common one.
template <class F>
PYCONV_INLINE void with_activation(Activation activation, F&& f) {
    if (activation == Activation::none) {
        f(std::integral_constant<Activation, Activation::none>());
    } else if (activation == Activation::relu) {
        f(std::integral_constant<Activation, Activation::relu>());
    } else if (activation == Activation::relu6) {
        f(std::integral_constant<Activation, Activation::relu6>());
    } else {
        f(activation);
    }
}

template <class T, class A, bool kResidual>
PYCONV_INLINE void normalize_rows_with(const NormalizeRows<T>& given, A activation) {
    const NormalizeRows<T> p = given;  // which no store can change
    for_tiles<T>(p.rows, p.columns,
                 [&](std::int64_t i, auto count, std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
                     constexpr int kRows = decltype(count)::value;
                     const std::int64_t at = i * p.step + j;
                     const Vec<T> mean = load(p.mean + j, lanes);
                     const Vec<T> scale = load(p.scale + j, lanes);
                     const Vec<T> beta = load(p.beta + j, lanes);
                     Vec<T> v[kRows];
#pragma GCC unroll 4
                     for (int r = 0; r < kRows; ++r) {
                         const std::int64_t there = at + r * p.step;
                         prefetch_ahead(p.x + there);
                         v[r] = fma(load(p.x + there, lanes) - mean, scale, beta);
                         if constexpr (kResidual) v[r] = v[r] + load(p.residual + there, lanes);
                         v[r] = activate(activation, v[r], p.slope);
                     }
#pragma GCC unroll 4
                     for (int r = 0; r < kRows; ++r) {
                         const std::int64_t there = at + r * p.step;
                         if (!p.past_caches) prefetch_write_ahead(p.y + there);
                         put(v[r], p.y + there, lanes, p.past_caches);
                     }
                 });
    if (p.past_caches) stream_fence();
}

template <class T>
void normalize_rows(const NormalizeRows<T>& p) {
    with_activation(p.activation, [&](auto activation) PYCONV_INLINE_LAMBDA {
        if (p.residual) {
            normalize_rows_with<T, decltype(activation), true>(p, activation);
        } else {
            normalize_rows_with<T, decltype(activation), false>(p, activation);
        }
    });
}

// dy times the derivative at the input of which y is the output. The activations that clip keep
// the sign of their input, so that y decides; a NaN in y lets dy through, as for ReLU's input.
template <class T>
PYCONV_INLINE Vec<T> through_activation(Activation activation, Vec<T> dy, Vec<T> y, T slope) {
    using V = Vec<T>;
    const V zero = V::zero();
    switch (activation) {
        case Activation::relu:
            return select(less_equal(y, zero), zero, dy);
        case Activation::relu6:
            return select(less_equal(y, zero) | less_equal(V::broadcast(T(6)), y), zero, dy);
        case Activation::leaky_relu:
            return select(less(zero, y), dy, dy * V::broadcast(slope));
        case Activation::sigmoid:
            return dy * y * (V::broadcast(T(1)) - y);
        case Activation::tanh:
            return dy * fnma(y, y, V::broadcast(T(1)));
        default:
            return dy;
    }
}

// f(dz) with dz(dy, x's deviation from the mean, at, column, lanes), compiled for each usual way.
template <class T, class F>
PYCONV_INLINE void with_through(const Through<T>& p, F&& f) {
    using V = Vec<T>;
    with_activation(p.activation, [&](auto activation) PYCONV_INLINE_LAMBDA {
        if constexpr (std::is_same_v<decltype(activation),
                                     std::integral_constant<Activation, Activation::none>>) {
            f([](V dy, V, std::int64_t, std::int64_t, auto) PYCONV_INLINE_LAMBDA { return dy; });
        } else if (p.y) {
            f([&p, activation](V dy, V, std::int64_t at, std::int64_t, auto lanes)
                  PYCONV_INLINE_LAMBDA {
                      return through_activation<T>(activation, dy, load(p.y + at, lanes), p.slope);
                  });
        } else {
            f([&p, activation](V dy, V deviation, std::int64_t, std::int64_t j, auto lanes)
                  PYCONV_INLINE_LAMBDA {
                      const V z = fma(deviation, load(p.scale + j, lanes), load(p.beta + j, lanes));
                      return through_activation<T>(activation, dy, z, p.slope);
                  });
        }
    });
}

template <class T>
void gradient_sums(const GradientSums<T>& given) {
    using V = Vec<T>;
    const GradientSums<T> p = given;  // which no store can change
    with_through(p.through, [&](auto through) PYCONV_INLINE_LAMBDA {
        for_tiles<T>(
            p.rows, p.columns,
            [&](std::int64_t i, auto count, std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
                constexpr int kRows = decltype(count)::value;
                const std::int64_t at = i * p.step + j;
                const V mean = load(p.mean + j, lanes);
                V dz[kRows], product[kRows];
#pragma GCC unroll 4
                for (int r = 0; r < kRows; ++r) {
                    const std::int64_t there = at + r * p.step;
                    prefetch_ahead(p.x + there);
                    prefetch_ahead(p.dy + there);
                    const V deviation = load(p.x + there, lanes) - mean;
                    dz[r] = through(load(p.dy + there, lanes), deviation, there, j, lanes);
                    product[r] = dz[r] * deviation;
                }
                if (p.dz) {
#pragma GCC unroll 4
                    for (int r = 0; r < kRows; ++r) store(dz[r], p.dz + at + r * p.step, lanes);
                }
                store(load(p.sum + j, lanes) + sum_of<kRows>(dz), p.sum + j, lanes);
                store(load(p.product + j, lanes) + sum_of<kRows>(product), p.product + j, lanes);
            });
    });
}

template <class T>
void gradient_rows(const GradientRows<T>& given) {
    using V = Vec<T>;
    const GradientRows<T> p = given;
    with_through(p.through, [&](auto through) PYCONV_INLINE_LAMBDA {
        for_tiles<T>(
            p.rows, p.columns,
            [&](std::int64_t i, auto count, std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
                constexpr int kRows = decltype(count)::value;
                const std::int64_t at = i * p.step + j;
                const V mean = load(p.mean + j, lanes);
                const V scale = load(p.scale + j, lanes);
                const V offset = load(p.offset + j, lanes);
                const V slope = load(p.slope + j, lanes);
                V dx[kRows];
#pragma GCC unroll 4
                for (int r = 0; r < kRows; ++r) {
                    const std::int64_t there = at + r * p.step;
                    prefetch_ahead(p.x + there);
                    prefetch_ahead(p.dy + there);
                    const V deviation = load(p.x + there, lanes) - mean;
                    const V dz = through(load(p.dy + there, lanes), deviation, there, j, lanes);
                    dx[r] = fma(deviation, slope, fma(dz, scale, offset));
                }
#pragma GCC unroll 4
                for (int r = 0; r < kRows; ++r) {
                    const std::int64_t there = at + r * p.step;
                    if (!p.past_caches) prefetch_write_ahead(p.dx + there);
                    put(dx[r], p.dx + there, lanes, p.past_caches);
                }
            });
    });
    if (p.past_caches) stream_fence();
}

}  // namespace pyconv::PYCONV_ISA
