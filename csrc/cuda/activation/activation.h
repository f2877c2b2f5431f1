// Activations over dense memory, in any order of the axes, and the two softmaxes.
#pragma once

#include <cuda_runtime.h>

#include "core/activation.h"
#include "core/softmax.h"

namespace pyconv::cuda {

template <class T>
void activation_forward(Activation activation, const T* x, T* y, std::int64_t n, float slope,
                        cudaStream_t stream);

// dx = dy times the derivative at x.
template <class T>
void activation_backward(Activation activation, const T* dy, const T* x, T* dx, std::int64_t n,
                         float slope, cudaStream_t stream);

template <class T>
void softmax(bool logarithm, const SoftmaxShape& shape, const T* x, T* y, cudaStream_t stream);

// y is the result of the forward function.
template <class T>
void softmax_backward(bool logarithm, const SoftmaxShape& shape, const T* dy, const T* y, T* dx,
                      cudaStream_t stream);

}  // namespace pyconv::cuda
