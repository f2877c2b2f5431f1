// Normalization micro-kernels: vectors along the rows, one row after the other as they lie in
// memory (several at a time would keep the prefetchers from seeing one stream); the sums of the
// columns stay in L1.
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

template <class T>
void row_sums(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step, T* sum) {
    for_columns<T>(columns, [&](std::int64_t j, auto lanes)
                                PYCONV_INLINE_LAMBDA { store(Vec<T>::zero(), sum + j, lanes); });
    for (std::int64_t i = 0; i < rows; ++i) {
        const T* row = x + i * step;
        for_columns<T>(columns, [&](std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
            store(load(sum + j, lanes) + load(row + j, lanes), sum + j, lanes);
        });
    }
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
PYCONV_INLINE void normalize_rows_with(const NormalizeRows<T>& p, A activation) {
    for (std::int64_t i = 0; i < p.rows; ++i) {
        for_columns<T>(p.columns, [&](std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
            const std::int64_t at = i * p.step + j;
            Vec<T> v = fma(load(p.x + at, lanes) - load(p.mean + j, lanes),
                           load(p.scale + j, lanes), load(p.beta + j, lanes));
            if constexpr (kResidual) v = v + load(p.residual + at, lanes);
            put_in_order(activate(activation, v, p.slope), p.y + at, lanes, p.past_caches);
        });
    }
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
void gradient_sums(const GradientSums<T>& p) {
    using V = Vec<T>;
    with_through(p.through, [&](auto through) PYCONV_INLINE_LAMBDA {
        for (std::int64_t i = 0; i < p.rows; ++i) {
            for_columns<T>(p.columns, [&](std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
                const std::int64_t at = i * p.step + j;
                const V deviation = load(p.x + at, lanes) - load(p.mean + j, lanes);
                const V dz = through(load(p.dy + at, lanes), deviation, at, j, lanes);
                if (p.dz) store(dz, p.dz + at, lanes);
                store(load(p.sum + j, lanes) + dz, p.sum + j, lanes);
                store(fma(dz, deviation, load(p.product + j, lanes)), p.product + j, lanes);
            });
        }
    });
}

template <class T>
void gradient_rows(const GradientRows<T>& p) {
    using V = Vec<T>;
    with_through(p.through, [&](auto through) PYCONV_INLINE_LAMBDA {
        for (std::int64_t i = 0; i < p.rows; ++i) {
            for_columns<T>(p.columns, [&](std::int64_t j, auto lanes) PYCONV_INLINE_LAMBDA {
                const std::int64_t at = i * p.step + j;
                const V deviation = load(p.x + at, lanes) - load(p.mean + j, lanes);
                V dz = through(load(p.dy + at, lanes), deviation, at, j, lanes);
                dz = fma(dz, load(p.scale + j, lanes), load(p.offset + j, lanes));
                put_in_order(fma(deviation, load(p.slope + j, lanes), dz), p.dx + at, lanes,
                             p.past_caches);
            });
        }
    });
    if (p.past_caches) stream_fence();
}

}  // namespace pyconv::PYCONV_ISA
