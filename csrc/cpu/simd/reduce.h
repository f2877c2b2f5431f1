// What every implementation of Vec shares: access to one lane, and sums over the lanes in a fixed
// order (halves, then quarters, ...).
#pragma once

#include <limits>

namespace pyconv::PYCONV_ISA {

template <class T>
PYCONV_INLINE T lane(Vec<T> a, int i) {
    T lanes[Vec<T>::kLanes];
    a.store(lanes);
    return lanes[i];
}

#if defined(PYCONV_ISA_avx512) || defined(PYCONV_ISA_avx2)

PYCONV_INLINE float reduce_add(__m128 a) {
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}
PYCONV_INLINE float reduce_add(__m256 a) {
    return reduce_add(_mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
}
PYCONV_INLINE double reduce_add(__m256d a) {
    const __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
}
#if defined(PYCONV_ISA_avx512)
PYCONV_INLINE float reduce_add(__m512 a) {
    return reduce_add(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)));
}
PYCONV_INLINE double reduce_add(__m512d a) {
    return reduce_add(_mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1)));
}
#endif
template <class T>
PYCONV_INLINE T reduce_add(Vec<T> a) {
    return reduce_add(a.v);
}

#else

template <class T>
PYCONV_INLINE T reduce_add(Vec<T> a) {
    T lanes[Vec<T>::kLanes];
    a.store(lanes);
    for (int half = Vec<T>::kLanes / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
}

#endif

// NaN wins.
#if defined(PYCONV_ISA_avx512) || defined(PYCONV_ISA_avx2)

PYCONV_INLINE float largest(__m128 a) {
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}
PYCONV_INLINE float largest(__m256 a) {
    return largest(_mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
}
PYCONV_INLINE double largest(__m256d a) {
    const __m128d b = _mm_max_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_max_sd(b, _mm_unpackhi_pd(b, b)));
}
#if defined(PYCONV_ISA_avx512)
PYCONV_INLINE float largest(__m512 a) {
    return largest(_mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)));
}
PYCONV_INLINE double largest(__m512d a) {
    return largest(_mm256_max_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1)));
}
#endif
template <class T>
PYCONV_INLINE T reduce_max(Vec<T> a) {
    return any(is_nan(a)) ? std::numeric_limits<T>::quiet_NaN() : largest(a.v);
}

#else

template <class T>
PYCONV_INLINE T reduce_max(Vec<T> a) {
    T lanes[Vec<T>::kLanes];
    a.store(lanes);
    T best = lanes[0];
    for (int i = 1; i < Vec<T>::kLanes; ++i) {
        if (lanes[i] > best || lanes[i] != lanes[i]) best = lanes[i];
        if (best != best) return best;
    }
    return best;
}

#endif

}  // namespace pyconv::PYCONV_ISA
