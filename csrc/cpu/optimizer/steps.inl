// Steps of gradient descent over dense memory.
#pragma once

#include "cpu/optimizer/kernels.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// f(i, load, store) for each vector: load(p) reads the elements of p that it covers, store(v, p)
// writes them.
template <class T, class F>
PYCONV_INLINE void over_vectors(std::int64_t n, F f) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        f([i](const T* p) PYCONV_INLINE_LAMBDA { return V::load(p + i); },
          [i](V v, T* p) PYCONV_INLINE_LAMBDA { v.store(p + i); });
    }
    if (i < n) {
        const int lanes = static_cast<int>(n - i);
        f([i, lanes](const T* p) PYCONV_INLINE_LAMBDA { return V::load_partial(p + i, lanes); },
          [i, lanes](V v, T* p) PYCONV_INLINE_LAMBDA { v.store_partial(p + i, lanes); });
    }
}

template <class T, bool kMomentum, bool kDecay>
void sgd_loop(T* parameter, const T* gradient, T* velocity, std::int64_t n,
              const SgdFactors<T>& factors) {
    using V = Vec<T>;
    const V lr = V::broadcast(factors.lr);
    const V momentum = V::broadcast(factors.momentum);
    const V undamped = V::broadcast(factors.undamped);
    const V decay = V::broadcast(factors.weight_decay);
    const bool nesterov = factors.nesterov;
    over_vectors<T>(n, [&](auto load, auto store) PYCONV_INLINE_LAMBDA {
        const V p = load(parameter);
        V g = load(gradient);
        if (kDecay) g = fma(decay, p, g);
        if (kMomentum) {
            const V v = fma(momentum, load(velocity), undamped * g);
            store(v, velocity);
            g = nesterov ? fma(momentum, v, g) : v;
        }
        store(fnma(lr, g, p), parameter);
    });
}

template <class T>
void sgd(T* parameter, const T* gradient, T* velocity, std::int64_t n,
         const SgdFactors<T>& factors) {
    const bool decay = factors.weight_decay != T(0);
    const auto loop = velocity ? (decay ? sgd_loop<T, true, true> : sgd_loop<T, true, false>)
                               : (decay ? sgd_loop<T, false, true> : sgd_loop<T, false, false>);
    loop(parameter, gradient, velocity, n, factors);
}

template <class T, bool kDecay>
void adam_loop(T* parameter, const T* gradient, T* first, T* second, std::int64_t n,
               const AdamFactors<T>& factors) {
    using V = Vec<T>;
    const V beta1 = V::broadcast(factors.beta1), rest1 = V::broadcast(factors.rest1);
    const V beta2 = V::broadcast(factors.beta2), rest2 = V::broadcast(factors.rest2);
    const V eps = V::broadcast(factors.eps), step = V::broadcast(factors.step);
    const V correction = V::broadcast(factors.correction);
    const V decay = V::broadcast(factors.weight_decay), shrink = V::broadcast(factors.shrink);
    over_vectors<T>(n, [&](auto load, auto store) PYCONV_INLINE_LAMBDA {
        V p = load(parameter);
        V g = load(gradient);
        if (kDecay) {
            g = fma(decay, p, g);
            p = shrink * p;
        }
        const V m = fma(beta1, load(first), rest1 * g);
        const V v = fma(beta2, load(second), rest2 * g * g);
        store(m, first);
        store(v, second);
        store(p - step * m / fma(sqrt(v), correction, eps), parameter);
    });
}

template <class T>
void adam(T* parameter, const T* gradient, T* first, T* second, std::int64_t n,
          const AdamFactors<T>& factors) {
    const bool decay = factors.weight_decay != T(0) || factors.shrink != T(1);
    (decay ? adam_loop<T, true> : adam_loop<T, false>)(parameter, gradient, first, second, n,
                                                       factors);
}

}  // namespace pyconv::PYCONV_ISA
