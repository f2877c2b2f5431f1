// A matrix product on tensor cores: block tiles in shared memory, filled by asynchronous copies
// some stages ahead; warp tiles in registers, the next fragments read while these are multiplied.
#pragma once

#include "cuda/dense/hopper.h"
#include "cuda/dense/products.h"
#include "cuda/dense/tensor_patch.h"
#include "cuda/dense/tensor_pieces.cuh"
#include "cuda/dense/tensor_plan.h"
#include "cuda/dense/tensor_tile.cuh"

namespace pyconv::cuda {

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

// A group's operand, found once: the compiler would find it again for every copy.
template <class Source>
__device__ inline void keep(Source& source) {
    asm volatile("" : "+l"(source.data));
}
template <class T, int kPiece, int kDepth>
__device__ inline void keep(PatchRows<T, kPiece, kDepth>& patches) {
    keep(patches.pixels);
}

// Where pieces of sums go. No slots: all tiles are blocks' own.
struct TensorSlots {
    float* slots = nullptr;
    unsigned* tickets = nullptr;  // of dealt tiles; null: a kernel of its own adds their pieces
    bool all = false;             // whole tiles go to slots, too
};

// A block: tile by tile, the steps that it has of it.
template <class Shape, class A, class B>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    tensor_kernel(A all_rows, B all_columns, Rows<typename A::Element> out,
                  Finish<typename A::Element> finish, TileOrder order, int depth, TensorWork work,
                  TensorSlots to) {
    using T = typename A::Element;
    using Reader = typename ReaderOf<Shape, A>::Type;
    constexpr int kStages = Shape::kStages, kDepth = A::kDepth;
    constexpr int kRowsOfA = Shape::kWarpRows / 16, kPairsOfB = Shape::kWarpColumns / 16;
    constexpr int kStageBytes = Reader::kStageBytes + Shape::kColumns * 64;
    using Right = Fragments<T, B::kAlong, Shape::kColumns, true>;
    extern __shared__ __align__(1024) uint4 stages[];

    const int worker = static_cast<int>(blockIdx.x);
    int tile = work.dealt + worker - work.workers, first_step = 0, steps_left = work.steps;
    if (worker < work.workers) {
        const std::int64_t first = work.begin(worker);
        steps_left = static_cast<int>(work.begin(worker + 1) - first);
        tile = static_cast<int>(first / work.steps);
        first_step = static_cast<int>(first % work.steps);
    }
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int warp_row = warp / Shape::kWarpsAcross * Shape::kWarpRows;
    const int warp_column = warp % Shape::kWarpsAcross * Shape::kWarpColumns;
    const int place = Right::place(warp_column) + Reader::kStageBytes;
    do {
        const int steps = min(steps_left, work.steps - first_step);
        const TileOrder::Place at = order.place(tile);
        A a = all_rows;
        B b = all_columns;
        a.select(at.group);
        b.select(at.group);
        if constexpr (A::kPiece > 1) keep(a);
        if constexpr (B::kPiece > 1) keep(b);
        const int first_row = at.down * Shape::kRows, first_column = at.across * Shape::kColumns;
        const int begin = first_step * work.step;
        const int tiles = (min(begin + steps * work.step, depth) - begin + kDepth - 1) / kDepth;

        const SharedAddress shared = shared_address(stages);
        SharedAddress read = shared, write = shared;  // the stages that are multiplied and filled
        TensorCopy<B, Shape::kColumns, Shape::kThreads> columns(b, first_column,
                                                                Reader::first(a, begin));
        Reader rows(a, shared + kStages * kStageBytes, first_row, warp_row, begin);
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
                        // All warps have left this stage: they were at the barrier behind their
                        // last read.
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
        // The shared memory is free: no copies are left, and every warp has read its last
        // fragments.
        wait_for_copies<0>();
        __syncthreads();

        const int rows_left = out.rows - first_row - warp_row;
        const int columns_left = out.columns - first_column - warp_column;
        const bool whole = steps == work.steps;
        bool store = !to.all;
        int pieces = 1, own = 0;
        float* slots = to.slots;  // of this tile
        if (!whole || to.all) {
            int slot = work.slots() + tile - work.dealt;
            if (worker < work.workers) {
                const int first = work.first_worker(tile);
                slot = work.slot(first, tile);
                pieces = work.pieces(tile);
                own = worker - first;
            }
            slots += slot * Slot<Shape>::kSize;
#pragma unroll
            for (int i = 0; i < kRowsOfA; ++i) {
                if (i * 16 >= rows_left) continue;
                Slot<Shape>::store(slots + own * Slot<Shape>::kSize, i,
                                   static_cast<int>(threadIdx.x), columns_left, sums[i]);
            }
            store = to.tickets && is_last(to.tickets + tile, pieces);
        }
        if (store) {
            if (!whole) {
#pragma unroll
                for (int i = 0; i < kRowsOfA; ++i) {
                    if (i * 16 >= rows_left) continue;
                    Slot<Shape>::add(slots, i, static_cast<int>(threadIdx.x), columns_left, pieces,
                                     sums[i]);
                }
            }
            Rows<T> rows_out = out;
            Finish<T> finish_here = finish;
            rows_out.data += at.group * out.group_step;
            finish_here.select(at.group, out);
            const int column = lane_column<Shape>(first_column + warp_column);
            float bias[4];
            load_bias(rows_out, finish_here, column, bias);
            float* const slab = reinterpret_cast<float*>(stages) + warp * (Shape::kSlabBytes / 4);
#pragma unroll
            for (int i = 0; i < kRowsOfA; ++i) {
                store_rows<Shape>(rows_out, finish_here, slab, first_row + warp_row + i * 16,
                                  column, bias, sums[i]);
            }
        }
        steps_left -= steps;
        first_step = 0;
        ++tile;
        if (steps_left > 0) __syncthreads();  // The shared memory is free again.
    } while (steps_left > 0);
}

template <class Shape, class A, class B, class T>
void launch_tensor(const A& a, const B& b, ProductTask<T> task, const TensorPlan& plan,
                   int bytes = Shape::kBytes) {
    Rows<T>& out = task.out;
    const TensorWork& work = plan.work;
    const std::int64_t across = divide_up(out.columns, Shape::kColumns);
    const std::int64_t of_group = divide_up(out.rows, Shape::kRows) * across;
    const int tiles = checked_int("tiles of the result", of_group * task.groups);
    const TileOrder order{FastDivider(across), FastDivider(of_group)};
    out.vectors = out.vectors && aligned_to(4 * sizeof(T), task.epilogue.residual);
    TensorSlots to;
    // The other activations are left to the kernel that finishes tiles.
    to.all = !is_piecewise_linear(task.epilogue.activation);
    const std::int64_t slots = work.slots() + (to.all ? tiles - work.dealt : 0);
    if (slots > 0) {
        constexpr auto kSlotBytes = Slot<Shape>::kSize * static_cast<std::int64_t>(sizeof(float));
        to.slots = static_cast<float*>(task.allocate(slots * kSlotBytes));
    }
    if (plan.fused && work.dealt > 0 && !to.all) {
        const std::int64_t size = work.dealt * static_cast<std::int64_t>(sizeof(unsigned));
        to.tickets = static_cast<unsigned*>(task.allocate(size));
        cudaMemsetAsync(to.tickets, 0, static_cast<std::size_t>(size), task.stream);
    }
    const auto kernel = tensor_kernel<Shape, A, B>;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kMostShared);
    const int blocks =
        checked_int("blocks", static_cast<std::int64_t>(tiles) - work.dealt + work.workers);
    kernel<<<static_cast<unsigned>(blocks), Shape::kThreads, bytes, task.stream>>>(
        a, b, out, to.all ? Finish<T>() : Finish<T>(task.epilogue), order, task.depth, work, to);
    check_launch(task.kernel, task.problem);
    if (to.all || (work.dealt > 0 && !to.tickets)) {
        constexpr int kParts = Shape::kThreads / 32 * Shape::kWarpRows / 16;
        const dim3 grid(static_cast<unsigned>(to.all ? tiles : work.dealt), (kParts + 3) / 4);
        finish_tiles<Shape><<<grid, 128, 0, task.stream>>>(
            to.slots, out, Finish<T, AnyActivation>(task.epilogue), order, work, to.all);
        check_launch("finish_tiles", task.problem);
    }
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
        launch_tensor<TensorShape<0>>(a, b, task, plan);
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
        if (plan.tile == 1) return launch_tensor<TensorShape<1>>(a, b, task, plan);
        if (plan.tile == 2) return launch_tensor<TensorShape<2>>(a, b, task, plan);
        if (plan.tile == 3) return launch_tensor<TensorShape<3>>(a, b, task, plan);
        if (plan.tile == 4) return launch_tensor<TensorShape<4>>(a, b, task, plan);
        launch_tensor<TensorShape<0>>(a, b, task, plan);
    }
}

}  // namespace pyconv::cuda
