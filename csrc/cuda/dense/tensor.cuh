// A matrix product on tensor cores: block tiles in shared memory, filled by asynchronous copies
// some stages ahead; warp tiles in registers, the next fragments read while these are multiplied.
#pragma once

#include "cuda/dense/finish.cuh"
#include "cuda/dense/hopper.h"
#include "cuda/dense/products.h"
#include "cuda/dense/tensor_patch.h"
#include "cuda/dense/tensor_plan.h"
#include "cuda/dense/tensor_store.cuh"
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
    static constexpr int kStages = kTensorStages;
    // 16 rows of sums of a warp on their way out. Rows 8 words further are 8 banks further: pairs
    // of sums of four rows, and fours of one, meet different banks.
    static constexpr int kSlabPitch = kWarpColumns + 8;
    static constexpr int kSlabBytes = 16 * kSlabPitch * 4;
    static constexpr int kSlabsBytes = kSlabBytes * kThreads / 32;
    static constexpr int kBytes = kStages * (kRows + kColumns) * 64;
    static_assert(kSlabsBytes <= kBytes);
};

// The left operand, a tile of it in every stage.
template <class Shape, class A>
class TileReader {
  public:
    static constexpr int kStageBytes = Shape::kRows * 64;

    __device__ static int first(const A&, int k) { return k; }
    __device__ TileReader(const A& a, SharedAddress, int first_row, int warp_row, int k)
        : a_(a), copy_(a, first_row, k), place_(Left::place(warp_row)) {}
    __device__ void begin(SharedAddress stage) { copy_.begin(a_, stage); }
    __device__ void end(SharedAddress stage) const { copy_.end(stage); }
    // The next tile to copy; the columns follow.
    template <class Copy, class B>
    __device__ void advance(Copy& columns, const B& b) {
        copy_.advance(a_);
        columns.advance(b);
    }
    // The next tile to read.
    __device__ void turn() {}
    __device__ void load(unsigned (&to)[4], SharedAddress stage, int i, int half) const {
        Left::load(to, stage + place_, i, half);
    }

  private:
    using Left = Fragments<typename A::Element, A::kAlong, Shape::kRows, false>;
    const A& a_;
    TensorCopy<A, Shape::kRows, Shape::kThreads> copy_;
    int place_;
};

// How a kernel reads the left operand that is described by an A.
template <class Shape, class A>
struct ReaderOf {
    using Type = TileReader<Shape, A>;
};

// One block: one tile of one group and one part of the sum.
template <class Shape, class A, class B>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    tensor_kernel(A a, B b, Rows<typename A::Element> out, Finish<typename A::Element> finish,
                  FastDivider tiles_across, int depth, Split split, float* partial) {
    using T = typename A::Element;
    using Reader = typename ReaderOf<Shape, A>::Type;
    constexpr int kStages = Shape::kStages, kDepth = A::kDepth;
    constexpr int kRowsOfA = Shape::kWarpRows / 16, kPairsOfB = Shape::kWarpColumns / 16;
    constexpr int kStageBytes = Reader::kStageBytes + Shape::kColumns * 64;
    using Right = Fragments<T, B::kAlong, Shape::kColumns, true>;
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

    const SharedAddress shared = shared_address(stages);
    SharedAddress read = shared, write = shared;  // the stages that are multiplied and filled
    TensorCopy<B, Shape::kColumns, Shape::kThreads> columns(b, first_column,
                                                            Reader::first(a, begin));
    Reader rows(a, shared + kStages * kStageBytes, first_row, warp_row, begin);
    const int place = Right::place(warp_column) + Reader::kStageBytes;
    const auto begin_copy = [&] {
        rows.begin(write);
        columns.begin(b, write + Reader::kStageBytes);
        rows.advance(columns, b);
    };
    const auto end_copy = [&] {
        rows.end(write);
        columns.end(write + Reader::kStageBytes);
    };
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) {
        if (stage < tiles) {
            begin_copy();
            end_copy();
        }
        commit_copies();
        write += kStageBytes;
    }
    float sums[kRowsOfA][2 * kPairsOfB][4] = {};
    unsigned x[2][4];             // 16 rows, and the next 16
    unsigned w[2][kPairsOfB][4];  // all columns, and those of the next 32 bytes of k
    const auto load_columns = [&](unsigned (&to)[kPairsOfB][4], int half) {
#pragma unroll
        for (int j = 0; j < kPairsOfB; ++j) Right::load(to[j], read + place, j, half);
    };
    wait_for_copies<kStages - 2>();
    __syncthreads();
    if (tiles > 0) {
        rows.load(x[0], read, 0, 0);
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
                    if (more) begin_copy();
                    commit_copies();
                }
                if (i + 1 < kRowsOfA) {
                    rows.load(x[(i + 1) % 2], read, i + 1, half);
                } else {
                    if (half == 1) {
                        if (more) end_copy();
                        write = read;
                        read += kStageBytes;
                        if (read == shared + kStages * kStageBytes) read = shared;
                        rows.turn();
                        wait_for_copies<kStages - 2>();
                        __syncthreads();
                    }
                    if (half == 0 || left > 1) {
                        rows.load(x[0], read, 0, 1 - half);
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
    store_sums<Shape>(target, slab, first_row + warp_row, first_column + warp_column, sums);
}

template <class Shape, class A, class B, class T>
void launch_tensor(const A& a, const B& b, ProductTask<T> task, const Split& split,
                   int bytes = Shape::kBytes) {
    Rows<T>& out = task.out;
    const std::int64_t across = divide_up(out.columns, Shape::kColumns);
    const std::int64_t down = divide_up(out.rows, Shape::kRows);
    out.vectors = out.vectors && aligned_to(4 * sizeof(T), task.epilogue.residual);
    // An activation in a pass of its own begins with sums that were not rounded yet.
    const bool in_parts = split.count > 1 || !is_piecewise_linear(task.epilogue.activation);
    float* const partial = in_parts ? allocate_parts(task, split.count) : nullptr;
    const auto kernel = tensor_kernel<Shape, A, B>;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kMostShared);
    const dim3 grid(static_cast<unsigned>(checked_int("tiles of the result", down * across)), 1,
                    static_cast<unsigned>(task.groups * split.count));
    kernel<<<grid, Shape::kThreads, bytes, task.stream>>>(
        a, b, out, in_parts ? Finish<T>() : Finish<T>(task.epilogue), FastDivider(across),
        task.depth, split, partial);
    check_launch(task.kernel, task.problem);
    if (in_parts) launch_add_parts(task, partial, split.count);
}

// Whether compute capability 9.0 has taken it.
template <class A, class B, class T>
bool run_on_hopper(const A& a, const B& b, ProductTask<T> task) {
    task.out.vectors = task.out.vectors && aligned_to(4 * sizeof(T), task.epilogue.residual);
    HopperResult result;
    if (!hopper_runs(a, b, task, result)) return false;
    if (result.partial) launch_add_parts(task, result.partial, result.parts);
    return true;
}

template <class T>
template <class A, class B>
void TensorProduct<T>::run(const A& a, const B& b, const ProductTask<T>& task) {
    const Rows<T>& out = task.out;
    if (out.rows == 0 || out.columns == 0 || task.groups == 0) return;
    if (kHopper && run_on_hopper(a, b, task)) return;
    TensorProblem problem{out.rows,    out.columns, task.depth,
                          task.groups, kDepth,      static_cast<int>(sizeof(T))};
    // Operands that can't be read in pieces have small tiles alone: half as many kernels.
    if constexpr (A::kPiece == 1) {
        const TensorPlan plan = plan_tensor(problem, 0, 0);
        launch_tensor<TensorShape<0>>(a, b, task, plan.split);
    } else {
        const TileChoice choice = tile_choice;
        const TensorPlan plan = plan_tensor(problem, choice.first, choice.last);
        if constexpr (std::is_same_v<A, Pixels<TensorProduct, kPiece>>) {
            const auto patches = patches_of(a);
            if (patches.taps > 0 && choice.patches != 0) {
                problem.taps = patches.taps;
                problem.halo = patches.halo;
                const TensorPlan by_patches =
                    plan_tensor(problem, std::max(choice.first, 1), choice.last);
                const bool better = by_patches.clocks < plan.clocks || choice.patches > 0;
                if (by_patches.clocks > 0 && better) {
                    return TensorPatches<T>::run(patches, b, task, by_patches);
                }
            }
        }
        if (plan.tile == 1) return launch_tensor<TensorShape<1>>(a, b, task, plan.split);
        if (plan.tile == 2) return launch_tensor<TensorShape<2>>(a, b, task, plan.split);
        if (plan.tile == 3) return launch_tensor<TensorShape<3>>(a, b, task, plan.split);
        launch_tensor<TensorShape<0>>(a, b, task, plan.split);
    }
}

}  // namespace pyconv::cuda
