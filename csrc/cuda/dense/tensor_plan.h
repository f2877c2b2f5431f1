// Which tile a product on tensor cores is cut into, and its sum into how many parts: what takes the
// fewest clocks by an estimate from the problem. The figures are those of an A100; they are the
// same on every device, and so are the bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cuda/common/index.h"
#include "cuda/dense/product.h"

namespace pyconv::cuda {

struct TileSize {
    int rows, columns, warp_rows, warp_columns;
    int resident;  // blocks of a multiprocessor at a time
};
inline constexpr TileSize kTensorTiles[] = {
    {64, 64, 32, 32, 4}, {256, 64, 64, 32, 1}, {128, 128, 64, 64, 2}, {256, 128, 64, 64, 1}};

// Most shared memory of a block, on the smallest of the devices.
inline constexpr int kMostShared = 99 * 1024;
inline constexpr int kTensorStages = 4;

struct TensorProblem {
    std::int64_t rows, columns, depth, groups;
    int tile_depth, item_size;  // elements of a tile along k; bytes of one
    int taps = 1, halo = 0;     // of patches: taps that share one, pixels more than rows
};

struct TensorPlan {
    int tile = 0;  // of kTensorTiles
    Split split;
    double clocks = 0;  // 0: it can't be computed so
};

// Stages of columns, two patches, and a line of zeros for each bank.
inline int patch_bytes(const TileSize& t, int halo) {
    return kTensorStages * t.columns * 64 + 2 * (t.rows + halo) * 64 + 128;
}

inline double estimated_clocks(const TileSize& t, const TensorProblem& p, const Split& split) {
    constexpr double kMultiprocessors = 108, kL2 = 2800, kMemory = 1100;  // bytes a clock
    const double area = static_cast<double>(t.rows) * t.columns;
    const double blocks = static_cast<double>(divide_up(p.rows, t.rows) *
                                              divide_up(p.columns, t.columns) * p.groups) *
                          split.count;
    const double steps = static_cast<double>(divide_up(split.depth, p.tile_depth));
    // Of a step of 64 bytes along k: products (a clock has 1024 of 16 bits, 512 of TF32), bytes
    // that warps read and copies write in shared memory (128 a clock), bytes that are asked of L2.
    const double bytes = (static_cast<double>(t.rows + p.halo) / p.taps + t.columns) * 64;
    const double products = area / 32;
    const double shared = area * (1.0 / t.warp_rows + 1.0 / t.warp_columns) / 2 + bytes / 128;
    const auto waves = [&](double at_a_time) { return std::ceil(blocks / at_a_time); };
    constexpr double kFill = 1500;  // first copies, last stores
    const double busy = waves(kMultiprocessors) * steps * std::max(products, shared) +
                        waves(kMultiprocessors * t.resident) * kFill;
    const double results = static_cast<double>(p.rows * p.columns * p.groups);
    const double asked = blocks * steps * bytes + results * p.item_size;
    if (split.count == 1) return std::max(busy, asked / kL2);
    constexpr double kLaunch = 3000;
    const double parts = results * 4 * split.count;  // written, and read again
    return std::max(busy, (asked + parts) / kL2) + parts / kMemory + kLaunch;
}

// What tests set for the calling thread: the tiles to choose from, whether patches are used
// (negative: by the estimate).
struct TileChoice {
    int first = 0, last = 3, patches = -1;
};
inline thread_local TileChoice tile_choice;

// Of the tiles from first to last.
inline TensorPlan plan_tensor(const TensorProblem& p, int first, int last) {
    TensorPlan best;
    const int unit = p.tile_depth * p.taps;
    const int least_units = p.taps > 1 ? 1 : 4;  // of a part
    for (int tile = first; tile <= last; ++tile) {
        const TileSize& size = kTensorTiles[tile];
        if (p.taps > 1 && patch_bytes(size, p.halo) > kMostShared) continue;
        for (const int parts : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}) {
            if (parts > 1 && p.depth < static_cast<std::int64_t>(least_units) * parts * unit) break;
            const Split split = split_evenly(p.depth, parts, unit);
            const double clocks = estimated_clocks(size, p, split);
            if (best.clocks == 0 || clocks < best.clocks) best = {tile, split, clocks};
        }
    }
    return best;
}

}  // namespace pyconv::cuda
