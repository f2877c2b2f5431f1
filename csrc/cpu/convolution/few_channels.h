// First layers. With one to four channels a tap is too short a sum; but a kernel row's taps and
// their channels are neighbours in memory, so a row of the kernel is one run of
// kernel_width * channels, once the input rows are copied into scratch with their padding.
#pragma once

#include "core/problem.h"
#include "cpu/convolution/indirect.h"

namespace pyconv {

// Copies input rows with their padding: dst holds `rows` rows of `width` pixels, beginning at
// input row y0 and column -pad_left (either may lie outside the input).
template <class T>
void copy_padded_rows(const T* image, std::int64_t height, std::int64_t in_width,
                      std::int64_t channels, std::int64_t y0, std::int64_t rows, std::int64_t x0,
                      std::int64_t width, T* dst);

// The packed weight is that of run_indirect.
template <class T>
void few_channels_forward(const DenseKernels<T>& kernels, const ConvolutionProblem& problem,
                          const T* x, const T* packed, T* y, const Epilogue<T>& epilogue);

// dx = sum over the taps: a GEMM gives every output pixel its patch, which is added to the image.
// `packed` holds the weight as one matrix of out_channels x (kernel_height * kernel_width *
// channels), see pack_patches.
template <class T>
void few_channels_backward_input(const DenseKernels<T>& kernels, const ConvolutionProblem& problem,
                                 const T* dy, const T* packed, T* dx, const Epilogue<T>& epilogue);
template <class T>
std::int64_t patches_size(const DenseKernels<T>& kernels, const ConvolutionProblem& problem);
template <class T>
void pack_patches(const DenseKernels<T>& kernels, const ConvolutionProblem& problem,
                  const WeightView<T>& weight, T* packed);

}  // namespace pyconv
