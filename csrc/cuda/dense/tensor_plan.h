// Which tile a product on tensor cores is cut into, and its sum into how many parts: what takes the
// fewest clocks by an estimate from the problem. The figures are those of an A100; they are the same
// on every device, and so are the bits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/common/index.h"
#include "cuda/dense/product.h"

namespace pyconv::cuda {

struct TileSize {
    int rows, columns, warp_rows, warp_columns;
};
inline constexpr TileSize kTensorTiles[] = {
    {64, 64, 32, 32}, {256, 64, 64, 32}, {128, 128, 64, 64}, {256, 128, 64, 64}};

struct TensorProblem {
    std::int64_t rows, columns, depth, groups;
    int tile_depth, item_size;  // elements of a tile along k; bytes of one
};

struct TensorPlan {
    int tile = 0;  // of kTensorTiles
    Split split;
};

inline Split split_evenly(std::int64_t depth, std::int64_t parts, int tile_depth) {
    const std::int64_t each = divide_up(divide_up(depth, parts), tile_depth) * tile_depth;
    if (each == 0) return {1, 0};
    return {static_cast<int>(divide_up(depth, each)), static_cast<int>(each)};
}

inline double estimated_clocks(const TileSize& t, const TensorProblem& p, const Split& split) {
    constexpr double kMultiprocessors = 108, kL2 = 2800;  // bytes a clock
    const double area = static_cast<double>(t.rows) * t.columns;
    const double blocks = static_cast<double>(divide_up(p.rows, t.rows) *
                                              divide_up(p.columns, t.columns) * p.groups) *
                          split.count;
    const double steps = static_cast<double>(divide_up(split.depth, p.tile_depth));
    // Of a step of 64 bytes along k: products (a clock has 1024 of 16 bits, 512 of TF32), bytes that
    // warps read and copies write in shared memory (128 a clock), bytes that are asked of L2.
    const double bytes = (t.rows + t.columns) * 64.0;
    const double products = area / 32;
    const double shared = area * (1.0 / t.warp_rows + 1.0 / t.warp_columns) / 2 + bytes / 128;
    const double waves = static_cast<double>(
        divide_up(static_cast<std::int64_t>(blocks), static_cast<std::int64_t>(kMultiprocessors)));
    constexpr double kFill = 1500;  // first copies, last stores
    const double busy = waves * (steps * std::max(products, shared) + kFill);
    const double results = static_cast<double>(p.rows * p.columns * p.groups);
    const double asked = blocks * steps * bytes + results * p.item_size;
    if (split.count == 1) return std::max(busy, asked / kL2);
    constexpr double kLaunch = 3000;
    const double parts = results * 4 * split.count;  // written, and read again
    return std::max(busy, (asked + parts) / kL2) + parts / kL2 + kLaunch;
}

inline TensorPlan plan_tensor(const TensorProblem& p, bool small_alone) {
    TensorPlan best;
    double least = 0;
    for (int tile = 0; tile < (small_alone ? 1 : 4); ++tile) {
        for (const int parts : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}) {
            if (parts > 1 && p.depth < 4 * parts * p.tile_depth) break;
            const Split split = split_evenly(p.depth, parts, p.tile_depth);
            const double clocks = estimated_clocks(kTensorTiles[tile], p, split);
            if (least == 0 || clocks < least) {
                least = clocks;
                best = {tile, split};
            }
        }
    }
    return best;
}

}  // namespace pyconv::cuda
