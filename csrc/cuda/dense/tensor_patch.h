// Convolutions with stride 1 whose output is as large as the image: output pixel p and tap t meet
// at pixel p + distance(t), in the order of memory. A block copies the pixels that its rows see
// (the patch: its own, and a halo before and behind) once for all taps; to read a tap is to read
// lines of the patch some way off, and zeros where the tap is outside the image.
#pragma once

#include <algorithm>

#include "cuda/dense/products.h"
#include "cuda/dense/tensor_plan.h"

namespace pyconv::cuda {

// The order of the sum is (64 bytes of channels, tap, channel).
template <class T, int kPieceSize, int kTileDepth>
struct PatchRows {
    using Element = T;
    static constexpr Along kAlong = Along::depth;
    static constexpr int kPiece = kPieceSize, kDepth = kTileDepth;
    PixelRows<T, kPieceSize, kTileDepth> pixels;
    int taps, before, halo;  // of the halo: pixels before a tile, and all

    __device__ void select(int group) { pixels.select(group); }
};

// The patches of a convolution, if it can be computed by them; else of no taps.
template <class T, int kPiece, int kDepth>
PatchRows<T, kPiece, kDepth> patches_of(const PixelRows<T, kPiece, kDepth>& pixels) {
    PatchRows<T, kPiece, kDepth> result{pixels, 0, 0, 0};
    const Window& w = pixels.window;
    const int channels = static_cast<int>(w.channels.divisor);
    const int across = static_cast<int>(w.taps_across.divisor);
    const int taps = pixels.depth / channels;
    const bool same_size = w.step_y == 1 && w.step_x == 1 && w.grid_height == w.height &&
                           static_cast<int>(w.grid_width.divisor) == w.width;
    // A patch is copied while the one before is read, some taps ahead.
    if (!same_size || channels % kDepth != 0 || taps < kTensorStages || taps > 32) return result;
    std::int64_t least = 0, most = 0;
    for (int tap = 0; tap < taps; ++tap) {
        const std::int64_t y = w.origin_y + static_cast<std::int64_t>(tap / across) * w.tap_step_y;
        const std::int64_t x = w.origin_x + static_cast<std::int64_t>(tap % across) * w.tap_step_x;
        least = std::min(least, y * w.width + x);
        most = std::max(most, y * w.width + x);
    }
    if (most - least > kMostShared / 64) return result;
    result.taps = taps;
    result.before = static_cast<int>(-least);
    result.halo = static_cast<int>(most - least);
    return result;
}

template <class T>
struct TensorPatches {
    template <class B>
    static void run(const PatchRows<T, TensorProduct<T>::kPiece, TensorProduct<T>::kDepth>& a,
                    const B& b, const ProductTask<T>& task, const TensorPlan& plan);
};

}  // namespace pyconv::cuda
