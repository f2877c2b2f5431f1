// A matrix product on tensor cores: block tiles in shared memory, filled by asynchronous copies
// some stages ahead; warp tiles in registers, the next fragments read while these are multiplied.
#pragma once

#include "cuda/dense/finish.cuh"
#include "cuda/dense/products.h"
#include "cuda/dense/tensor_plan.h"
#include "cuda/dense/tensor_tile.cuh"

namespace pyconv::cuda {

template <int kTile>  // of kTensorTiles
struct TensorShape {
    static constexpr TileSize kSize = kTensorTiles[kTile];
    static constexpr int kRows = kSize.rows, kColumns = kSize.columns;
    static constexpr int kWarpRows = kSize.warp_rows, kWarpColumns = kSize.warp_columns;
    static constexpr int kWarpsAcross = kColumns / kWarpColumns;
    static constexpr int kThreads = kRows / kWarpRows * kWarpsAcross * 32;
    static constexpr int kBlocks = 256 / kThreads;  // of a multiprocessor: up to 255 registers
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
    using FragmentsA = Fragments<T, A::kAlong, Shape::kRows, false>;
    using FragmentsB = Fragments<T, B::kAlong, Shape::kColumns, true>;
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

    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int warp_row = warp / Shape::kWarpsAcross * Shape::kWarpRows;
    const int warp_column = warp % Shape::kWarpsAcross * Shape::kWarpColumns;
    constexpr int kTileB = Shape::kRows * 64;  // behind the tile of a
    const int place_a = FragmentsA::place(warp_row);
    const int place_b = FragmentsB::place(warp_column) + kTileB;

    const SharedAddress shared = shared_address(stages);
    SharedAddress read = shared, write = shared;  // the stages that are multiplied and filled
    TensorCopy<A, Shape::kRows, Shape::kThreads> copy_a(a, first_row, begin);
    TensorCopy<B, Shape::kColumns, Shape::kThreads> copy_b(b, first_column, begin);
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) {
        if (stage < tiles) {
            copy_a.begin(a, write);
            copy_b.begin(b, write + kTileB);
            copy_a.end(write);
            copy_b.end(write + kTileB);
        }
        commit_copies();
        write += Shape::kStageBytes;
    }
    float sums[kRowsOfA][2 * kPairsOfB][4] = {};
    unsigned x[2][4];             // 16 rows, and the next 16
    unsigned w[2][kPairsOfB][4];  // all columns, and those of the next 32 bytes of k
    const auto load_columns = [&](unsigned (&to)[kPairsOfB][4], int half) {
#pragma unroll
        for (int j = 0; j < kPairsOfB; ++j) FragmentsB::load(to[j], read + place_b, j, half);
    };
    wait_for_copies<kStages - 2>();
    __syncthreads();
    if (tiles > 0) {
        FragmentsA::load(x[0], read + place_a, 0, 0);
        load_columns(w[0], 0);
    }
    for (int left = tiles; left > 0; --left) {
        const bool more = left >= kStages;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
            for (int j = 0; j < kPairsOfB; ++j) round_fragment<T>(w[half][j]);
#pragma unroll
            for (int i = 0; i < kRowsOfA; ++i) {
                if (half == 0 && i == 0) {
                    // All warps have left this stage: they were at the barrier behind their last
                    // read.
                    if (more) {
                        copy_a.begin(a, write);
                        copy_b.begin(b, write + kTileB);
                    }
                    commit_copies();
                }
                if (i + 1 < kRowsOfA) {
                    FragmentsA::load(x[(i + 1) % 2], read + place_a, i + 1, half);
                } else {
                    if (half == 1) {
                        if (more) {
                            copy_a.end(write);
                            copy_b.end(write + kTileB);
                        }
                        write = read;
                        read += Shape::kStageBytes;
                        if (read == shared + Shape::kBytes) read = shared;
                        wait_for_copies<kStages - 2>();
                        __syncthreads();
                    }
                    if (half == 0 || left > 1) {
                        FragmentsA::load(x[0], read + place_a, 0, 1 - half);
                        load_columns(w[1 - half], 1 - half);
                    }
                }
                round_fragment<T>(x[i % 2]);
#pragma unroll
                for (int j = 0; j < 2 * kPairsOfB; ++j) {
                    const auto& pair = w[half][j / 2];
                    const unsigned column[2] = {pair[j % 2 * 2], pair[j % 2 * 2 + 1]};
                    multiply_add<T>(sums[i][j], x[i % 2], column);
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
void launch_tensor(const A& a, const B& b, ProductTask<T> task, const Split& split) {
    Rows<T>& out = task.out;
    const std::int64_t across = divide_up(out.columns, Shape::kColumns);
    const std::int64_t down = divide_up(out.rows, Shape::kRows);
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

template <class T>
template <class A, class B>
void TensorProduct<T>::run(const A& a, const B& b, const ProductTask<T>& task) {
    const Rows<T>& out = task.out;
    if (out.rows == 0 || out.columns == 0 || task.groups == 0) return;
    const TensorProblem problem{out.rows,    out.columns, task.depth,
                                task.groups, kDepth,      static_cast<int>(sizeof(T))};
    // Operands that can't be read in pieces have small tiles alone: half as many kernels.
    const TensorPlan plan = plan_tensor(problem, A::kPiece == 1);
    if constexpr (A::kPiece > 1) {
        if (plan.tile == 1) return launch_tensor<TensorShape<1>>(a, b, task, plan.split);
        if (plan.tile == 2) return launch_tensor<TensorShape<2>>(a, b, task, plan.split);
        if (plan.tile == 3) return launch_tensor<TensorShape<3>>(a, b, task, plan.split);
    }
    launch_tensor<TensorShape<0>>(a, b, task, plan.split);
}

}  // namespace pyconv::cuda
