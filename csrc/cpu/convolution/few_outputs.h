// Few channels on both sides, as in a network's first layer on grey pictures: the image is copied,
// a plane for each channel and phase of the stride, and vectors run along its rows.
#pragma once

#include "core/problem.h"
#include "cpu/convolution/indirect.h"
#include "cpu/convolution/kernels.h"

namespace pyconv {

// The weight as [tap][input][output].
std::int64_t few_outputs_weight_size(const ConvolutionProblem& problem);
template <class T>
void pack_few_outputs(const ConvolutionProblem& problem, const WeightView<T>& weight, T* packed);

// The epilogue has no residual.
template <class T>
void few_outputs_forward(const FewOutputsKernels<T>& kernels, const ConvolutionProblem& problem,
                         const T* x, const T* packed, T* y, const Epilogue<T>& epilogue);

// The same of dy, with the kernel turned around; the stride is 1.
template <class T>
void few_outputs_backward_input(const FewOutputsKernels<T>& kernels,
                                const ConvolutionProblem& problem, const T* dy,
                                const WeightView<T>& weight, T* dx, const Epilogue<T>& epilogue);

// dw lies as kernel_height, kernel_width, in_channels, out_channels.
template <class T>
void few_outputs_backward_weight(const FewOutputsKernels<T>& kernels,
                                 const ConvolutionProblem& problem, const T* dy, const T* x, T* dw);

}  // namespace pyconv
