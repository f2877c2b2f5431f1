// Convolutions of channels-last images. The weight lies as kernel_height, kernel_width, in/groups,
// out, dense. T: float, half or bfloat16.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"
#include "cuda/common/launch.h"
#include "cuda/dense/product.h"

namespace pyconv::cuda {

template <class T>
void convolution_forward(const ConvolutionProblem& problem, const T* x, const T* weight, T* y,
                         const Epilogue<T>& epilogue, Arithmetic arithmetic,
                         const Allocate& allocate, cudaStream_t stream);
template <class T>
void convolution_backward_input(const ConvolutionProblem& problem, const T* dy, const T* weight,
                                T* dx, const Epilogue<T>& epilogue, Arithmetic arithmetic,
                                const Allocate& allocate, cudaStream_t stream);
template <class T>
void convolution_backward_weight(const ConvolutionProblem& problem, const T* dy, const T* x, T* dw,
                                 Arithmetic arithmetic, const Allocate& allocate,
                                 cudaStream_t stream);

}  // namespace pyconv::cuda
