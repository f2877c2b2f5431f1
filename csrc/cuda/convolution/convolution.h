// Convolutions of channels-last images. The weight lies as kernel_height, kernel_width, in/groups,
// out, dense.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"
#include "cuda/common/launch.h"
#include "cuda/dense/product.h"

namespace pyconv::cuda {

void convolution_forward(const ConvolutionProblem& problem, const float* x, const float* weight,
                         float* y, const Epilogue& epilogue, const Allocate& allocate,
                         cudaStream_t stream);
void convolution_backward_input(const ConvolutionProblem& problem, const float* dy,
                                const float* weight, float* dx, const Epilogue& epilogue,
                                const Allocate& allocate, cudaStream_t stream);
void convolution_backward_weight(const ConvolutionProblem& problem, const float* dy, const float* x,
                                 float* dw, const Allocate& allocate, cudaStream_t stream);

}  // namespace pyconv::cuda
