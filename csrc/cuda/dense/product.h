// What a matrix product on the device is asked for, as plain data.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "cuda/common/index.h"

namespace pyconv::cuda {

// How float32 products are formed: exactly, or on tensor cores, as TF32. 16-bit types have the
// tensor cores alone.
enum class Arithmetic { simt, tensor };

// activation(alpha * sum + bias + residual_scale * residual); null: none. T: as results are stored.
template <class T>
struct Epilogue {
    const float* bias = nullptr;
    const T* stored_bias = nullptr;  // in the place of bias
    const T* residual = nullptr;     // lies as the result
    float alpha = 1, residual_scale = 1;
    Activation activation = Activation::none;
    float slope = 0;
};

// Where the rows of a result lie: pixels of a grid in images, or (one image of one row) a matrix.
template <class T>
struct Rows {
    T* data = nullptr;
    int rows = 0, columns = 0;
    FastDivider grid, width;  // pixels of an image, of its row
    std::int64_t image_step = 0, row_step = 0, pixel_step = 0, group_step = 0;
    bool vectors = false;  // four columns at a time are aligned

    PYCONV_HOST_DEVICE std::int64_t offset(int row) const {
        int pixel, x;
        const int image = grid.divide(row, pixel);
        const int y = width.divide(pixel, x);
        return image * image_step + y * row_step + x * pixel_step;
    }
};

// How often a sum is cut so that the grid fills a chip, by the problem alone: the same bits on any
// device.
struct Split {
    int count = 1;  // parts of the sum
    int depth = 0;  // of each, a multiple of the tile's
};
inline Split split_evenly(std::int64_t depth, std::int64_t parts, int tile_depth) {
    const std::int64_t each = divide_up(divide_up(depth, parts), tile_depth) * tile_depth;
    if (each == 0) return {1, 0};
    return {static_cast<int>(divide_up(depth, each)), static_cast<int>(each)};
}

// For float32 without tensor cores. 216 blocks are two for each multiprocessor of an A100.
inline constexpr int kTileDepth = 8;
inline constexpr std::int64_t kWantedBlocks = 216;
inline Split split_sum(std::int64_t blocks, std::int64_t depth) {
    const std::int64_t wanted = divide_up(kWantedBlocks, blocks < 1 ? 1 : blocks);
    const std::int64_t most = depth / 128 < 1 ? 1 : depth / 128;
    const std::int64_t parts = wanted < most ? wanted : most;
    return split_evenly(depth, parts < 64 ? parts : 64, kTileDepth);
}

}  // namespace pyconv::cuda
