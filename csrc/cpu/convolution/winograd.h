// Winograd's minimal filtering: tiles of the image and the weight are transformed, multiplied
// element by element (a matrix product over the channels for each element), and transformed back.
// F(4x4, 3x3) needs 36 products a tile in the place of 144.
#pragma once

#include <string>

#include "core/problem.h"
#include "cpu/convolution/indirect.h"
#include "cpu/convolution/kernels.h"

namespace pyconv {

// The variant F(out x out, kernel x kernel), or -1.
constexpr int winograd_variant(int out, std::int64_t kernel) {
    for (int i = 0; i < kWinogradVariantCount; ++i) {
        if (kWinogradVariants[i].out == out && kWinogradVariants[i].kernel == kernel) return i;
    }
    return -1;
}

// Why "auto" passes F(out x out) over: direct sums or smaller tiles are faster, by an estimate that
// counts products, transformed elements and bytes of the weight (`packed`: transformed beforehand).
// Empty where it takes it.
std::string winograd_passes(int out, Direction direction, const ConvolutionProblem& problem,
                            bool packed);

// Tiles along one axis. With a dilation the pixels of one phase make an image of their own.
constexpr std::int64_t winograd_tiles(std::int64_t size, std::int64_t dilation, int out) {
    return ((size + dilation - 1) / dilation + out - 1) / out;
}

// A convolution with stride 1, zero padded; or, with a turned weight, its backward data pass.
template <class T>
struct WinogradProblem {
    int variant = 0;  // of kWinogradVariants
    std::int64_t batch = 0;
    std::int64_t in_channels = 0, in_height = 0, in_width = 0;
    std::int64_t out_channels = 0, out_height = 0, out_width = 0;
    std::int64_t pad_top = 0, pad_left = 0;  // below zero, rows and columns are left out
    std::int64_t dilation_height = 1, dilation_width = 1;
    const T* in = nullptr;  // N, H, W, C
    T* out = nullptr;
    TapMatrices<T> weight;  // in_channels x out_channels
    bool turned = false;
    const T* packed = nullptr;  // the transformed weight, or null
    Epilogue<T> epilogue;

    std::int64_t tiles(int out) const {
        return batch * dilation_height * winograd_tiles(out_height, dilation_height, out) *
               dilation_width * winograd_tiles(out_width, dilation_width, out);
    }
};

template <class T>
WinogradProblem<T> winograd_forward_problem(int variant, const ConvolutionProblem& problem,
                                            const T* x, const WeightView<T>& weight, T* y);
template <class T>
WinogradProblem<T> winograd_backward_problem(int variant, const ConvolutionProblem& problem,
                                             const T* dy, const WeightView<T>& weight, T* dx);

template <class T>
void run_winograd(const DenseKernels<T>& dense, const WinogradKernels<T>& kernels,
                  const WinogradProblem<T>& problem);

// The transformed weight: [panel][element of the tile][channel][column].
template <class T>
std::int64_t winograd_weight_size(const DenseKernels<T>& dense, int variant,
                                  std::int64_t in_channels, std::int64_t out_channels);
template <class T>
void pack_winograd(const DenseKernels<T>& dense, const WinogradKernels<T>& kernels, int variant,
                   const TapMatrices<T>& weight, bool turned, std::int64_t in_channels,
                   std::int64_t out_channels, T* packed);

// dw lies as kernel_height, kernel_width, in_channels, out_channels.
template <class T>
void winograd_backward_weight(const DenseKernels<T>& dense, const WinogradKernels<T>& kernels,
                              int variant, const ConvolutionProblem& problem, const T* dy,
                              const T* x, T* dw);

}  // namespace pyconv
