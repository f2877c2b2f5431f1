// Which tiles a product on tensor cores is cut into, and how these are dealt out to blocks: what
// takes the fewest clocks by an estimate from the problem. The figures are those of an A100; they
// are the same on every device, and so are the bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cuda/common/index.h"
#include "cuda/dense/tensor_work.h"

namespace pyconv::cuda {

struct TileSize {
    int rows, columns, warp_rows, warp_columns;
    int resident;  // blocks of a multiprocessor at a time
};
inline constexpr TileSize kTensorTiles[] = {{64, 64, 32, 32, 4},
                                            {256, 64, 64, 32, 1},
                                            {128, 128, 64, 64, 2},
                                            {256, 128, 64, 64, 1},
                                            {128, 256, 64, 64, 1}};
inline constexpr int kLastTile = 4;

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
    TensorWork work;
    bool fused = false;  // the last block of a tile adds its pieces; else a kernel of its own does
    double clocks = 0;   // 0: it can't be computed so
};

// Stages of columns, two patches, and a line of zeros for each bank.
inline int patch_bytes(const TileSize& t, int halo) {
    return kTensorStages * t.columns * 64 + 2 * (t.rows + halo) * 64 + 128;
}

inline constexpr int kMultiprocessors = 108;

inline std::int64_t tiles_of(const TileSize& t, const TensorProblem& p) {
    return divide_up(p.rows, t.rows) * divide_up(p.columns, t.columns) * p.groups;
}

inline double estimated_clocks(const TileSize& t, const TensorProblem& p, const TensorWork& work,
                               bool fused) {
    constexpr double kL2 = 2800, kMemory = 1100;  // bytes a clock
    const double area = static_cast<double>(t.rows) * t.columns;
    // Of a step, for each 64 bytes along k: products (a clock has 1024 of 16 bits, 512 of TF32),
    // bytes that warps read and copies write in shared memory (128 a clock), bytes that are asked
    // of L2.
    const double bytes = (t.rows + p.halo + static_cast<double>(t.columns) * p.taps) * 64;
    const double products = area / 32 * p.taps;
    const double shared =
        area * (1.0 / t.warp_rows + 1.0 / t.warp_columns) / 2 * p.taps + bytes / 128;
    const auto tiles = static_cast<double>(tiles_of(t, p));
    const double own = tiles - work.dealt, each = kMultiprocessors * t.resident;
    const bool in_pieces = work.workers > 0;
    const bool crosses = in_pieces && work.crosses();
    double longest = 0, fills = std::ceil(own / each);
    if (in_pieces) {
        longest = std::ceil(static_cast<double>(work.dealt) * work.steps / work.workers);
        fills +=
            std::ceil(work.workers / each) * (crosses ? std::ceil(longest / work.steps) + 1 : 1);
    }
    constexpr double kFill = 1500;  // first copies, last stores
    const double busy =
        (std::ceil(own / kMultiprocessors) * work.steps +
         std::ceil(static_cast<double>(work.workers) / kMultiprocessors) * longest) *
            std::max(products, shared) +
        fills * kFill;
    const double results = static_cast<double>(p.rows * p.columns * p.groups);
    const double asked = tiles * work.steps * bytes + results * p.item_size;
    if (!in_pieces) return std::max(busy, asked / kL2);
    const double pieces = work.slots() * area * 4;  // bytes, written and read again
    if (fused) {
        // At the end the last block of a tile reads all pieces of it.
        constexpr double kTickets = 1500, kRead = 64;  // clocks; bytes a clock
        const double of_tile = std::ceil(static_cast<double>(work.workers) / work.dealt) + crosses;
        const double adding = of_tile * area * 4 / kRead + kTickets;
        return std::max({busy + adding, (asked + pieces) / kL2 + adding, 2 * pieces / kMemory});
    }
    constexpr double kLaunch = 3000;
    return std::max(busy, (asked + pieces) / kL2) + pieces / kMemory + kLaunch;
}

// What tests set for the calling thread: the tiles to choose from; whether patches are used
// (negative: by the estimate), how many tiles are dealt out (likewise) to how many workers, and
// whether the last block of a tile adds the pieces.
struct TileChoice {
    int first = 0, last = kLastTile, patches = -1;
    int dealt = -1, workers = 0;
    bool fused = false;
};
inline thread_local TileChoice tile_choice;

// Of the tiles from first to last.
inline TensorPlan plan_tensor(const TensorProblem& p, int first, int last) {
    TensorPlan best;
    const TileChoice& choice = tile_choice;
    const int unit = p.tile_depth * p.taps;
    const int steps = static_cast<int>(divide_up(p.depth, unit));
    const int least_steps = p.taps > 1 ? 1 : 4;  // of a piece
    for (int tile = first; tile <= last; ++tile) {
        const TileSize& size = kTensorTiles[tile];
        if (p.taps > 1 && patch_bytes(size, p.halo) > kMostShared) continue;
        const auto consider = [&](std::int64_t dealt, std::int64_t workers, bool fused) {
            const TensorWork work{unit, steps, static_cast<int>(dealt), static_cast<int>(workers)};
            // An estimate: pieces, which cost memory, have to gain a tenth.
            const double handicap = workers > 0 ? 1.1 : 1.0;
            const double clocks = handicap * estimated_clocks(size, p, work, fused);
            if (best.clocks == 0 || clocks < best.clocks) best = {tile, work, fused, clocks};
        };
        const auto deal = [&](std::int64_t dealt, std::int64_t workers) {
            if (workers > dealt * steps / least_steps) return;
            for (const bool fused : {false, true}) consider(dealt, workers, fused);
        };
        const std::int64_t tiles = tiles_of(size, p);
        if (choice.dealt > 0 && tiles > 0 && steps > 0) {
            const std::int64_t dealt = std::min<std::int64_t>(choice.dealt, tiles);
            consider(dealt, std::min<std::int64_t>(choice.workers, dealt * steps), choice.fused);
            continue;
        }
        consider(0, 0, false);
        if (choice.dealt == 0 || tiles > 10000) continue;
        for (int parts = 2; parts <= 64; parts += parts / 16 + 1) deal(tiles, tiles * parts);
        // So that the multiprocessors end together: all tiles, or those of the last waves.
        for (int resident = 1; resident <= size.resident; resident *= 2) {
            const std::int64_t workers = kMultiprocessors * resident, rest = tiles % workers;
            if (rest == 0) continue;
            deal(rest, workers);
            if (tiles > workers) deal(rest + workers, workers);
        }
    }
    return best;
}

}  // namespace pyconv::cuda
