// One activation of a vector, for the epilogues of all families.
#pragma once

#include "core/activation.h"
#include "cpu/activation/exponential.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// What needs an exponential: out of line, so that the loops around an epilogue stay small and keep
// their registers.
template <class T>
__attribute__((noinline)) Vec<T> activate_smooth(Activation activation, Vec<T> x) {
    switch (activation) {
        case Activation::sigmoid:
            return sigmoid(x);
        case Activation::tanh:
            return tanh(x);
        case Activation::silu:
            return x * sigmoid(x);
        default:
            return x * normal_distribution(x).distribution;
    }
}

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
            return activate_smooth(activation, x);
    }
}

}  // namespace pyconv::PYCONV_ISA
