// Exponential, logistic function, hyperbolic tangent and normal distribution, by the same
// reductions and polynomials as on the CPU. The errors, relative to the result in units of 2^-23,
// are at most
//
//   exp 1    sigmoid 2    hyperbolic tangent 2    normal distribution 4
//
// on any device, as no approximate instruction is used. NaN gives NaN. Results below 2^-126 may be
// 0.
#pragma once

namespace pyconv::cuda {

// x = k ln 2 + r with integral k and |r| <= ln 2 / 2, for -88 <= x <= 88. ln 2 comes in two parts,
// the first with nine bits, so that its product with k is exact.
struct Reduced {
    float scale, r;  // 2^k; 0 for k = -127
};
__device__ inline float power_of_two(float shifted) {
    return __int_as_float((__float_as_int(shifted) << 23) + 0x3f800000);
}
inline constexpr float kRounding = 12582912;  // 1.5 * 2^23: k is in the last bits of a sum with it
__device__ inline Reduced reduce_exponent(float x) {
    const float shifted = fmaf(x, 1.44269504f, kRounding);
    const float k = shifted - kRounding;
    const float r = fmaf(k, 2.12194440e-4f, fmaf(k, -0.693359375f, x));
    return {power_of_two(shifted), r};
}

// e^r - 1 for |r| <= 0.37: r + r^2 p(r), p with the least relative error (2^-25.5).
__device__ inline float expm1_reduced(float r) {
    float p = 1.388156196e-3f;
    p = fmaf(p, r, 8.371561010e-3f);
    p = fmaf(p, r, 4.166737393e-2f);
    p = fmaf(p, r, 1.666650347e-1f);
    p = fmaf(p, r, 4.999999718e-1f);
    return fmaf(p * r, r, r);
}

// e^x for x <= 0.
__device__ inline float exp_of_negative(float x) {
    const Reduced a = reduce_exponent(x < -88 ? -88 : x);
    return (expm1_reduced(a.r) + 1) * a.scale;
}

// With e = exp(-|x|), s(x) is 1 / (1 + e) for x >= 0 and e / (1 + e) below; so is s(-x) the other.
__device__ inline float sigmoid(float x) {
    const float e = exp_of_negative(-fabsf(x));
    return (x < 0 ? e : 1) / (1 + e);
}

// -m / (2 + m) with m = exp(-2|x|) - 1, which keeps its digits where x is small.
__device__ inline float hyperbolic_tangent(float x) {
    const float y = -2 * fabsf(x);
    const Reduced a = reduce_exponent(y < -40 ? -40 : y);
    const float m = fmaf(a.scale, expm1_reduced(a.r), a.scale - 1);
    return x == 0 ? x : copysignf(m / (2 + m), x);
}

// P, the distribution function of the normal distribution, and exp(-x^2 / 2).
struct NormalDistribution {
    float distribution, exponential;
};

// For a >= 0 P(-a) = exp(-a^2 / 2) q(a), q a polynomial in (a - 3) / (a + 3). From 13.2 on the
// product is below 2^-126. So that the exponent is exact, the square comes in two parts.
__device__ inline NormalDistribution normal_distribution(float x) {
    const float a = fabsf(x) > 13.2f ? 13.2f : fabsf(x);
    const float square = __fmul_rn(a, a), rest = fmaf(a, a, -square);
    const float shifted = fmaf(square, -0.72134752f, kRounding);
    const float k = shifted - kRounding;
    float r = fmaf(k, 2.12194440e-4f, fmaf(k, -0.693359375f, -0.5f * square));
    r = fmaf(-0.5f, rest, r);
    const float e = (expm1_reduced(r) + 1) * power_of_two(shifted);
    const float t = (a - 3) / (a + 3);
    float q = 5.415098390e-5f;
    q = fmaf(q, t, 1.160375920e-4f);
    q = fmaf(q, t, -3.399113559e-4f);
    q = fmaf(q, t, -9.841829354e-4f);
    q = fmaf(q, t, 2.904702602e-3f);
    q = fmaf(q, t, 6.132183107e-3f);
    q = fmaf(q, t, -4.621331380e-2f);
    q = fmaf(q, t, 1.232250217e-1f);
    q = fmaf(q, t, -2.064026179e-1f);
    q = fmaf(q, t, 1.215139477e-1f);
    const bool outside = fabsf(x) >= 13.2f;
    q = outside ? 0 : q * e;
    return {x < 0 ? q : 1 - q, outside ? 0 : e};
}

}  // namespace pyconv::cuda
