// A matrix product, or a convolution, on a device of compute capability 9.0: one warp asks for
// boxes of the operands, some stages ahead; two warpgroups multiply them. A block stays for many
// tiles, so that the next one's operands come while the last one's results go.
//
// No GPU has run this yet: only an emulator has, which doesn't check all fences.
#pragma once

#include "cuda/common/hopper.cuh"
#include "cuda/dense/hopper_plan.h"
#include "cuda/dense/hopper_walk.cuh"
#include "cuda/dense/tensor_store.cuh"

namespace pyconv::cuda {

template <class T, int kTileColumns>
struct HopperShape {
    static constexpr int kColumns = kTileColumns;
    // The last warp copies. 168 registers each suffice: none are handed over (setmaxnreg).
    static constexpr int kThreads = (kHopperConsumers + 1) * 32;
    static constexpr int kDepth = kHopperStepBytes / static_cast<int>(sizeof(T));
    static constexpr int kStages = hopper_stages(kColumns);
    static constexpr int kStageBytes = hopper_stage_bytes(kColumns);
    static constexpr int kLeftBytes = kHopperRows * kHopperStepBytes;
    // Sums on their way out, 16 rows and 32 columns of a warp at a time (see TensorShape).
    static constexpr int kWarpRows = 16, kWarpColumns = 32, kSlabPitch = kWarpColumns + 8;
    static constexpr int kSlabBytes = kWarpRows * kSlabPitch * 4;
    static constexpr int kSlabsAt = kStages * kStageBytes;
    static constexpr int kBarriersAt = kSlabsAt + kHopperConsumers * kSlabBytes;
    static constexpr int kBytes = kBarriersAt + 2 * kStages * 8;
    static_assert(kBytes <= 227 * 1024);
};

// What the thread that copies knows of the stage that it fills.
struct Stage {
    SharedAddress left, right;
    BarrierAddress filled;
};

// f(stage) for one after the other, when the warps that multiply have left it.
template <class Shape>
struct Filler {
    SharedAddress shared;
    BarrierAddress full, empty;
    int bytes;  // of all boxes of a stage
    Ring<Shape::kStages> ring;

    template <class F>
    __device__ void next(F&& f) {
        const SharedAddress left = shared + ring.index * Shape::kStageBytes;
        const Stage stage{left, left + Shape::kLeftBytes, full + ring.index * 8};
        wait_for_phase(empty + ring.index * 8, ring.phase ^ 1);
        arrive_and_expect(stage.filled, bytes);
        f(stage);
        ring.advance();
    }
};

// A tile's rows are a box of pixels: for each tap and slice of the channels the box, as the tap
// sees it, and the slice of the weight.
template <class Shape, bool kRightAcross>
__device__ void copy_over_taps(const CUtensorMap& left, const CUtensorMap& right,
                               const HopperWalk& walk, const HopperWalk::Tile& tile,
                               Filler<Shape>& filler) {
    const HopperWalk::Pixel box = walk.box(tile.row);
    const int column = tile.column * Shape::kColumns;
    const int tap = tile.first_step / walk.slices;
    int slice = tile.first_step - tap * walk.slices;
    int tap_y = tap / walk.taps_across, tap_x = tap - tap_y * walk.taps_across;
    for (int step = tile.first_step; step < tile.end; ++step) {
        const int channel = slice * Shape::kDepth;
        filler.next([&](const Stage& s) {
            copy_box(s.left, left, s.filled, channel, walk.seen_x(box) + tap_x * walk.tap_step_x,
                     walk.seen_y(box) + tap_y * walk.tap_step_y, box.image);
            if constexpr (kRightAcross) {
#pragma unroll
                for (int i = 0; i < Shape::kColumns; i += kHopperSlab) {
                    copy_box(s.right + i * kHopperStepBytes, right, s.filled, column + i, channel,
                             tap_x, tap_y);
                }
            } else {
                copy_box(s.right, right, s.filled, channel, column, tap_x, tap_y);
            }
        });
        if (++slice < walk.slices) continue;
        slice = 0;
        if (++tap_x < walk.taps_across) continue;
        tap_x = 0;
        ++tap_y;
    }
}

// A tile's rows are taps and channels, 64 channels of a tap at a time: for each box of pixels what
// the taps see of it, and the box of the gradient.
template <class Shape>
__device__ void copy_over_pixels(const CUtensorMap& left, const CUtensorMap& right,
                                 const HopperWalk& walk, const HopperWalk::Tile& tile,
                                 Filler<Shape>& filler) {
    constexpr int kSlabs = kHopperRows / kHopperSlab;
    int channel[kSlabs], x[kSlabs], y[kSlabs];
#pragma unroll
    for (int i = 0; i < kSlabs; ++i) {
        const int row = tile.row * kHopperRows + i * kHopperSlab;
        const int tap = row / walk.channels;
        channel[i] = row - tap * walk.channels;
        y[i] = tap / walk.taps_across;
        x[i] = (tap - y[i] * walk.taps_across) * walk.tap_step_x;
        y[i] *= walk.tap_step_y;
    }
    for (int step = tile.first_step; step < tile.end; ++step) {
        const HopperWalk::Pixel box = walk.box(step);
        filler.next([&](const Stage& s) {
#pragma unroll
            for (int i = 0; i < kSlabs; ++i) {
                copy_box(s.left + i * kHopperSlab * kHopperStepBytes, left, s.filled, channel[i],
                         walk.seen_x(box) + x[i], walk.seen_y(box) + y[i], box.image);
            }
#pragma unroll
            for (int i = 0; i < Shape::kColumns; i += kHopperSlab) {
                copy_box(s.right + i * kHopperStepBytes, right, s.filled,
                         tile.column * Shape::kColumns + i, box.x, box.y, box.image);
            }
        });
    }
}

// sums += a stage, by one warpgroup. 32 bytes of k are chunks of every line, or 16 lines of an
// operand that lies across k.
template <class T, class Shape, bool kLeftAcross, bool kRightAcross>
__device__ void multiply_stage(WarpSums<Shape::kColumns>& sums, SharedAddress a, SharedAddress b) {
    constexpr int kSlabBytes = kHopperSlab * kHopperStepBytes;
    constexpr int kLeftStep = kLeftAcross ? 16 * kHopperStepBytes : 32;
    constexpr int kRightStep = kRightAcross ? 16 * kHopperStepBytes : 32;
#pragma unroll
    for (int i = 0; i < kHopperStepBytes / 32; ++i) {
        multiply_add<T, Shape::kColumns, kLeftAcross, kRightAcross>(
            sums, operand_at(a + i * kLeftStep, kSlabBytes),
            operand_at(b + i * kRightStep, kSlabBytes));
    }
}

// Where sums go: finished to the result, or as they are to a part.
template <class T>
struct TileTarget {
    Rows<T> out;
    Finish<T> finish;
    float* part;  // null: to the result

    // Four columns of the row that begins there.
    __device__ void store(std::int64_t row, int column, const float (&sums)[4],
                          const float (&bias)[4]) const {
        if (!part) {
            finish_four(out, finish, row, column, sums, bias);
        } else if (column < out.columns) {
            store_four(part + row + column, out.columns % 4 == 0, out.columns - column, sums);
        }
    }
};

// The sums of a warp, 32 columns at a time, through shared memory. Rows of a tile are pixels of a
// box, or neighbours: where they lie is found once, a lane each.
template <class T, class Shape, bool kOverPixels>
__device__ void store_tile(const HopperWalk& walk, const HopperWalk::Tile& tile,
                           const TileTarget<T>& target, float* slab, int warp,
                           const WarpSums<Shape::kColumns>& sums) {
    constexpr int kAcross = Shape::kWarpColumns / 4, kDown = 32 / kAcross;  // lanes
    const int lane = static_cast<int>(threadIdx.x) % 32, down = lane / kAcross;
    const Rows<T>& out = target.out;
    long long offset = -1;  // of the warp's row `lane`; negative: no row of the result
    const int line = warp * Shape::kWarpRows + lane % Shape::kWarpRows;
    const int row =
        kOverPixels ? tile.row * kHopperRows + line : walk.row_of(walk.box(tile.row), line);
    if (row >= 0 && row < out.rows) {
        offset = target.part ? static_cast<std::int64_t>(row) * out.columns : out.offset(row);
    }
#pragma unroll
    for (int j = 0; j < Shape::kColumns / Shape::kWarpColumns; ++j) {
        put_rows<Shape::kSlabPitch>(slab, sums.slab[j]);
        __syncwarp();
        const int column =
            tile.column * Shape::kColumns + j * Shape::kWarpColumns + lane % kAcross * 4;
        float bias[4] = {};
        if (!target.part) load_bias(out, target.finish, column, bias);
#pragma unroll 2
        for (int r = down; r < Shape::kWarpRows; r += kDown) {
            const float4 x =
                *reinterpret_cast<const float4*>(slab + r * Shape::kSlabPitch + lane % kAcross * 4);
            const float y[4] = {x.x, x.y, x.z, x.w};
            const long long begin = __shfl_sync(0xffffffff, offset, r);
            if (begin >= 0) target.store(begin, column, y, bias);
        }
        __syncwarp();
    }
}

// The warps that multiply, and store.
template <class T, class Shape, bool kLeftAcross, bool kRightAcross>
__device__ void multiply_tiles(const HopperWalk& walk, const Rows<T>& out, const Finish<T>& finish,
                               float* partial, SharedAddress shared, float* slabs,
                               BarrierAddress full, BarrierAddress empty) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const bool first_lane = threadIdx.x % 32 == 0;
    const int group = warp / 4 * 64 * kHopperStepBytes;  // rows of the warpgroup
    Ring<Shape::kStages> ring;
    for (int index = static_cast<int>(blockIdx.x); index < walk.tiles;
         index += static_cast<int>(gridDim.x)) {
        const HopperWalk::Tile tile = walk.tile(index);
        WarpSums<Shape::kColumns> sums;
        BarrierAddress left = 0;  // the stage that is read by products that may not have ended
        sums.hold();              // zeros are in their registers
        for (int step = tile.first_step; step < tile.end; ++step) {
            wait_for_phase(full + ring.index * 8, ring.phase);
            const SharedAddress a = shared + ring.index * Shape::kStageBytes;
            begin_products();  // behind the zeros
            multiply_stage<T, Shape, kLeftAcross, kRightAcross>(sums, a + group,
                                                                a + Shape::kLeftBytes);
            commit_products();
            wait_for_products<1>();  // those of the stage before
            if (left != 0 && first_lane) arrive(left);
            left = empty + ring.index * 8;
            ring.advance();
        }
        wait_for_products<0>();
        if (first_lane) arrive(left);
        sums.hold();  // they are read after the wait
        TileTarget<T> target{out, finish, nullptr};
        if (partial) {
            target.part = partial + static_cast<std::int64_t>(tile.part) * out.rows * out.columns;
        }
        store_tile<T, Shape, kLeftAcross>(walk, tile, target,
                                          slabs + warp * (Shape::kSlabBytes / 4), warp, sums);
    }
}

// Operands across k: the right one; both, where sums go over pixels.
template <class T, int kColumns, bool kLeftAcross, bool kRightAcross>
__global__ void __launch_bounds__(HopperShape<T, kColumns>::kThreads, 1)
    hopper_kernel(const __grid_constant__ CUtensorMap left,
                  const __grid_constant__ CUtensorMap right,
                  const __grid_constant__ HopperWalk walk, const __grid_constant__ Rows<T> out,
                  const __grid_constant__ Finish<T> finish, float* partial) {
    using Shape = HopperShape<T, kColumns>;
    extern __shared__ __align__(1024) unsigned char memory[];
    const SharedAddress shared = shared_address(memory);
    const BarrierAddress full = shared + Shape::kBarriersAt, empty = full + Shape::kStages * 8;
    if (walk.box_pixels < (kLeftAcross ? kHopperSlab : kHopperRows)) {  // lines that no copy fills
        for (int at = static_cast<int>(threadIdx.x) * 16; at < Shape::kSlabsAt;
             at += Shape::kThreads * 16) {
            *reinterpret_cast<uint4*>(memory + at) = uint4{};
        }
        publish_stores();
    }
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < Shape::kStages; ++stage) {
            init_barrier(full + stage * 8, 1);
            init_barrier(empty + stage * 8, kHopperConsumers);
        }
        publish_barriers();
    }
    __syncthreads();
    if (threadIdx.x / 32 == kHopperConsumers) {
        if (threadIdx.x % 32 != 0) return;
        prefetch_map(left);
        prefetch_map(right);
        const int lines = kLeftAcross ? walk.box_pixels * (kHopperRows + kColumns) / kHopperSlab
                                      : walk.box_pixels + kColumns;
        Filler<Shape> filler{shared, full, empty, lines * kHopperStepBytes, {}};
        for (int index = static_cast<int>(blockIdx.x); index < walk.tiles;
             index += static_cast<int>(gridDim.x)) {
            const HopperWalk::Tile tile = walk.tile(index);
            if constexpr (kLeftAcross) {
                copy_over_pixels(left, right, walk, tile, filler);
            } else {
                copy_over_taps<Shape, kRightAcross>(left, right, walk, tile, filler);
            }
        }
    } else {
        multiply_tiles<T, Shape, kLeftAcross, kRightAcross>(
            walk, out, finish, partial, shared, reinterpret_cast<float*>(memory + Shape::kSlabsAt),
            full, empty);
    }
}

}  // namespace pyconv::cuda
