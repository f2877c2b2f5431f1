// Depthwise convolutions, a filter for each channel, of channels-last images; the weight lies as
// kernel_height, kernel_width, channels.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"
#include "cuda/common/launch.h"
#include "cuda/dense/product.h"

namespace pyconv::cuda {

template <class T>
void depthwise_forward(const ConvolutionProblem& p, const T* x, const T* weight, T* y,
                       const Epilogue<T>& epilogue, cudaStream_t stream);
template <class T>
void depthwise_backward_input(const ConvolutionProblem& p, const T* dy, const T* weight, T* dx,
                              const Epilogue<T>& epilogue, cudaStream_t stream);
template <class T>
void depthwise_backward_weight(const ConvolutionProblem& p, const T* dy, const T* x, T* dw,
                               const Allocate& allocate, cudaStream_t stream);

}  // namespace pyconv::cuda
