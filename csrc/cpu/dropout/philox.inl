// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, 2011): four 32-bit words from a counter and a key,
// by ten rounds of two products 32 x 32 -> 64 bits.
//
//   vpmuludq   the products of the lower halves of 64-bit lanes; latency 5, one or two a cycle
//
// Vectors hold one word of a counter in each 64-bit lane; what gathers in the upper halves is never
// looked at. A round is 2 products, 2 shifts and 4 xors.
#pragma once

#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

inline constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
inline constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;

// Words 4 i .. 4 i + 3 of `out` are those of the counter `counter` + i; up to kPhiloxStep - 1
// counters more than asked for are written.
#if defined(PYCONV_ISA_avx512)

inline constexpr std::int64_t kPhiloxStep = 8;

inline void philox(std::uint64_t counter, std::int64_t counters, const std::uint32_t key[2],
                   std::uint32_t* out) {
    const __m512i m0 = _mm512_set1_epi64(kMultiplier0), m1 = _mm512_set1_epi64(kMultiplier1);
    // In this order of lanes the two unpackings below give four counters each, in order.
    const __m512i lanes = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    for (std::int64_t i = 0; i < counters; i += kPhiloxStep) {
        const auto base = static_cast<long long>(counter + static_cast<std::uint64_t>(i));
        __m512i c0 = _mm512_add_epi64(_mm512_set1_epi64(base), lanes);
        __m512i c1 = _mm512_srli_epi64(c0, 32);
        __m512i c2 = _mm512_setzero_si512(), c3 = c2;
        std::uint32_t k0 = key[0], k1 = key[1];
        for (int round = 0; round < 10; ++round, k0 += kWeyl0, k1 += kWeyl1) {
            const __m512i p0 = _mm512_mul_epu32(m0, c0), p1 = _mm512_mul_epu32(m1, c2);
            c0 = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64(p1, 32), c1),
                                  _mm512_set1_epi64(k0));
            c2 = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64(p0, 32), c3),
                                  _mm512_set1_epi64(k1));
            c1 = p1;
            c3 = p0;
        }
        const __m512i w01 = _mm512_mask_blend_epi32(0xAAAA, c0, _mm512_slli_epi64(c1, 32));
        const __m512i w23 = _mm512_mask_blend_epi32(0xAAAA, c2, _mm512_slli_epi64(c3, 32));
        _mm512_storeu_si512(out + 4 * i, _mm512_unpacklo_epi64(w01, w23));
        _mm512_storeu_si512(out + 4 * i + 16, _mm512_unpackhi_epi64(w01, w23));
    }
}

#elif defined(PYCONV_ISA_avx2)

inline constexpr std::int64_t kPhiloxStep = 4;

inline void philox(std::uint64_t counter, std::int64_t counters, const std::uint32_t key[2],
                   std::uint32_t* out) {
    const __m256i m0 = _mm256_set1_epi64x(kMultiplier0), m1 = _mm256_set1_epi64x(kMultiplier1);
    // In this order of lanes the two unpackings below give two counters each, in order.
    const __m256i lanes = _mm256_setr_epi64x(0, 2, 1, 3);
    for (std::int64_t i = 0; i < counters; i += kPhiloxStep) {
        const auto base = static_cast<long long>(counter + static_cast<std::uint64_t>(i));
        __m256i c0 = _mm256_add_epi64(_mm256_set1_epi64x(base), lanes);
        __m256i c1 = _mm256_srli_epi64(c0, 32);
        __m256i c2 = _mm256_setzero_si256(), c3 = c2;
        std::uint32_t k0 = key[0], k1 = key[1];
        for (int round = 0; round < 10; ++round, k0 += kWeyl0, k1 += kWeyl1) {
            const __m256i p0 = _mm256_mul_epu32(m0, c0), p1 = _mm256_mul_epu32(m1, c2);
            c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c1),
                                  _mm256_set1_epi64x(k0));
            c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c3),
                                  _mm256_set1_epi64x(k1));
            c1 = p1;
            c3 = p0;
        }
        const __m256i w01 = _mm256_blend_epi32(c0, _mm256_slli_epi64(c1, 32), 0xAA);
        const __m256i w23 = _mm256_blend_epi32(c2, _mm256_slli_epi64(c3, 32), 0xAA);
        auto* const to = reinterpret_cast<__m256i*>(out + 4 * i);
        _mm256_storeu_si256(to, _mm256_unpacklo_epi64(w01, w23));
        _mm256_storeu_si256(to + 1, _mm256_unpackhi_epi64(w01, w23));
    }
}

#else

inline constexpr std::int64_t kPhiloxStep = 1;

inline void philox(std::uint64_t counter, std::int64_t counters, const std::uint32_t key[2],
                   std::uint32_t* out) {
    for (std::int64_t i = 0; i < counters; ++i, ++counter, out += 4) {
        auto c0 = static_cast<std::uint32_t>(counter);
        auto c1 = static_cast<std::uint32_t>(counter >> 32);
        std::uint32_t c2 = 0, c3 = 0, k0 = key[0], k1 = key[1];
        for (int round = 0; round < 10; ++round, k0 += kWeyl0, k1 += kWeyl1) {
            const std::uint64_t p0 = static_cast<std::uint64_t>(kMultiplier0) * c0;
            const std::uint64_t p1 = static_cast<std::uint64_t>(kMultiplier1) * c2;
            c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
            c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
            c1 = static_cast<std::uint32_t>(p1);
            c3 = static_cast<std::uint32_t>(p0);
        }
        out[0] = c0;
        out[1] = c1;
        out[2] = c2;
        out[3] = c3;
    }
}

#endif

}  // namespace pyconv::PYCONV_ISA
