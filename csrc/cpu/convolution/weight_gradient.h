// dW[tap][c][k] = sum over output pixels p of x[pixel of p and tap][c] * dy[p][k]: outer products,
// summed over blocks of pixels in a fixed order.
#pragma once

#include "core/problem.h"
#include "cpu/dense/kernels.h"

namespace pyconv {

// dw lies as kernel_height, kernel_width, in_channels / groups, out_channels. With `runs`, a row of
// the kernel is one run of kernel_width * channels (few channels; no dilation along the row).
template <class T>
void weight_gradient(const DenseKernels<T>& kernels, const ConvolutionProblem& problem, const T* dy,
                     const T* x, T* dw, bool runs);

}  // namespace pyconv
