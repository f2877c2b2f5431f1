// A matrix product on tensor cores: block tiles in shared memory, filled by asynchronous copies
// some stages ahead; warp tiles in registers, the next fragments read while these are multiplied.
#pragma once

#include "cuda/dense/finish.cuh"
#include "cuda/dense/products.h"
#include "cuda/dense/tensor_tile.cuh"

namespace pyconv::cuda {

template <int kRowsOfTile, int kColumnsOfTile, int kRowsOfWarp, int kColumnsOfWarp, int kPerSm>
struct TensorShape {
    static constexpr int kRows = kRowsOfTile, kColumns = kColumnsOfTile;
    static constexpr int kWarpRows = kRowsOfWarp, kWarpColumns = kColumnsOfWarp;
    static constexpr int kWarpsAcross = kColumns / kWarpColumns;
    static constexpr int kThreads = kRows / kWarpRows * kWarpsAcross * 32;
    static constexpr int kBlocks = kPerSm;  // of a multiprocessor
    static constexpr int kStages = 4;
    static constexpr int kStageBytes = (kRows + kColumns) * 64;
    // 16 rows of sums of a warp on their way out. Rows 8 words further are 8 banks further: pairs
    // of sums of four rows, and fours of one, meet different banks.
    static constexpr int kSlabPitch = kWarpColumns + 8;
    static constexpr int kSlabBytes = 16 * kSlabPitch * 4;
    static constexpr int kBytes = kStages * kStageBytes;
    static_assert(kSlabBytes * kThreads / 32 <= kBytes);
};

// Where sums go: finished to the result, or as they are to a part.
template <class T>
struct TensorTarget {
    Rows<T> out;
    Finish<T> finish;
    float* part;  // null: to the result

    __device__ void store(int row, int column, const float (&sums)[4], const float (&bias)[4]) {
        if (!part) {
            finish_four(out, finish, out.offset(row), column, sums, bias);
        } else if (column < out.columns) {
            store_four(part + static_cast<std::int64_t>(row) * out.columns + column,
                       out.columns % 4 == 0, out.columns - column, sums);
        }
    }
};

// The sums of a warp, 16 rows at a time, through shared memory: fragments hold pairs, a row should
// be written from end to end.
template <class T, class Shape>
__device__ void store_sums(TensorTarget<T> target, float* slab, int first_row, int first_column,
                           const float (&sums)[Shape::kWarpRows / 16][Shape::kWarpColumns / 8][4]) {
    constexpr int kAcross = Shape::kWarpColumns / 4, kDown = 32 / kAcross;  // lanes
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int column = lane % kAcross * 4;
    float bias[4] = {};
    if (!target.part) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int c = first_column + column + i;
            if (c < target.out.columns) bias[i] = target.finish.bias_at(c);
        }
    }
#pragma unroll
    for (int i = 0; i < Shape::kWarpRows / 16; ++i) {
#pragma unroll
        for (int j = 0; j < Shape::kWarpColumns / 8; ++j) {
            float* const to = slab + lane / 4 * Shape::kSlabPitch + j * 8 + lane % 4 * 2;
            const auto& s = sums[i][j];
            *reinterpret_cast<float2*>(to) = make_float2(s[0], s[1]);
            *reinterpret_cast<float2*>(to + 8 * Shape::kSlabPitch) = make_float2(s[2], s[3]);
        }
        __syncwarp();
#pragma unroll 2
        for (int r = lane / kAcross; r < 16; r += kDown) {
            const float4 four =
                *reinterpret_cast<const float4*>(slab + r * Shape::kSlabPitch + column);
            const float y[4] = {four.x, four.y, four.z, four.w};
            const int row = first_row + i * 16 + r;
            if (row < target.out.rows) target.store(row, first_column + column, y, bias);
        }
        __syncwarp();
    }
}

// One block: one tile of one group and one part of the sum.
template <class Shape, class A, class B>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    tensor_kernel(A a, B b, Rows<typename A::Element> out, Finish<typename A::Element> finish,
                  FastDivider tiles_across, int depth, Split split, float* partial) {
    using T = typename A::Element;
    constexpr int kStages = Shape::kStages, kDepth = A::kDepth;
    constexpr int kRowsOfA = Shape::kWarpRows / 16, kPairsOfB = Shape::kWarpColumns / 16;
    using FragmentsA = Fragments<T, A::kAlong, Shape::kRows, kRowsOfA, false>;
    using FragmentsB = Fragments<T, B::kAlong, Shape::kColumns, kPairsOfB, true>;
    extern __shared__ __align__(1024) uint4 stages[];

    const int part = static_cast<int>(blockIdx.z) % split.count;
    const int group = static_cast<int>(blockIdx.z) / split.count;
    a.select(group);
    b.select(group);
    int across;
    const int down = tiles_across.divide(static_cast<int>(blockIdx.x), across);
    const int first_row = down * Shape::kRows, first_column = across * Shape::kColumns;
    const int begin = part * split.depth;
    const int tiles = (min(begin + split.depth, depth) - begin + kDepth - 1) / kDepth;

    const SharedAddress shared = shared_address(stages);
    const auto tile_a = [&](int stage) { return shared + stage * Shape::kStageBytes; };
    const auto tile_b = [&](int stage) { return tile_a(stage) + Shape::kRows * 64; };
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int warp_row = warp / Shape::kWarpsAcross * Shape::kWarpRows;
    const int warp_column = warp % Shape::kWarpsAcross * Shape::kWarpColumns;

    const int place_a = FragmentsA::place(warp_row), place_b = FragmentsB::place(warp_column);

    TensorCopy<A, Shape::kRows, Shape::kThreads> copy_a(a, first_row, begin);
    TensorCopy<B, Shape::kColumns, Shape::kThreads> copy_b(b, first_column, begin);
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) {
        if (stage < tiles) {
            copy_a.begin(a, tile_a(stage));
            copy_b.begin(b, tile_b(stage));
            copy_a.end(tile_a(stage));
            copy_b.end(tile_b(stage));
        }
        commit_copies();
    }
    float sums[kRowsOfA][2 * kPairsOfB][4] = {};
    FragmentsA x[2];
    FragmentsB w[2];
    int stage = 0, free_stage = kStages - 1;
    if (tiles > 0) {
        wait_for_copies<kStages - 2>();
        __syncthreads();
        x[0].load(tile_a(0) + place_a, 0);
        w[0].load(tile_b(0) + place_b, 0);
    }
    for (int tile = 0; tile < tiles; ++tile) {
        const bool more = tile + kStages - 1 < tiles;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            if (half == 0) {
                // All warps have left this stage: they were at the barrier behind their last read.
                if (more) {
                    copy_a.begin(a, tile_a(free_stage));
                    copy_b.begin(b, tile_b(free_stage));
                }
                commit_copies();
            } else {
                if (more) {
                    copy_a.end(tile_a(free_stage));
                    copy_b.end(tile_b(free_stage));
                }
                free_stage = stage;
                stage = stage + 1 == kStages ? 0 : stage + 1;
                wait_for_copies<kStages - 2>();
                __syncthreads();
            }
            if (half == 0 || tile + 1 < tiles) {
                x[1 - half].load(tile_a(stage) + place_a, 1 - half);
                w[1 - half].load(tile_b(stage) + place_b, 1 - half);
            }
#pragma unroll
            for (int i = 0; i < kRowsOfA; ++i) {
#pragma unroll
                for (int j = 0; j < 2 * kPairsOfB; ++j) {
                    const auto& pair = w[half].value[j / 2];
                    const unsigned column[2] = {pair[j % 2 * 2], pair[j % 2 * 2 + 1]};
                    multiply_add<T>(sums[i][j], x[half].value[i], column);
                }
            }
        }
    }
    // The shared memory is free: no copies are left, and every warp has read its last fragments.
    wait_for_copies<0>();
    __syncthreads();

    TensorTarget<T> target{out, finish, nullptr};
    if (partial) {
        const std::int64_t plane = static_cast<std::int64_t>(out.rows) * out.columns;
        target.part =
            partial + (static_cast<std::int64_t>(part) * (gridDim.z / split.count) + group) * plane;
    } else {
        target.out.data += group * out.group_step;
        target.finish.select(group, out);
    }
    float* const slab = reinterpret_cast<float*>(stages) + warp * (Shape::kSlabBytes / 4);
    store_sums<T, Shape>(target, slab, first_row + warp_row, first_column + warp_column, sums);
}

template <class Shape, class A, class B, class T>
void launch_tensor(const A& a, const B& b, ProductTask<T> task) {
    Rows<T>& out = task.out;
    const std::int64_t across = divide_up(out.columns, Shape::kColumns);
    const std::int64_t down = divide_up(out.rows, Shape::kRows);
    const Split split = split_sum(across * down * task.groups, task.depth, A::kDepth);
    out.vectors = out.vectors && aligned_to(4 * sizeof(T), task.epilogue.residual);
    // An activation in a pass of its own begins with sums that were not rounded yet.
    const bool in_parts = split.count > 1 || !is_piecewise_linear(task.epilogue.activation);
    float* const partial = in_parts ? allocate_parts(task, split.count) : nullptr;
    const auto kernel = tensor_kernel<Shape, A, B>;
    if (Shape::kBytes > 48 * 1024) {
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::kBytes);
    }
    const dim3 grid(static_cast<unsigned>(checked_int("tiles of the result", down * across)), 1,
                    static_cast<unsigned>(task.groups * split.count));
    kernel<<<grid, Shape::kThreads, Shape::kBytes, task.stream>>>(
        a, b, out, in_parts ? Finish<T>() : Finish<T>(task.epilogue), FastDivider(across),
        task.depth, split, partial);
    check_launch(task.kernel, task.problem);
    if (in_parts) launch_add_parts(task, partial, split.count);
}

// The tile by the result, as in SimtProduct.
template <class T>
template <class A, class B>
void TensorProduct<T>::run(const A& a, const B& b, const ProductTask<T>& task) {
    const Rows<T>& out = task.out;
    if (out.rows == 0 || out.columns == 0 || task.groups == 0) return;
    if constexpr (A::kPiece > 1 && B::kPiece > 1) {
        const std::int64_t large =
            divide_up(out.rows, 128) * divide_up(out.columns, 128) * task.groups;
        if (large >= kWantedBlocks / 2) {
            if (out.columns > 64)
                return launch_tensor<TensorShape<128, 128, 64, 64, 2>>(a, b, task);
            return launch_tensor<TensorShape<256, 64, 64, 32, 1>>(a, b, task);
        }
    }
    launch_tensor<TensorShape<64, 64, 32, 32, 2>>(a, b, task);
}

}  // namespace pyconv::cuda
