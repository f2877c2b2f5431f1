// The division by multiplication that the device's kernels use, against the processor's; how sums
// are cut.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "cuda/common/index.h"
#include "cuda/dense/product.h"
#include "cuda/dense/tensor_plan.h"

namespace {

constexpr std::int64_t kMost = INT32_MAX;

void check(const pyconv::cuda::FastDivider& divider, std::int64_t n, std::int64_t d) {
    if (n < 0 || n > kMost) return;
    int rest = -1;
    const int quotient = divider.divide(static_cast<int>(n), rest);
    if (quotient == n / d && rest == n % d && divider.divide(static_cast<int>(n)) == quotient) {
        return;
    }
    std::fprintf(stderr, "failed: %lld / %lld gives %d, rest %d\n", static_cast<long long>(n),
                 static_cast<long long>(d), quotient, rest);
    std::exit(1);
}

void check_divisor(std::int64_t d) {
    const pyconv::cuda::FastDivider divider(d);
    for (std::int64_t n = 0; n <= 2000; ++n) check(divider, n, d);
    for (std::int64_t n = kMost - 2000; n <= kMost; ++n) check(divider, n, d);
    // Around multiples: the first, the last, and some in between.
    const std::int64_t multiples = kMost / d, step = multiples / 500 + 1;
    for (std::int64_t q = 0; q <= multiples; q += step) {
        for (std::int64_t off = -1; off <= 1; ++off) {
            check(divider, q * d + off, d);
            check(divider, (multiples - q) * d + off, d);
        }
    }
}

// The parts of a sum cover it, without an empty one, in whole tiles.
void check_split(const pyconv::cuda::Split& split, std::int64_t depth, int tile_depth) {
    const std::int64_t before_last = static_cast<std::int64_t>(split.count - 1) * split.depth;
    if (split.count >= 1 && (depth == 0 || before_last < depth) &&
        before_last + split.depth >= depth && split.depth % tile_depth == 0) {
        return;
    }
    std::fprintf(stderr, "failed: %lld terms in %d parts of %d\n", static_cast<long long>(depth),
                 split.count, split.depth);
    std::exit(1);
}

void require(bool holds, const char* what, const pyconv::cuda::TensorWork& w) {
    if (holds) return;
    std::fprintf(stderr, "failed: %s; %d tiles of %d steps, %d workers\n", what, w.dealt, w.steps,
                 w.workers);
    std::exit(1);
}

// The workers' pieces cover the steps of all dealt tiles, each once; those of a tile have slots one
// behind the other, and nobody else's.
void check_work(const pyconv::cuda::TensorWork& w) {
    int next_slot = 0;
    for (int tile = 0; tile < w.dealt; ++tile) {
        std::int64_t at = static_cast<std::int64_t>(tile) * w.steps;
        const std::int64_t end = at + w.steps;
        const int first = w.first_worker(tile), pieces = w.pieces(tile);
        require(pieces >= 1 && w.slot(first, tile) >= next_slot, "slots overlap", w);
        for (int worker = first; worker < first + pieces; ++worker) {
            require(w.begin(worker) <= at && at < w.begin(worker + 1), "a gap", w);
            require(w.worker(at) == worker, "another worker's step", w);
            at = w.begin(worker + 1);
        }
        require(at >= end, "steps of nobody", w);
        next_slot = w.slot(first, tile) + pieces;
    }
    require(next_slot <= w.slots(), "too few slots", w);
}

// Of tensor cores: steps hold whole patches, and what a block has of shared memory suffices.
void check_plan(const pyconv::cuda::TensorProblem& p) {
    const pyconv::cuda::TensorPlan plan =
        pyconv::cuda::plan_tensor(p, p.taps > 1 ? 1 : 0, pyconv::cuda::kLastTile);
    if (plan.clocks == 0 && p.taps > 1) return;
    const auto& tile = pyconv::cuda::kTensorTiles[plan.tile];
    const pyconv::cuda::TensorWork& w = plan.work;
    if (w.dealt > 0) check_work(w);
    require(
        w.step == p.tile_depth * p.taps && static_cast<std::int64_t>(w.step) * w.steps >= p.depth,
        "terms of nobody", w);
    require(w.dealt <= pyconv::cuda::tiles_of(tile, p), "more tiles than there are", w);
    require(plan.clocks > 0, "no plan", w);
    require(p.taps == 1 || pyconv::cuda::patch_bytes(tile, p.halo) <= pyconv::cuda::kMostShared,
            "too large a patch", w);
}
void check_plans(std::int64_t size) {
    for (const int item : {2, 4}) {
        for (const std::int64_t columns : {1, 64, 65, 1000}) {
            for (const std::int64_t depth : {std::int64_t{0}, std::int64_t{1}, size, 4608 * size}) {
                check_plan({size, columns, depth, 1, 64 / item, item});
                check_plan({columns, size, depth, 3, 64 / item, item});
            }
            for (const int halo : {2, 114, 500, 900}) {
                const int taps = halo % 7 + 4, tile_depth = 64 / item;
                check_plan(
                    {size, columns, size * taps * tile_depth, 1, tile_depth, item, taps, halo});
            }
        }
    }
}

}  // namespace

int main() {
    for (std::int64_t d = 1; d <= 1000; ++d) check_divisor(d);
    for (int bit = 10; bit <= 31; ++bit) {
        for (std::int64_t off = -3; off <= 3; ++off) {
            const std::int64_t d = (std::int64_t{1} << bit) + off;
            if (d <= kMost) check_divisor(d);
        }
    }
    for (std::int64_t d = 1001; d < kMost; d = d * 17 / 16 + 1) check_divisor(d);
    using pyconv::cuda::kTileDepth;
    for (std::int64_t blocks = 0; blocks <= 300; blocks += 7) {
        for (std::int64_t depth = 0; depth <= 3000; ++depth) {
            check_split(pyconv::cuda::split_sum(blocks, depth), depth, kTileDepth);
        }
        const std::int64_t most = pyconv::cuda::kMostRows;
        check_split(pyconv::cuda::split_sum(blocks, most), most, kTileDepth);
    }
    for (int dealt = 1; dealt <= 12; ++dealt) {
        for (int steps = 1; steps <= 12; ++steps) {
            for (int workers = 1; workers <= dealt * steps; ++workers) {
                check_work({1, steps, dealt, workers});
            }
        }
    }
    check_work({1, INT32_MAX / 4, 200, 216});  // past 31 bits
    for (const std::int64_t size : {1, 7, 64, 129, 1000, 25088, 400000}) check_plans(size);
    std::printf("index arithmetic: ok\n");
    return 0;
}
