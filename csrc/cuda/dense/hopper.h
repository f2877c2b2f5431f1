// Products by the instructions of compute capability 9.0: copies of boxes of tensors, products of
// warpgroups (hopper.cuh). Which problems, and where their operands lie.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/dense/hopper_plan.h"
#include "cuda/dense/product.h"
#include "cuda/dense/products.h"

namespace pyconv::cuda {

// The left operand: images of `channels` neighbouring elements a pixel, seen through a window (see
// sources.cuh). Steps between pixels in elements.
struct HopperImage {
    const void* data;
    std::int64_t channels, width, height, images, pixel;
    std::int64_t grid_width, grid_height;
    int origin_x, origin_y, step_x, step_y;
    int taps_across, taps_down, tap_step_x, tap_step_y;
};

// The right operand: for each tap a matrix of channels and columns, one of them neighbours, the
// other `pitch` apart; taps at two steps. In elements.
struct HopperWeight {
    const void* data;
    bool along_columns;
    std::int64_t columns, channels, pitch, tap_across, tap_down;
};

// The right operand of sums over pixels: columns are neighbours.
struct HopperGradient {
    const void* data;
    std::int64_t columns, pitch;
};

// What a kernel has left to do: parts of sums to be added and finished.
struct HopperResult {
    bool ran = false;
    float* partial = nullptr;
    int parts = 0;
};

// They refuse what they can't compute, or what it isn't worth it for.
template <class T>
struct HopperProduct {
    static HopperResult run(const HopperImage& a, const HopperWeight& b,
                            const ProductTask<T>& task);
    static HopperResult run(const HopperImage& a, const HopperGradient& b,
                            const ProductTask<T>& task);
};

// Of so many pixels (of the grid), seen by so many taps, times the channels.
template <int kPiece, class T>
HopperImage hopper_image(const T* data, const Window& w, std::int64_t pixels, std::int64_t taps) {
    HopperImage a;
    a.data = data;
    a.channels = w.channels.divisor;
    a.width = w.width;
    a.height = w.height;
    a.pixel = static_cast<std::int64_t>(w.pixel) * kPiece;
    a.grid_width = w.grid_width.divisor;
    a.grid_height = w.grid_height;
    a.images = pixels / (a.grid_width * a.grid_height);
    a.origin_x = w.origin_x;
    a.origin_y = w.origin_y;
    a.step_x = w.step_x;
    a.step_y = w.step_y;
    a.taps_across = static_cast<int>(w.taps_across.divisor);
    a.taps_down = static_cast<int>(taps / (a.channels * a.taps_across));
    a.tap_step_x = w.tap_step_x;
    a.tap_step_y = w.tap_step_y;
    const bool same_size = a.grid_width == a.width && a.grid_height == a.height;
    const bool steps = a.step_x != 1 || a.step_y != 1 || a.origin_x != 0 || a.origin_y != 0;
    if (same_size && !steps && a.taps_across == 1 && a.taps_down == 1) {  // a matrix of pixels
        a.width = a.grid_width = a.width * a.height * a.images;
        a.height = a.grid_height = a.images = 1;
    }
    return a;
}

template <class T, int kPiece, int kDepth>
HopperImage hopper_image(const PixelRows<T, kPiece, kDepth>& a) {
    return hopper_image<kPiece>(a.data, a.window, a.rows, a.depth);
}
template <class T, int kPiece, int kDepth>
HopperImage hopper_image(const TapRows<T, kPiece, kDepth>& a) {
    return hopper_image<kPiece>(a.data, a.window, a.depth, a.rows);
}

template <class T, int kPiece, int kDepth>
HopperWeight hopper_weight(const AlongRows<T, kPiece, kDepth>& b, const HopperImage& a) {
    const std::int64_t pitch = static_cast<std::int64_t>(b.pitch) * kPiece;
    const std::int64_t tap = a.channels * pitch;
    return {b.data, true, b.rows, a.channels, pitch, tap, a.taps_across * tap};
}
template <class T, int kPiece, int kDepth>
HopperWeight hopper_weight(const WeightRows<T, kPiece, kDepth>& b, const HopperImage& a) {
    const auto elements = [](int pieces) { return static_cast<std::int64_t>(pieces) * kPiece; };
    return {b.data,
            false,
            b.rows,
            a.channels,
            elements(b.pitch),
            elements(b.tap_column),
            elements(b.tap_row)};
}
template <class T, int kPiece, int kDepth>
HopperGradient hopper_gradient(const AlongRows<T, kPiece, kDepth>& b) {
    return {b.data, b.rows, static_cast<std::int64_t>(b.pitch) * kPiece};
}

// Whether a kernel has taken the product.
template <class A, class B, class T>
bool hopper_runs(const A& a, const B& b, const ProductTask<T>& task, HopperResult& result) {
    // Operands in pieces alone; of those that lie across k both, or the right one.
    if constexpr (kHopper && A::kPiece > 1) {
        const HopperImage image = hopper_image(a);
        if constexpr (A::kAlong == Along::depth) {
            result = HopperProduct<T>::run(image, hopper_weight(b, image), task);
        } else if constexpr (sizeof(T) == 2 && B::kAlong == Along::rows) {
            result = HopperProduct<T>::run(image, hopper_gradient(b), task);
        }
    }
    return result.ran;
}

}  // namespace pyconv::cuda
