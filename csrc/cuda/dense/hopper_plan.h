// How a product is cut on compute capability 9.0: the box of pixels of a tile, its columns, the
// parts of the sum. By the problem alone, with the figures of an H100: not by the device's state or
// size.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cuda/common/index.h"
#include "cuda/dense/product.h"

namespace pyconv::cuda {

// Whether this build has them: code for sm_90a.
#ifdef PYCONV_CUDA_HOPPER
inline constexpr bool kHopper = true;
#else
inline constexpr bool kHopper = false;
#endif

// What tests set for the calling thread: 0 never, 1 wherever it is possible, negative: where it is
// worth it; columns of a tile and blocks of the grid, 0: by the problem and the device. And how
// many products were launched.
struct HopperChoice {
    int use = -1, columns = 0, blocks = 0;
};
inline thread_local HopperChoice hopper_choice;
inline thread_local int hopper_launches = 0;

inline constexpr int kHopperRows = 128;       // of a tile
inline constexpr int kHopperStepBytes = 128;  // of a row, along k: one step
inline constexpr int kHopperConsumers = 8;    // warps that multiply
inline constexpr int kHopperSlab = 64;  // 16-bit elements of a line, of operands that lie across k

// Stages of a tile of so many columns fill 192 KiB.
constexpr int hopper_stage_bytes(int columns) { return (kHopperRows + columns) * kHopperStepBytes; }
constexpr int hopper_stages(int columns) { return 192 * 1024 / hopper_stage_bytes(columns); }

// Pixels of a grid that are one tile.
struct PixelBox {
    std::int64_t width = 0, height = 0, images = 0;
    std::int64_t tiles = 0;  // of the whole grid
};

// The box of at most so many pixels that needs the fewest tiles; steps: of the image, from pixel to
// pixel of the grid. Whole: no box reaches past a row or a column of the grid.
inline PixelBox plan_box(std::int64_t width, std::int64_t height, std::int64_t images, int step_x,
                         int step_y, std::int64_t pixels, bool whole) {
    constexpr int kMostSide = 256;  // of a box that is copied
    const auto balanced = [&](std::int64_t n, std::int64_t side) {
        return whole ? n % side == 0 : divide_up(n, divide_up(n, side)) == side;
    };
    PixelBox best;
    for (std::int64_t w = std::min(width, pixels); w > 0; --w) {
        if (!balanced(width, w) || (w - 1) * step_x >= kMostSide) continue;
        for (std::int64_t h = std::min(height, pixels / w); h > 0; --h) {
            if (!balanced(height, h) || (h - 1) * step_y >= kMostSide) continue;
            const std::int64_t n = std::min(images, pixels / (w * h));
            const std::int64_t tiles =
                divide_up(width, w) * divide_up(height, h) * divide_up(images, n);
            if (best.tiles == 0 || tiles < best.tiles) best = {w, h, n, tiles};
        }
    }
    return best;
}

struct HopperPlan {
    int columns = 0;  // of a tile
    Split split;      // of the steps along k
    double clocks = 0;
};

inline double hopper_clocks(int columns, std::int64_t tiles, const Split& split, double results,
                            int item_size) {
    constexpr double kMultiprocessors = 132, kL2 = 3200, kMemory = 1900;  // bytes a clock
    constexpr double kFill = 1500, kLaunch = 3000;
    const double blocks = static_cast<double>(tiles) * split.count;
    // Of a step: products, and bytes that they read in shared memory (128 a clock).
    const double step = std::max(4.0 * columns, kHopperRows + 2.0 * columns);
    const double busy = std::ceil(blocks / kMultiprocessors) * (split.depth * step + kFill);
    double asked = blocks * split.depth * hopper_stage_bytes(columns) + results * item_size;
    if (split.count == 1) return std::max(busy, asked / kL2);
    const double parts = results * 4 * split.count;  // written, and read again
    return std::max(busy, (asked + parts) / kL2) + parts / kMemory + kLaunch;
}

// `down`: tiles along the rows; steps: along k. `only`: so many columns, or 0.
inline HopperPlan plan_hopper(std::int64_t down, std::int64_t rows, std::int64_t columns,
                              std::int64_t steps, int item_size, int only) {
    HopperPlan best;
    for (const int wide : {64, 128, 256}) {
        if (only != 0 ? wide != only : wide > 64 && columns <= wide / 2) continue;
        const std::int64_t tiles = down * divide_up(columns, wide);
        for (const int parts : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}) {
            if (parts > 1 && steps < 4 * parts) break;
            const Split split = split_evenly(steps, parts, 1);
            const double results = static_cast<double>(rows) * static_cast<double>(columns);
            const double clocks = hopper_clocks(wide, tiles, split, results, item_size);
            if (best.columns == 0 || clocks < best.clocks) best = {wide, split, clocks};
        }
    }
    return best;
}

}  // namespace pyconv::cuda
