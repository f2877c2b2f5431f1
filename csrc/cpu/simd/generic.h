// Any processor: an array of the compiler's vectors of 16 bytes (a larger one is kept in memory by
// GCC). 4 floats or 2 doubles; as "emulated512" 16 floats or 8 doubles, so that the AVX-512 forms
// of the micro-kernels run, and are tested, everywhere. No FMA: a product is rounded before it is
// added.
#pragma once

#include <cmath>
#include <cstring>

namespace pyconv::PYCONV_ISA {

#if defined(PYCONV_ISA_emulated512)
inline constexpr int kNative = 4;
#else
inline constexpr int kNative = 1;
#endif

template <class T>
struct Native;
template <>
struct Native<float> {
    typedef float Type __attribute__((vector_size(16)));
    typedef std::int32_t Bits __attribute__((vector_size(16)));
    using Integer = std::int32_t;
};
template <>
struct Native<double> {
    typedef double Type __attribute__((vector_size(16)));
    typedef std::int64_t Bits __attribute__((vector_size(16)));
    using Integer = std::int64_t;
};

#define PYCONV_EACH for (int i = 0; i < kNative; ++i)

template <class T>
struct Mask {
    typename Native<T>::Bits m[kNative];
};

template <class T>
struct Vec {
    using N = typename Native<T>::Type;
    static constexpr int kEach = 16 / static_cast<int>(sizeof(T));
    static constexpr int kLanes = kNative * kEach;
    N v[kNative];

    static PYCONV_INLINE Vec broadcast(T a) {
        Vec r;
        PYCONV_EACH r.v[i] = a - N{};
        return r;
    }
    static PYCONV_INLINE Vec zero() {
        Vec r;
        PYCONV_EACH r.v[i] = N{};
        return r;
    }
    static PYCONV_INLINE Vec from_bits(typename Native<T>::Integer a) {
        T value;
        std::memcpy(&value, &a, sizeof a);
        Vec r;
        PYCONV_EACH {
            for (int j = 0; j < kEach; ++j) r.v[i][j] = value;
        }
        return r;
    }
    static PYCONV_INLINE Vec load(const T* p) {
        Vec r;
        PYCONV_EACH std::memcpy(&r.v[i], p + i * kEach, 16);
        return r;
    }
    static PYCONV_INLINE Vec load_partial(const T* p, int n) {
        Vec r = zero();
        std::memcpy(&r, p, static_cast<std::size_t>(n) * sizeof(T));
        return r;
    }
    PYCONV_INLINE void store(T* p) const { PYCONV_EACH std::memcpy(p + i * kEach, &v[i], 16); }
    PYCONV_INLINE void store_partial(T* p, int n) const {
        std::memcpy(p, v, static_cast<std::size_t>(n) * sizeof(T));
    }
    PYCONV_INLINE void stream(T* p) const { store(p); }
};

#define PYCONV_BINARY(OP)                                  \
    template <class T>                                     \
    PYCONV_INLINE Vec<T> operator OP(Vec<T> a, Vec<T> b) { \
        PYCONV_EACH a.v[i] = a.v[i] OP b.v[i];             \
        return a;                                          \
    }
PYCONV_BINARY(+)
PYCONV_BINARY(-)
PYCONV_BINARY(*)
PYCONV_BINARY(/)
#undef PYCONV_BINARY

template <class T>
PYCONV_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
    PYCONV_EACH c.v[i] += a.v[i] * b.v[i];
    return c;
}
template <class T>
PYCONV_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) {
    PYCONV_EACH c.v[i] -= a.v[i] * b.v[i];
    return c;
}
template <class T>
PYCONV_INLINE Vec<T> min(Vec<T> a, Vec<T> b) {
    PYCONV_EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
    return a;
}
template <class T>
PYCONV_INLINE Vec<T> max(Vec<T> a, Vec<T> b) {
    PYCONV_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return a;
}

#define PYCONV_COMPARE(NAME, EXPRESSION)               \
    template <class T>                                 \
    PYCONV_INLINE Mask<T> NAME(Vec<T> a, Vec<T> b) {   \
        Mask<T> r;                                     \
        PYCONV_EACH r.m[i] = a.v[i] EXPRESSION b.v[i]; \
        return r;                                      \
    }
PYCONV_COMPARE(less, <)
PYCONV_COMPARE(less_equal, <=)
PYCONV_COMPARE(equal, ==)
#undef PYCONV_COMPARE

template <class T>
PYCONV_INLINE Mask<T> equal_bits(Vec<T> a, Vec<T> b) {
    Mask<T> r;
    PYCONV_EACH {
        typename Native<T>::Bits x, y;
        std::memcpy(&x, &a.v[i], 16);
        std::memcpy(&y, &b.v[i], 16);
        r.m[i] = x == y;
    }
    return r;
}
template <class T>
PYCONV_INLINE Mask<T> is_nan(Vec<T> a) {
    Mask<T> r;
    PYCONV_EACH r.m[i] = a.v[i] != a.v[i];
    return r;
}
template <class T>
PYCONV_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) {
    PYCONV_EACH a.m[i] &= b.m[i];
    return a;
}
template <class T>
PYCONV_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) {
    PYCONV_EACH a.m[i] |= b.m[i];
    return a;
}
template <class T>
PYCONV_INLINE Mask<T> andnot(Mask<T> a, Mask<T> b) {
    PYCONV_EACH a.m[i] = ~a.m[i] & b.m[i];
    return a;
}
template <class T>
PYCONV_INLINE bool any(Mask<T> a) {
    bool found = false;
    PYCONV_EACH {
        for (int j = 0; j < Vec<T>::kEach; ++j) found |= a.m[i][j] != 0;
    }
    return found;
}
template <class T>
PYCONV_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) {
    PYCONV_EACH {
        typename Native<T>::Bits x, y;
        std::memcpy(&x, &a.v[i], 16);
        std::memcpy(&y, &b.v[i], 16);
        x = (x & m.m[i]) | (y & ~m.m[i]);
        std::memcpy(&a.v[i], &x, 16);
    }
    return a;
}
template <class T>
PYCONV_INLINE Vec<T> abs(Vec<T> a) {
    PYCONV_EACH {
        for (int j = 0; j < Vec<T>::kEach; ++j) a.v[i][j] = std::fabs(a.v[i][j]);
    }
    return a;
}
template <class T>
PYCONV_INLINE Vec<T> sqrt(Vec<T> a) {
    PYCONV_EACH {
        for (int j = 0; j < Vec<T>::kEach; ++j) a.v[i][j] = std::sqrt(a.v[i][j]);
    }
    return a;
}
template <class T>
PYCONV_INLINE Vec<T> round_even(Vec<T> a) {
    PYCONV_EACH {
        for (int j = 0; j < Vec<T>::kEach; ++j) a.v[i][j] = std::nearbyint(a.v[i][j]);
    }
    return a;
}

struct Lanes {
    const std::int32_t* i;
    static PYCONV_INLINE Lanes load(const std::int32_t* p) { return {p}; }
};
PYCONV_INLINE Vec<float> permute(Vec<float> a, Lanes l) {
    float from[Vec<float>::kLanes], to[Vec<float>::kLanes];
    a.store(from);
    for (int i = 0; i < Vec<float>::kLanes; ++i) to[i] = from[l.i[i]];
    return Vec<float>::load(to);
}

PYCONV_INLINE Vec<float> pow2i(Vec<float> a) {
    float lanes[Vec<float>::kLanes];
    a.store(lanes);
    for (float& k : lanes) {
        // A NaN has no integer; what it gives here is multiplied by it.
        const std::int32_t exponent = k == k ? static_cast<std::int32_t>(k) : 0;
        const std::uint32_t bits = (static_cast<std::uint32_t>(exponent) + 127u) << 23;
        std::memcpy(&k, &bits, 4);
    }
    return Vec<float>::load(lanes);
}
PYCONV_INLINE Vec<float> exponent_mantissa(Vec<float> a, Vec<float>* e) {
    PYCONV_EACH {
        for (int j = 0; j < 4; ++j) {
            std::int32_t bits;
            const float value = a.v[i][j];
            std::memcpy(&bits, &value, 4);
            e->v[i][j] = static_cast<float>((bits >> 23) - 126);
            bits = (bits & 0x007fffff) | 0x3f000000;
            float mantissa;
            std::memcpy(&mantissa, &bits, 4);
            a.v[i][j] = mantissa;
        }
    }
    return a;
}

#undef PYCONV_EACH

}  // namespace pyconv::PYCONV_ISA

#include "cpu/simd/reduce.h"
