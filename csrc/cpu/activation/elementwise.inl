// Activations and their derivatives over dense memory.
#pragma once

#include "cpu/activation/activate.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// f(i, lanes) gives a vector of results from element i on; `past_caches`: y is aligned to vectors,
// and so large that it leaves the caches before anyone reads it.
template <class T, class F>
PYCONV_INLINE void for_each_vector(T* y, std::int64_t n, bool past_caches, F f) {
    constexpr int kLanes = Vec<T>::kLanes;
    std::int64_t i = 0;
    if (past_caches) {
        for (; i + kLanes <= n; i += kLanes) f(i, kLanes).stream(y + i);
        stream_fence();
    } else {
        // Two at a time: their chains of operations overlap.
        for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
            const Vec<T> a = f(i, kLanes);
            const Vec<T> b = f(i + kLanes, kLanes);
            put_in_order(a, y + i, Whole<T>(), false);
            put_in_order(b, y + i + kLanes, Whole<T>(), false);
        }
        for (; i + kLanes <= n; i += kLanes) f(i, kLanes).store(y + i);
    }
    if (i < n) {
        const int lanes = static_cast<int>(n - i);
        f(i, lanes).store_partial(y + i, lanes);
    }
}

template <class T, Activation kActivation>
void forward(const T* x, T* y, std::int64_t n, T slope, bool past_caches) {
    for_each_vector(y, n, past_caches, [&](std::int64_t i, int lanes) PYCONV_INLINE_LAMBDA {
        const Vec<T> v = load(x + i, lanes);
        if constexpr (kActivation == Activation::sigmoid) {
            return sigmoid(v);
        } else if constexpr (kActivation == Activation::tanh) {
            return tanh(v);
        } else if constexpr (kActivation == Activation::silu) {
            return v * sigmoid(v);
        } else if constexpr (kActivation == Activation::gelu) {
            return v * normal_distribution(v).distribution;
        } else {
            return activate(kActivation, v, slope);
        }
    });
}

// dy times the derivative at x. Where x is a NaN, the three that clip pass dy as for a large x
// (leaky_relu: a small one).
template <class T, Activation kActivation>
PYCONV_INLINE Vec<T> differentiate(Vec<T> dy, Vec<T> x, Vec<T> slope) {
    using V = Vec<T>;
    const V zero = V::zero();
    const V one = V::broadcast(T(1));
    if constexpr (kActivation == Activation::relu) {
        return select(less_equal(x, zero), zero, dy);
    } else if constexpr (kActivation == Activation::relu6) {
        return select(less_equal(x, zero) | less_equal(V::broadcast(T(6)), x), zero, dy);
    } else if constexpr (kActivation == Activation::leaky_relu) {
        return select(less(zero, x), dy, dy * slope);
    } else if constexpr (kActivation == Activation::sigmoid) {
        const V e = exp_of_negative(zero - abs(x));  // s(x) s(-x) = e / (1 + e)^2
        const V d = one / (one + e);
        return dy * (e * d * d);
    } else if constexpr (kActivation == Activation::tanh) {
        const V e = exp_of_negative(V::broadcast(T(-2)) * abs(x));  // 1 - tanh^2 = 4 e / (1 + e)^2
        const V d = one / (one + e);
        return dy * (V::broadcast(T(4)) * e * d * d);
    } else if constexpr (kActivation == Activation::silu) {
        const Logistic<T> s = logistic(x);
        return dy * s.at_x * fma(x, s.at_minus_x, one);
    } else {
        constexpr T kPeak = T(0.39894228040143267794);  // 1 / sqrt(2 pi)
        const NormalDistribution<T> p = normal_distribution(x);
        return dy * fma(x, p.exponential * V::broadcast(kPeak), p.distribution);
    }
}

template <class T, Activation kActivation>
void backward(const T* dy, const T* x, T* dx, std::int64_t n, T slope, bool past_caches) {
    const Vec<T> slopes = Vec<T>::broadcast(slope);
    for_each_vector(dx, n, past_caches, [&](std::int64_t i, int lanes) PYCONV_INLINE_LAMBDA {
        return differentiate<T, kActivation>(load(dy + i, lanes), load(x + i, lanes), slopes);
    });
}

}  // namespace pyconv::PYCONV_ISA
