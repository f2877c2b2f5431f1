// Which block of a product on tensor cores sums what (stream-K: Osama et al., 2023). The sums of
// all tiles, cut into steps, are laid end to end: [tile][step]. The steps of the first tiles are
// dealt out evenly to workers, so that one may end a tile and begin the next; every other tile is a
// block's alone. What a worker has of a tile is a piece; pieces are added in their order.
#pragma once

#include <cstdint>

#include "core/host_device.h"
#include "cuda/common/index.h"

namespace pyconv::cuda {

struct TensorWork {
    int step = 1;   // terms of a sum
    int steps = 0;  // of a tile
    int dealt = 0;  // tiles
    int workers = 0;

    PYCONV_HOST_DEVICE std::int64_t begin(int worker) const {
        return static_cast<std::int64_t>(dealt) * steps * worker / workers;
    }
    // The worker that has a step.
    PYCONV_HOST_DEVICE int worker(std::int64_t at) const {
        const std::int64_t all = static_cast<std::int64_t>(dealt) * steps;
        return static_cast<int>(((at + 1) * workers - 1) / all);
    }
    PYCONV_HOST_DEVICE int first_worker(int tile) const {
        return worker(static_cast<std::int64_t>(tile) * steps);
    }
    // Of a tile that is dealt.
    PYCONV_HOST_DEVICE int pieces(int tile) const {
        return worker(static_cast<std::int64_t>(tile + 1) * steps - 1) - first_worker(tile) + 1;
    }
    // Where a piece is kept: those of a tile one behind the other. From piece to piece the worker
    // or the tile is another one, or both.
    PYCONV_HOST_DEVICE bool crosses() const { return workers % dealt != 0; }
    PYCONV_HOST_DEVICE int slot(int worker, int tile) const {
        return worker + (crosses() ? tile : 0);
    }
    PYCONV_HOST_DEVICE int slots() const {
        return workers > 0 ? workers + (crosses() ? dealt : 0) : 0;
    }
};

}  // namespace pyconv::cuda
