// The vector type of the micro-kernels: Vec<T> with kLanes lanes, its mask Mask<T>, and a few
// operations. One interface, an implementation for each instruction set, chosen by the macro
// PYCONV_ISA_<name> that the build sets for the translation unit. Only kernels.cpp files and what
// they include may include this: everything lives in the namespace of its instruction set, so
// that the linker can't mix them.
//
//   Vec::zero(), Vec::broadcast(value), Vec::load(p), Vec::load_partial(p, n)   lanes >= n are 0
//   v.store(p), v.store_partial(p, n)           no alignment is needed
//   v.stream(p)                                 past the caches; p aligned to the vector
//   a + b, a - b, a * b, a / b, fma(a, b, c) = a * b + c, fnma(a, b, c) = c - a * b
//   fma_broadcast(p, b, c) = *p * b + c; kBroadcastsInFma: in one instruction
//   add_products_at<n, i>(p, step, w, sums): sums += w times element i behind p + n * step (bytes)
//   min(a, b), max(a, b)                        b where either is NaN, as the x86 instructions
//   less(a, b), less_equal(a, b), equal(a, b), is_nan(a)  -> Mask
//   equal_bits(a, b)                            -> Mask; integers that lie in a Vec
//   select(mask, a, b), mask & mask, mask | mask, andnot(a, b) = !a & b, any(mask)
//   abs(a), sqrt(a), round_even(a), reduce_add(a), reduce_max(a)    in a fixed order of lanes
//   Vec::from_bits(integer), lane(v, i)
//   permute(a, Lanes::load(p))                  lane i of the result is lane p[i] of a (float only)
//   pow2i(a) = 2^a for integral a within the exponent's range (float only)
//   exponent_mantissa(a, &e): a = m * 2^e, m in [0.5, 1) (float only, normal a > 0)
#pragma once

#include <cstddef>
#include <cstdint>

#define PYCONV_INLINE inline __attribute__((always_inline))
#define PYCONV_INLINE_LAMBDA __attribute__((always_inline))

#if defined(PYCONV_ISA_avx512)
#include "cpu/simd/avx512.h"
#elif defined(PYCONV_ISA_avx2)
#include "cpu/simd/avx2.h"
#else
#include "cpu/simd/generic.h"
#endif

namespace pyconv::PYCONV_ISA {

// Whether fma and fnma round once.
#if defined(PYCONV_ISA_avx512) || defined(PYCONV_ISA_avx2)
inline constexpr bool kFusedMultiplyAdd = true;
#else
inline constexpr bool kFusedMultiplyAdd = false;
#endif

#if !defined(PYCONV_ISA_avx512)
inline constexpr bool kBroadcastsInFma = false;
template <class T>
PYCONV_INLINE Vec<T> fma_broadcast(const T* a, Vec<T> b, Vec<T> c) {
    return fma(Vec<T>::broadcast(*a), b, c);
}
template <int n, int i, int kVectors, class T>
PYCONV_INLINE void add_products_at(const T* p, std::ptrdiff_t step, const Vec<T> (&w)[kVectors],
                                   Vec<T> (&sums)[kVectors]) {
    const Vec<T> x = Vec<T>::broadcast(p[n * step / static_cast<std::ptrdiff_t>(sizeof(T)) + i]);
    for (int j = 0; j < kVectors; ++j) sums[j] = fma(x, w[j], sums[j]);
}
#endif

// For prefetches: into all levels, or past L1; or to be written.
PYCONV_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }
PYCONV_INLINE void prefetch_l2(const void* p) { __builtin_prefetch(p, 0, 2); }
PYCONV_INLINE void prefetch_write(const void* p) { __builtin_prefetch(p, 1, 3); }

}  // namespace pyconv::PYCONV_ISA

#include "cpu/simd/lanes.h"
