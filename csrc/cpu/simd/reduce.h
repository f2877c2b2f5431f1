// What every implementation of Vec shares: access to one lane, and sums over the lanes in a fixed
// order (halves, then quarters, ...).
#pragma once

namespace pyconv::PYCONV_ISA {

template <class T>
PYCONV_INLINE T lane(Vec<T> a, int i) {
    T lanes[Vec<T>::kLanes];
    a.store(lanes);
    return lanes[i];
}

template <class T>
PYCONV_INLINE T reduce_add(Vec<T> a) {
    T lanes[Vec<T>::kLanes];
    a.store(lanes);
    for (int half = Vec<T>::kLanes / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
}

// NaN wins.
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

}  // namespace pyconv::PYCONV_ISA
