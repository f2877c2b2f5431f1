// Sums on their way out of a product on tensor cores: to the result, or first to a slot, as a piece
// of a sum.
#pragma once

#include "cuda/dense/tensor_plan.h"
#include "cuda/dense/tensor_store.cuh"

namespace pyconv::cuda {

template <int kTile>  // of kTensorTiles
struct TensorShape {
    static constexpr TileSize kSize = kTensorTiles[kTile];
    static constexpr int kRows = kSize.rows, kColumns = kSize.columns;
    static constexpr int kWarpRows = kSize.warp_rows, kWarpColumns = kSize.warp_columns;
    static constexpr int kWarpsAcross = kColumns / kWarpColumns;
    static constexpr int kThreads = kRows / kWarpRows * kWarpsAcross * 32;
    static constexpr int kBlocks = 256 / kThreads;  // of a multiprocessor: up to 255 registers
    static constexpr int kStages = kTensorStages;
    // 16 rows of sums of a warp on their way out. Rows 8 words further are 8 banks further: pairs
    // of sums of four rows, and fours of one, meet different banks.
    static constexpr int kSlabPitch = kWarpColumns + 8;
    static constexpr int kSlabBytes = 16 * kSlabPitch * 4;
    static constexpr int kSlabsBytes = kSlabBytes * kThreads / 32;
    static constexpr int kBytes = kStages * (kRows + kColumns) * 64;
    static_assert(kSlabsBytes <= kBytes);
};

// How the tiles of all groups are counted: a block's number to rows, columns and group.
struct TileOrder {
    FastDivider across, of_group;

    struct Place {
        int down, across, group;
    };
    __device__ Place place(int tile) const {
        Place p;
        int in_group;
        p.group = of_group.divide(tile, in_group);
        p.down = across.divide(in_group, p.across);
        return p;
    }
};

// 16 rows of sums of a warp, through shared memory.
template <class Shape, class T, class Activate>
__device__ void store_rows(const Rows<T>& out, const Finish<T, Activate>& finish, float* slab,
                           int first_row, int column, const float (&bias)[4],
                           const float (&sums)[Shape::kWarpColumns / 8][4]) {
    constexpr int kAcross = Shape::kWarpColumns / 4, kDown = 32 / kAcross;  // lanes
    const int lane = static_cast<int>(threadIdx.x) % 32;
    put_rows<Shape::kSlabPitch>(slab, sums);
    __syncwarp();
#pragma unroll 2
    for (int r = lane / kAcross; r < 16; r += kDown) {
        const float4 four =
            load_shared_four(shared_address(slab + r * Shape::kSlabPitch + lane % kAcross * 4));
        const float y[4] = {four.x, four.y, four.z, four.w};
        const int row = first_row + r;
        if (row < out.rows) finish_four(out, finish, out.offset(row), column, y, bias);
    }
    __syncwarp();
}

// The first of a lane's four columns in the rows that store_rows writes.
template <class Shape>
__device__ inline int lane_column(int first_column) {
    return first_column + static_cast<int>(threadIdx.x) % (Shape::kWarpColumns / 4) * 4;
}

// A slot holds what the threads have in registers, as it is: fragment by fragment, four sums of
// each thread.
template <class Shape>
struct Slot {
    static constexpr int kFours = Shape::kWarpColumns / 8;  // of a thread, in 16 rows
    static constexpr std::int64_t kSize = Shape::kRows * Shape::kColumns;

    __device__ static int place(int i, int j, int thread) {
        return ((i * kFours + j) * Shape::kThreads + thread) * 4;
    }
    // `columns`: from the first of the warp to the last of the result.
    __device__ static void store(float* slot, int i, int thread, int columns,
                                 const float (&sums)[kFours][4]) {
#pragma unroll
        for (int j = 0; j < kFours; ++j) {
            if (j * 8 >= columns) continue;
            // (A plain store the compiler cuts into four.)
            __stcg(reinterpret_cast<float4*>(slot + place(i, j, thread)),
                   make_float4(sums[j][0], sums[j][1], sums[j][2], sums[j][3]));
        }
    }
    // The sum of the pieces of a tile, in their order.
    __device__ static void add(const float* slots, int i, int thread, int columns, int pieces,
                               float (&sums)[kFours][4]) {
#pragma unroll
        for (int j = 0; j < kFours; ++j) {
#pragma unroll
            for (float& sum : sums[j]) sum = 0;
        }
#pragma unroll 1
        for (int piece = 0; piece < pieces; ++piece) {
#pragma unroll
            for (int j = 0; j < kFours; ++j) {
                if (j * 8 >= columns) continue;
                const float4 four = __ldcg(
                    reinterpret_cast<const float4*>(slots + piece * kSize + place(i, j, thread)));
                sums[j][0] += four.x;
                sums[j][1] += four.y;
                sums[j][2] += four.z;
                sums[j][3] += four.w;
            }
        }
    }
};

// Adds the pieces of tiles where no block of the product does, or (`all`) finishes every tile. A
// warp has 16 rows of a warp's tile.
template <class Shape, class T>
__global__ void __launch_bounds__(128, 4)
    finish_tiles(const float* slots, Rows<T> out, Finish<T, AnyActivation> finish, TileOrder order,
                 TensorWork work, bool all) {
    __shared__ __align__(16) float slabs[4 * Shape::kSlabBytes / 4];
    constexpr int kParts = Shape::kWarpRows / 16;
    const int tile = static_cast<int>(blockIdx.x);
    int slot = work.slots() + tile - work.dealt, pieces = 1;
    if (tile < work.dealt) {
        slot = work.slot(work.first_worker(tile), tile);
        pieces = work.pieces(tile);
    }
    if (pieces == 1 && !all) return;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int part = static_cast<int>(blockIdx.y * 4 + threadIdx.x / 32);
    const int warp = part / kParts, i = part % kParts;
    if (warp * 32 >= Shape::kThreads) return;
    const TileOrder::Place place = order.place(tile);
    const int row =
        place.down * Shape::kRows + warp / Shape::kWarpsAcross * Shape::kWarpRows + i * 16;
    const int first_column =
        place.across * Shape::kColumns + warp % Shape::kWarpsAcross * Shape::kWarpColumns;
    if (row >= out.rows) return;
    float sums[Slot<Shape>::kFours][4];
    Slot<Shape>::add(slots + slot * Slot<Shape>::kSize, i, warp * 32 + lane,
                     out.columns - first_column, pieces, sums);
    out.data += place.group * out.group_step;
    finish.select(place.group, out);
    const int column = lane_column<Shape>(first_column);
    float bias[4];
    load_bias(out, finish, column, bias);
    store_rows<Shape>(out, finish, slabs + threadIdx.x / 32 * (Shape::kSlabBytes / 4), row, column,
                      bias, sums);
}

// Whether all other pieces of the tile are in their slots. Every thread of the block calls it,
// after what it stored.
__device__ inline bool is_last(unsigned* ticket, int pieces) {
    __threadfence();
    __syncthreads();
    const bool last =
        threadIdx.x == 0 && atomicAdd(ticket, 1u) == static_cast<unsigned>(pieces - 1);
    const bool result = __syncthreads_or(last) != 0;
    __threadfence();
    return result;
}

}  // namespace pyconv::cuda
