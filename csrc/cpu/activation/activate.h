// One activation of a vector, for the epilogues of all families.
#pragma once

#include "core/activation.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// max and min give their second operand where either is NaN, so that NaN goes through.
template <class T>
PYCONV_INLINE Vec<T> activate(Activation activation, Vec<T> x, T slope) {
    switch (activation) {
        case Activation::none:
            return x;
        case Activation::relu:
            return max(Vec<T>::zero(), x);
        case Activation::relu6:
            return min(Vec<T>::broadcast(T(6)), max(Vec<T>::zero(), x));
        case Activation::leaky_relu:
            return select(less(x, Vec<T>::zero()), x * Vec<T>::broadcast(slope), x);
        default:
            return x;
    }
}

}  // namespace pyconv::PYCONV_ISA
