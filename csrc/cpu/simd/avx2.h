// AVX2 + FMA: 8 floats or 4 doubles, 16 registers.
//
//   vfmadd231ps ymm   latency 4, two a cycle
//   vbroadcastss      a load; two (Haswell on) or three (Zen 3) a cycle
//   vmaskmovps        loads cost as the plain ones; stores are slow on Zen: tails only
#pragma once

#include <immintrin.h>

namespace pyconv::PYCONV_ISA {

template <class T>
struct Mask;
template <class T>
struct Vec;

template <>
struct Mask<float> {
    __m256 m;
};
template <>
struct Mask<double> {
    __m256d m;
};

template <>
struct Vec<float> {
    static constexpr int kLanes = 8;
    __m256 v;

    static PYCONV_INLINE Vec zero() { return {_mm256_setzero_ps()}; }
    static PYCONV_INLINE Vec broadcast(float a) { return {_mm256_set1_ps(a)}; }
    static PYCONV_INLINE Vec from_bits(std::int32_t a) {
        return {_mm256_castsi256_ps(_mm256_set1_epi32(a))};
    }
    static PYCONV_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
    static PYCONV_INLINE __m256i first(int n) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    static PYCONV_INLINE Vec load_partial(const float* p, int n) {
        return {_mm256_maskload_ps(p, first(n))};
    }
    PYCONV_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
    PYCONV_INLINE void store_partial(float* p, int n) const { _mm256_maskstore_ps(p, first(n), v); }
    PYCONV_INLINE void stream(float* p) const { _mm256_stream_ps(p, v); }
};

template <>
struct Vec<double> {
    static constexpr int kLanes = 4;
    __m256d v;

    static PYCONV_INLINE Vec zero() { return {_mm256_setzero_pd()}; }
    static PYCONV_INLINE Vec broadcast(double a) { return {_mm256_set1_pd(a)}; }
    static PYCONV_INLINE Vec from_bits(std::int64_t a) {
        return {_mm256_castsi256_pd(_mm256_set1_epi64x(a))};
    }
    static PYCONV_INLINE Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
    static PYCONV_INLINE __m256i first(int n) {
        return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
    }
    static PYCONV_INLINE Vec load_partial(const double* p, int n) {
        return {_mm256_maskload_pd(p, first(n))};
    }
    PYCONV_INLINE void store(double* p) const { _mm256_storeu_pd(p, v); }
    PYCONV_INLINE void store_partial(double* p, int n) const {
        _mm256_maskstore_pd(p, first(n), v);
    }
    PYCONV_INLINE void stream(double* p) const { _mm256_stream_pd(p, v); }
};

#define PYCONV_BINARY(NAME, OP)                                    \
    PYCONV_INLINE Vec<float> NAME(Vec<float> a, Vec<float> b) {    \
        return {_mm256_##OP##_ps(a.v, b.v)};                       \
    }                                                              \
    PYCONV_INLINE Vec<double> NAME(Vec<double> a, Vec<double> b) { \
        return {_mm256_##OP##_pd(a.v, b.v)};                       \
    }
PYCONV_BINARY(operator+, add)
PYCONV_BINARY(operator-, sub)
PYCONV_BINARY(operator*, mul)
PYCONV_BINARY(operator/, div)
PYCONV_BINARY(min, min)
PYCONV_BINARY(max, max)
#undef PYCONV_BINARY

#define PYCONV_TERNARY(NAME, OP)                                                  \
    PYCONV_INLINE Vec<float> NAME(Vec<float> a, Vec<float> b, Vec<float> c) {     \
        return {_mm256_##OP##_ps(a.v, b.v, c.v)};                                 \
    }                                                                             \
    PYCONV_INLINE Vec<double> NAME(Vec<double> a, Vec<double> b, Vec<double> c) { \
        return {_mm256_##OP##_pd(a.v, b.v, c.v)};                                 \
    }
PYCONV_TERNARY(fma, fmadd)
PYCONV_TERNARY(fnma, fnmadd)
#undef PYCONV_TERNARY

#define PYCONV_COMPARE(NAME, CODE)                                  \
    PYCONV_INLINE Mask<float> NAME(Vec<float> a, Vec<float> b) {    \
        return {_mm256_cmp_ps(a.v, b.v, CODE)};                     \
    }                                                               \
    PYCONV_INLINE Mask<double> NAME(Vec<double> a, Vec<double> b) { \
        return {_mm256_cmp_pd(a.v, b.v, CODE)};                     \
    }
PYCONV_COMPARE(less, _CMP_LT_OQ)
PYCONV_COMPARE(less_equal, _CMP_LE_OQ)
PYCONV_COMPARE(equal, _CMP_EQ_OQ)
#undef PYCONV_COMPARE

PYCONV_INLINE Mask<float> equal_bits(Vec<float> a, Vec<float> b) {
    return {_mm256_castsi256_ps(
        _mm256_cmpeq_epi32(_mm256_castps_si256(a.v), _mm256_castps_si256(b.v)))};
}
PYCONV_INLINE Mask<double> equal_bits(Vec<double> a, Vec<double> b) {
    return {_mm256_castsi256_pd(
        _mm256_cmpeq_epi64(_mm256_castpd_si256(a.v), _mm256_castpd_si256(b.v)))};
}
PYCONV_INLINE Mask<float> is_nan(Vec<float> a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
PYCONV_INLINE Mask<double> is_nan(Vec<double> a) { return {_mm256_cmp_pd(a.v, a.v, _CMP_UNORD_Q)}; }

#define PYCONV_LOGIC(NAME, OP)                                        \
    PYCONV_INLINE Mask<float> NAME(Mask<float> a, Mask<float> b) {    \
        return {_mm256_##OP##_ps(a.m, b.m)};                          \
    }                                                                 \
    PYCONV_INLINE Mask<double> NAME(Mask<double> a, Mask<double> b) { \
        return {_mm256_##OP##_pd(a.m, b.m)};                          \
    }
PYCONV_LOGIC(operator&, and)
PYCONV_LOGIC(operator|, or)
PYCONV_LOGIC(andnot, andnot)
#undef PYCONV_LOGIC

PYCONV_INLINE bool any(Mask<float> a) { return _mm256_movemask_ps(a.m) != 0; }
PYCONV_INLINE bool any(Mask<double> a) { return _mm256_movemask_pd(a.m) != 0; }

PYCONV_INLINE Vec<float> select(Mask<float> m, Vec<float> a, Vec<float> b) {
    return {_mm256_blendv_ps(b.v, a.v, m.m)};
}
PYCONV_INLINE Vec<double> select(Mask<double> m, Vec<double> a, Vec<double> b) {
    return {_mm256_blendv_pd(b.v, a.v, m.m)};
}
PYCONV_INLINE Vec<float> abs(Vec<float> a) {
    return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)};
}
PYCONV_INLINE Vec<double> abs(Vec<double> a) {
    return {_mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v)};
}
struct Lanes {
    __m256i i;
    static PYCONV_INLINE Lanes load(const std::int32_t* p) {
        return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
    }
};
PYCONV_INLINE Vec<float> permute(Vec<float> a, Lanes l) {
    return {_mm256_permutevar8x32_ps(a.v, l.i)};
}
PYCONV_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm256_sqrt_ps(a.v)}; }
PYCONV_INLINE Vec<double> sqrt(Vec<double> a) { return {_mm256_sqrt_pd(a.v)}; }
PYCONV_INLINE Vec<float> round_even(Vec<float> a) {
    return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
PYCONV_INLINE Vec<double> round_even(Vec<double> a) {
    return {_mm256_round_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

PYCONV_INLINE Vec<float> pow2i(Vec<float> a) {
    const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(a.v), _mm256_set1_epi32(127));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
}
PYCONV_INLINE Vec<float> exponent_mantissa(Vec<float> a, Vec<float>* e) {
    const __m256i bits = _mm256_castps_si256(a.v);
    const __m256i exponent = _mm256_sub_epi32(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(126));
    e->v = _mm256_cvtepi32_ps(exponent);
    const __m256i mantissa = _mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi32(0x007fffff)),
                                             _mm256_set1_epi32(0x3f000000));
    return {_mm256_castsi256_ps(mantissa)};
}

}  // namespace pyconv::PYCONV_ISA

#include "cpu/simd/reduce.h"
