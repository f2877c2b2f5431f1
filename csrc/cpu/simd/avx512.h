// AVX-512F/DQ/BW/VL: 16 floats or 8 doubles, 32 registers.
//
//   vfmadd231ps zmm        latency 4, two a cycle on server cores (ports 0 and 5)
//   vbroadcastss / {1to16} a load; two loads a cycle
//   vmovups zmm            a load; a full cache line each
//   masked loads and stores cost as the plain ones
#pragma once

#include <immintrin.h>

namespace pyconv::PYCONV_ISA {

template <class T>
struct Mask;
template <class T>
struct Vec;

template <>
struct Mask<float> {
    __mmask16 m;
};
template <>
struct Mask<double> {
    __mmask8 m;
};

template <>
struct Vec<float> {
    static constexpr int kLanes = 16;
    __m512 v;

    static PYCONV_INLINE Vec zero() { return {_mm512_setzero_ps()}; }
    static PYCONV_INLINE Vec broadcast(float a) { return {_mm512_set1_ps(a)}; }
    static PYCONV_INLINE Vec from_bits(std::int32_t a) {
        return {_mm512_castsi512_ps(_mm512_set1_epi32(a))};
    }
    static PYCONV_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
    static PYCONV_INLINE __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
    static PYCONV_INLINE Vec load_partial(const float* p, int n) {
        return {_mm512_maskz_loadu_ps(first(n), p)};
    }
    PYCONV_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
    PYCONV_INLINE void store_partial(float* p, int n) const {
        _mm512_mask_storeu_ps(p, first(n), v);
    }
    PYCONV_INLINE void stream(float* p) const { _mm512_stream_ps(p, v); }
};

template <>
struct Vec<double> {
    static constexpr int kLanes = 8;
    __m512d v;

    static PYCONV_INLINE Vec zero() { return {_mm512_setzero_pd()}; }
    static PYCONV_INLINE Vec broadcast(double a) { return {_mm512_set1_pd(a)}; }
    static PYCONV_INLINE Vec from_bits(std::int64_t a) {
        return {_mm512_castsi512_pd(_mm512_set1_epi64(a))};
    }
    static PYCONV_INLINE Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
    static PYCONV_INLINE __mmask8 first(int n) { return static_cast<__mmask8>((1u << n) - 1u); }
    static PYCONV_INLINE Vec load_partial(const double* p, int n) {
        return {_mm512_maskz_loadu_pd(first(n), p)};
    }
    PYCONV_INLINE void store(double* p) const { _mm512_storeu_pd(p, v); }
    PYCONV_INLINE void store_partial(double* p, int n) const {
        _mm512_mask_storeu_pd(p, first(n), v);
    }
    PYCONV_INLINE void stream(double* p) const { _mm512_stream_pd(p, v); }
};

#define PYCONV_BINARY(NAME, OP)                                    \
    PYCONV_INLINE Vec<float> NAME(Vec<float> a, Vec<float> b) {    \
        return {_mm512_##OP##_ps(a.v, b.v)};                       \
    }                                                              \
    PYCONV_INLINE Vec<double> NAME(Vec<double> a, Vec<double> b) { \
        return {_mm512_##OP##_pd(a.v, b.v)};                       \
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
        return {_mm512_##OP##_ps(a.v, b.v, c.v)};                                 \
    }                                                                             \
    PYCONV_INLINE Vec<double> NAME(Vec<double> a, Vec<double> b, Vec<double> c) { \
        return {_mm512_##OP##_pd(a.v, b.v, c.v)};                                 \
    }
PYCONV_TERNARY(fma, fmadd)
PYCONV_TERNARY(fnma, fnmadd)
#undef PYCONV_TERNARY

// The broadcast is part of the instruction, and takes no slot of its own. Compilers make one
// broadcast of several, so it is written out.
inline constexpr bool kBroadcastsInFma = true;
PYCONV_INLINE Vec<float> fma_broadcast(const float* a, Vec<float> b, Vec<float> c) {
    asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c.v) : "v"(b.v), "m"(*a));
    return c;
}
PYCONV_INLINE Vec<double> fma_broadcast(const double* a, Vec<double> b, Vec<double> c) {
    asm("vfmadd231pd %2%{1to8%}, %1, %0" : "+v"(c.v) : "v"(b.v), "m"(*a));
    return c;
}
// sums += x * w, x the element i behind p + n * step (n 1 or 2, step in bytes), which needs no
// pointer of its own. In one piece: compilers would begin with the broadcasts, and run out of
// registers.
#define PYCONV_ADD_PRODUCTS(TYPE, S, P)                                                        \
    template <int n, int i, int kVectors>                                                      \
    PYCONV_INLINE void add_products_at(const TYPE* p, std::ptrdiff_t step,                     \
                                       const Vec<TYPE>(&w)[kVectors],                          \
                                       Vec<TYPE>(&sums)[kVectors]) {                           \
        Vec<TYPE> x;                                                                           \
        if constexpr (kVectors == 2) {                                                         \
            asm("vbroadcasts" S                                                                \
                " %c5(%3,%4,%c6), %2\n\t"                                                      \
                "vfmadd231p" P                                                                 \
                " %7, %2, %0\n\t"                                                              \
                "vfmadd231p" P " %8, %2, %1"                                                   \
                : "+v"(sums[0].v), "+v"(sums[1].v), "=&v"(x.v)                                 \
                : "r"(p), "r"(step), "i"(i * sizeof(TYPE)), "i"(n), "v"(w[0].v), "v"(w[1].v)); \
        } else {                                                                               \
            asm("vbroadcasts" S " %c3(%1,%2,%c4), %0"                                          \
                : "=v"(x.v)                                                                    \
                : "r"(p), "r"(step), "i"(i * sizeof(TYPE)), "i"(n));                           \
            for (int j = 0; j < kVectors; ++j) sums[j] = fma(x, w[j], sums[j]);                \
        }                                                                                      \
    }
PYCONV_ADD_PRODUCTS(float, "s", "s")
PYCONV_ADD_PRODUCTS(double, "d", "d")
#undef PYCONV_ADD_PRODUCTS

#define PYCONV_COMPARE(NAME, CODE)                                  \
    PYCONV_INLINE Mask<float> NAME(Vec<float> a, Vec<float> b) {    \
        return {_mm512_cmp_ps_mask(a.v, b.v, CODE)};                \
    }                                                               \
    PYCONV_INLINE Mask<double> NAME(Vec<double> a, Vec<double> b) { \
        return {_mm512_cmp_pd_mask(a.v, b.v, CODE)};                \
    }
PYCONV_COMPARE(less, _CMP_LT_OQ)
PYCONV_COMPARE(less_equal, _CMP_LE_OQ)
PYCONV_COMPARE(equal, _CMP_EQ_OQ)
#undef PYCONV_COMPARE

PYCONV_INLINE Mask<float> equal_bits(Vec<float> a, Vec<float> b) {
    return {_mm512_cmpeq_epi32_mask(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v))};
}
PYCONV_INLINE Mask<double> equal_bits(Vec<double> a, Vec<double> b) {
    return {_mm512_cmpeq_epi64_mask(_mm512_castpd_si512(a.v), _mm512_castpd_si512(b.v))};
}
PYCONV_INLINE Mask<float> is_nan(Vec<float> a) {
    return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)};
}
PYCONV_INLINE Mask<double> is_nan(Vec<double> a) {
    return {_mm512_cmp_pd_mask(a.v, a.v, _CMP_UNORD_Q)};
}

template <class T>
PYCONV_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) {
    return {static_cast<decltype(a.m)>(a.m & b.m)};
}
template <class T>
PYCONV_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) {
    return {static_cast<decltype(a.m)>(a.m | b.m)};
}
template <class T>
PYCONV_INLINE Mask<T> andnot(Mask<T> a, Mask<T> b) {
    return {static_cast<decltype(a.m)>(~a.m & b.m)};
}
template <class T>
PYCONV_INLINE bool any(Mask<T> a) {
    return a.m != 0;
}

PYCONV_INLINE Vec<float> select(Mask<float> m, Vec<float> a, Vec<float> b) {
    return {_mm512_mask_blend_ps(m.m, b.v, a.v)};
}
PYCONV_INLINE Vec<double> select(Mask<double> m, Vec<double> a, Vec<double> b) {
    return {_mm512_mask_blend_pd(m.m, b.v, a.v)};
}
PYCONV_INLINE Vec<float> abs(Vec<float> a) { return {_mm512_abs_ps(a.v)}; }
PYCONV_INLINE Vec<double> abs(Vec<double> a) { return {_mm512_abs_pd(a.v)}; }
struct Lanes {
    __m512i i;
    static PYCONV_INLINE Lanes load(const std::int32_t* p) { return {_mm512_loadu_si512(p)}; }
};
PYCONV_INLINE Vec<float> permute(Vec<float> a, Lanes l) {
    return {_mm512_permutexvar_ps(l.i, a.v)};
}
PYCONV_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm512_sqrt_ps(a.v)}; }
PYCONV_INLINE Vec<double> sqrt(Vec<double> a) { return {_mm512_sqrt_pd(a.v)}; }
PYCONV_INLINE Vec<float> round_even(Vec<float> a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
PYCONV_INLINE Vec<double> round_even(Vec<double> a) {
    return {_mm512_roundscale_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

PYCONV_INLINE Vec<float> pow2i(Vec<float> a) {
    const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(a.v), _mm512_set1_epi32(127));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
}
PYCONV_INLINE Vec<float> exponent_mantissa(Vec<float> a, Vec<float>* e) {
    const __m512i bits = _mm512_castps_si512(a.v);
    const __m512i exponent = _mm512_sub_epi32(_mm512_srli_epi32(bits, 23), _mm512_set1_epi32(126));
    e->v = _mm512_cvtepi32_ps(exponent);
    const __m512i mantissa = _mm512_or_si512(_mm512_and_si512(bits, _mm512_set1_epi32(0x007fffff)),
                                             _mm512_set1_epi32(0x3f000000));
    return {_mm512_castsi512_ps(mantissa)};
}

}  // namespace pyconv::PYCONV_ISA

#include "cpu/simd/reduce.h"
