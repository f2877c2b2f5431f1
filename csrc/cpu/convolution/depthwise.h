// Depthwise convolution: each channel with kernels of its own. A channel multiplier above one is
// the same problem with every input channel repeated.
#pragma once

#include "core/problem.h"
#include "cpu/convolution/indirect.h"
#include "cpu/convolution/kernels.h"

namespace pyconv {

// The weight as [tap][channels rounded up to a vector].
template <class T>
std::int64_t depthwise_weight_size(const DepthwiseKernels<T>& kernels,
                                   const ConvolutionProblem& problem);
template <class T>
void pack_depthwise(const DepthwiseKernels<T>& kernels, const ConvolutionProblem& problem,
                    const WeightView<T>& weight, T* packed);

// What surrounds a strip of rows.
template <class T>
struct DepthwiseMemory {
    const T* in_end;   // of all images: what is read next is brought into L2
    const T* out_end;  // if not null, what is written next into the caches
    bool past_caches;  // the output's lines are written past them
};

// Rows [begin, end) of the output of one image; `out` is where row `begin` goes. The multiplier
// is one.
template <class T>
void depthwise_strip(const DepthwiseKernels<T>& kernels, const ConvolutionProblem& problem,
                     const T* image, const T* packed, std::int64_t begin, std::int64_t end, T* out,
                     const Epilogue<T>& epilogue, const DepthwiseMemory<T>& memory);

template <class T>
void depthwise_forward(const DepthwiseKernels<T>& kernels, const ConvolutionProblem& problem,
                       const T* x, const T* packed, T* y, const Epilogue<T>& epilogue);
template <class T>
void depthwise_backward_input(const DepthwiseKernels<T>& kernels, const ConvolutionProblem& problem,
                              const T* dy, const WeightView<T>& weight, T* dx,
                              const Epilogue<T>& epilogue);
// dw lies as kernel_height, kernel_width, 1, out_channels.
template <class T>
void depthwise_backward_weight(const DepthwiseKernels<T>& kernels,
                               const ConvolutionProblem& problem, const T* dy, const T* x, T* dw);

}  // namespace pyconv
