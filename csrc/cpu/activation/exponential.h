// Exponential, hyperbolic tangent, logistic function and normal distribution of a vector. For float
// the errors, relative to the result in units of 2^-23, are at most
//
//   exp 1    sigmoid 2    tanh 2    normal distribution 4
//
// NaN gives NaN. Results below 2^-126 may be flushed to 0. double goes lane by lane through libm;
// there the normal distribution errs by x^2 2^-52, as the argument of erfc is rounded.
#pragma once

#include <cmath>

#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// f of each lane.
template <class F>
PYCONV_INLINE Vec<double> by_lanes(Vec<double> x, F f) {
    double lanes[Vec<double>::kLanes];
    x.store(lanes);
    for (double& value : lanes) value = f(value);
    return Vec<double>::load(lanes);
}

// x = k ln 2 + r with integral k and |r| <= ln 2 / 2. ln 2 comes in two parts, the first with nine
// bits, so that its product with k is exact without FMA, too. k is kept from `lowest` on, also
// where x is a NaN.
struct Reduced {
    Vec<float> k, r;
};
PYCONV_INLINE Reduced reduce_exponent(Vec<float> x, float lowest) {
    using V = Vec<float>;
    const V k = max(round_even(x * V::broadcast(1.44269504f)), V::broadcast(lowest));
    V r = fnma(k, V::broadcast(0.693359375f), x);
    r = fnma(k, V::broadcast(-2.12194440e-4f), r);
    return {k, r};
}

// e^r - 1 for |r| <= 0.37: r + r^2 p(r), p with the least relative error (2^-25.5).
PYCONV_INLINE Vec<float> expm1_reduced(Vec<float> r) {
    using V = Vec<float>;
    V p = V::broadcast(1.388156196e-3f);
    p = fma(p, r, V::broadcast(8.371561010e-3f));
    p = fma(p, r, V::broadcast(4.166737393e-2f));
    p = fma(p, r, V::broadcast(1.666650347e-1f));
    p = fma(p, r, V::broadcast(4.999999718e-1f));
    return fma(p * r, r, r);
}

PYCONV_INLINE Vec<float> exp(Vec<float> x) {
    using V = Vec<float>;
    x = max(V::broadcast(-104.0f), min(V::broadcast(89.0f), x));
    const Reduced a = reduce_exponent(x, -151.0f);
    const V e = expm1_reduced(a.r) + V::broadcast(1.0f);
    // Two factors, as k may exceed the exponent's range.
    const V half = round_even(a.k * V::broadcast(0.5f));
    return e * pow2i(half) * pow2i(a.k - half);
}
PYCONV_INLINE Vec<double> exp(Vec<double> x) {
    return by_lanes(x, [](double a) { return std::exp(a); });
}

// e^x for x <= 0. What would be below 2^-126 is 0: there pow2i(-127) is.
PYCONV_INLINE Vec<float> exp_of_negative(Vec<float> x) {
    using V = Vec<float>;
    const Reduced a = reduce_exponent(max(V::broadcast(-104.0f), x), -127.0f);
    return (expm1_reduced(a.r) + V::broadcast(1.0f)) * pow2i(a.k);
}
PYCONV_INLINE Vec<double> exp_of_negative(Vec<double> x) { return exp(x); }

// With e = exp(-|x|), s(x) is 1 / (1 + e) for x >= 0 and e / (1 + e) below; so is s(-x) the other.
template <class T>
struct Logistic {
    Vec<T> at_x, at_minus_x;
};
template <class T>
PYCONV_INLINE Logistic<T> logistic(Vec<T> x) {
    using V = Vec<T>;
    const V e = exp_of_negative(V::zero() - abs(x));
    const V large = V::broadcast(T(1)) / (V::broadcast(T(1)) + e);
    const V small = e / (V::broadcast(T(1)) + e);
    const auto negative = less(x, V::zero());
    return {select(negative, small, large), select(negative, large, small)};
}
template <class T>
PYCONV_INLINE Vec<T> sigmoid(Vec<T> x) {
    using V = Vec<T>;
    const V e = exp_of_negative(V::zero() - abs(x));
    return select(less(x, V::zero()), e, V::broadcast(T(1))) / (V::broadcast(T(1)) + e);
}

// -m / (2 + m) with m = exp(-2|x|) - 1, which keeps its digits where x is small.
PYCONV_INLINE Vec<float> tanh(Vec<float> x) {
    using V = Vec<float>;
    const V y = max(V::broadcast(-40.0f), V::broadcast(-2.0f) * abs(x));
    const Reduced a = reduce_exponent(y, -64.0f);
    const V scale = pow2i(a.k);
    const V m = fma(scale, expm1_reduced(a.r), scale - V::broadcast(1.0f));
    const V t = m / (V::broadcast(2.0f) + m);  // <= 0
    return select(less(x, V::zero()), t, select(equal(x, V::zero()), x, V::zero() - t));
}
PYCONV_INLINE Vec<double> tanh(Vec<double> x) {
    return by_lanes(x, [](double a) { return std::tanh(a); });
}

// P, the distribution function of the normal distribution, and exp(-x^2 / 2).
template <class T>
struct NormalDistribution {
    Vec<T> distribution, exponential;
};

// exp(-a^2 / 2) for 0 <= a <= 13.2, where k is at least -126. So that the exponent is exact, the
// square comes in two parts: rounded and a rest, or that of a's upper half h and (a - h)(a + h).
PYCONV_INLINE Vec<float> exp_of_minus_half_square(Vec<float> a) {
    using V = Vec<float>;
    const V half = V::broadcast(0.5f);
    V square, minus_rest;
    if constexpr (kFusedMultiplyAdd) {
        square = a * a;
        minus_rest = fnma(a, a, square);
    } else {
        const V split = a * V::broadcast(4097.0f);
        const V h = split - (split - a);
        square = h * h;
        minus_rest = (h - a) * (h + a);
    }
    const V k = round_even(square * V::broadcast(-0.72134752f));
    V r = fma(k, V::broadcast(-0.693359375f), V::zero() - half * square);
    r = fma(half, minus_rest, fma(k, V::broadcast(2.12194440e-4f), r));
    return (expm1_reduced(r) + V::broadcast(1.0f)) * pow2i(k);
}

// For a >= 0 P(-a) = exp(-a^2 / 2) q(a), q a polynomial in (a - 3) / (a + 3). From 13.2 on the
// product is below 2^-126.
PYCONV_INLINE NormalDistribution<float> normal_distribution(Vec<float> x) {
    using V = Vec<float>;
    const V a = min(V::broadcast(13.2f), abs(x));
    const V e = exp_of_minus_half_square(a);
    const V t = (a - V::broadcast(3.0f)) / (a + V::broadcast(3.0f));
    V q = V::broadcast(5.415098390e-5f);
    q = fma(q, t, V::broadcast(1.160375920e-4f));
    q = fma(q, t, V::broadcast(-3.399113559e-4f));
    q = fma(q, t, V::broadcast(-9.841829354e-4f));
    q = fma(q, t, V::broadcast(2.904702602e-3f));
    q = fma(q, t, V::broadcast(6.132183107e-3f));
    q = fma(q, t, V::broadcast(-4.621331380e-2f));
    q = fma(q, t, V::broadcast(1.232250217e-1f));
    q = fma(q, t, V::broadcast(-2.064026179e-1f));
    q = fma(q, t, V::broadcast(1.215139477e-1f));
    q = q * e;
    return {select(less(x, V::zero()), q, V::broadcast(1.0f) - q),
            select(less(abs(x), V::broadcast(13.2f)) | is_nan(x), e, V::zero())};
}
PYCONV_INLINE NormalDistribution<double> normal_distribution(Vec<double> x) {
    constexpr double kRootHalf = 0.70710678118654752440;
    return {by_lanes(x, [](double a) { return 0.5 * std::erfc(-a * kRootHalf); }),
            by_lanes(x, [](double a) { return std::exp(-0.5 * a * a); })};
}

}  // namespace pyconv::PYCONV_ISA
