// Activations over dense memory, in any order of the axes, and the two softmaxes.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/isa.h"
#include "core/softmax.h"

namespace pyconv {

template <class T>
void activation_forward(Isa isa, Activation activation, const T* x, T* y, std::int64_t n, T slope);

// dx = dy times the derivative at x.
template <class T>
void activation_backward(Isa isa, Activation activation, const T* dy, const T* x, T* dx,
                         std::int64_t n, T slope);

template <class T>
void softmax(Isa isa, bool logarithm, const SoftmaxShape& shape, const T* x, T* y);

// y is the result of the forward function.
template <class T>
void softmax_backward(Isa isa, bool logarithm, const SoftmaxShape& shape, const T* dy, const T* y,
                      T* dx);

}  // namespace pyconv
