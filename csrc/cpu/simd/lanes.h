// Loads and stores of a vector or, at the end of a row, of some lanes: `lanes` is Whole<T>(), known
// to the compiler, or an int.
#pragma once

#include <type_traits>

namespace pyconv::PYCONV_ISA {

template <class T>
using Whole = std::integral_constant<int, Vec<T>::kLanes>;

template <class T>
PYCONV_INLINE Vec<T> load(const T* p, Whole<T>) {
    return Vec<T>::load(p);
}
template <class T>
PYCONV_INLINE Vec<T> load(const T* p, int lanes) {
    return lanes == Vec<T>::kLanes ? Vec<T>::load(p) : Vec<T>::load_partial(p, lanes);
}
template <class T>
PYCONV_INLINE void store(Vec<T> v, T* p, Whole<T>) {
    v.store(p);
}
template <class T>
PYCONV_INLINE void store(Vec<T> v, T* p, int lanes) {
    if (lanes == Vec<T>::kLanes) {
        v.store(p);
    } else {
        v.store_partial(p, lanes);
    }
}

// A whole vector past the caches where that is wanted; then p is aligned to vectors.
template <class T>
PYCONV_INLINE void put(Vec<T> v, T* p, Whole<T>, bool past_caches) {
    if (past_caches) {
        v.stream(p);
    } else {
        v.store(p);
    }
}
template <class T>
PYCONV_INLINE void put(Vec<T> v, T* p, int lanes, bool) {
    store(v, p, lanes);
}
// The same in a result that is written from begin to end. Else its lines are asked for 2 KiB ahead,
// to be written: a store that misses fetches its line only when it is its turn.
template <class T, class L>
PYCONV_INLINE void put_in_order(Vec<T> v, T* p, L lanes, bool past_caches) {
    if (!past_caches) prefetch_write(p + 2048 / sizeof(T));
    put(v, p, lanes, past_caches);
}
// What was written past the caches is there for other threads from here on.
PYCONV_INLINE void stream_fence() {
#if defined(PYCONV_ISA_avx512) || defined(PYCONV_ISA_avx2)
    _mm_sfence();
#endif
}

}  // namespace pyconv::PYCONV_ISA
