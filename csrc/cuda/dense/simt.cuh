// A matrix product in float32: block tiles in shared memory, thread tiles of 8 x 8 in registers.
//
// The operands are read through sources, four elements at a time, along k or along the rows. The
// next tile is fetched into registers while this one is multiplied, and stored into the other half
// of the shared memory: one barrier for each 8 steps of the sum.
#pragma once

#include "cuda/dense/finish.cuh"
#include "cuda/dense/products.h"

namespace pyconv::cuda {

template <int kRowsOfTile, int kColumnsOfTile>
struct TileShape {
    static constexpr int kRows = kRowsOfTile, kColumns = kColumnsOfTile;
    static constexpr int kThreads = kRows * kColumns / 64;
    // Blocks that a multiprocessor is to hold at least: 8 warps, two for each scheduler. With 64
    // sums that don't wait for each other a thread needs no more company, and may have 255
    // registers.
    static constexpr int kBlocks = 256 / kThreads;
    // Lanes of a warp: 4 x 8 threads, or 8 x 4 where the tile is narrow.
    static constexpr int kLanesAcross = kColumns >= 64 ? 8 : 4;
    static constexpr int kWarpColumns = kLanesAcross * 8;
    static constexpr int kWarpRows = 32 / kLanesAcross * 8;
};

// Said in PTX: the compiler cuts some of these stores into four.
__device__ inline void store_shared(float* to, float4 x) {
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(
                     static_cast<unsigned>(__cvta_generic_to_shared(to))),
                 "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w)
                 : "memory");
}

// A tile of an operand on its way to shared memory, there [k][row], rows padded by 4: the scalar
// stores of vectors along k (two a row) then fall into 32 banks.
template <class Source, int kExtent, int kThreads>
struct Fetch {
    static constexpr int kVectors = kExtent * kTileDepth / 4 / kThreads;
    static constexpr int kStride = kExtent + 4;
    static constexpr bool kAlongDepth = Source::kAlong == Along::depth;
    static constexpr int kSteps = kAlongDepth ? 1 : kVectors;  // along k a thread keeps to one

    typename Source::Line line[kVectors];
    typename Source::Step step[kSteps];
    Place<float> place[kVectors];
    float4 held[kVectors];

    __device__ static int index(int v) { return static_cast<int>(threadIdx.x) + v * kThreads; }
    __device__ static int row_of(int v) {
        return kAlongDepth ? index(v) / 2 : index(v) % (kExtent / 4) * 4;
    }
    __device__ static int k_of(int v) {
        return kAlongDepth ? index(v) % 2 * 4 : index(v) / (kExtent / 4);
    }

    __device__ Fetch(const Source& source, int first_row, int k) {
#pragma unroll
        for (int i = 0; i < kSteps; ++i) step[i] = source.step(k + k_of(i));
#pragma unroll
        for (int v = 0; v < kVectors; ++v) {
            line[v] = source.line(first_row + row_of(v));
            if constexpr (Source::kPiece > 1) place[v] = source.find(line[v], step[v % kSteps]);
        }
    }
    __device__ void load(const Source& source) {
#pragma unroll
        for (int v = 0; v < kVectors; ++v) {
            if constexpr (Source::kPiece > 1) {
                held[v] = place[v].inside ? *reinterpret_cast<const float4*>(place[v].at)
                                          : make_float4(0, 0, 0, 0);
            } else {
                const auto at = [&](int i) {
                    const float* from = source.element(line[v], step[v % kSteps], i);
                    return from ? *from : 0.0f;
                };
                held[v] = make_float4(at(0), at(1), at(2), at(3));
            }
        }
    }
    __device__ void advance(const Source& source) {
#pragma unroll
        for (int i = 0; i < kSteps; ++i) {
            const bool on = source.advance(step[i]);
            if constexpr (Source::kPiece > 1) {
#pragma unroll
                for (int v = i; v < kVectors; v += kSteps) {
                    if (on) {
                        source.move(place[v], line[v], step[i]);
                    } else {
                        place[v] = source.find(line[v], step[i]);
                    }
                }
            }
        }
    }
    __device__ void store(float* tile) const {
#pragma unroll
        for (int v = 0; v < kVectors; ++v) {
            float* to = tile + k_of(v) * kStride + row_of(v);
            if constexpr (kAlongDepth) {
                to[0] = held[v].x;
                to[kStride] = held[v].y;
                to[2 * kStride] = held[v].z;
                to[3 * kStride] = held[v].w;
            } else {
                store_shared(to, held[v]);
            }
        }
    }
};

// The rows 0-3 and the four that begin half a warp tile later, of this thread at step k.
template <int kHalf>
__device__ inline void read_eight(const float* from, float (&to)[8]) {
    const float4 low = *reinterpret_cast<const float4*>(from);
    const float4 high = *reinterpret_cast<const float4*>(from + kHalf);
    to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
    to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}

// One block: one tile of one group and one part of the sum. Parts go to `partial`, [part][group]
// [row][column], and are added by add_parts.
template <class Shape, class A, class B>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    product_kernel(A a, B b, Rows<float> out, Finish<float> finish, int depth, Split split,
                   float* partial) {
    using FetchA = Fetch<A, Shape::kRows, Shape::kThreads>;
    using FetchB = Fetch<B, Shape::kColumns, Shape::kThreads>;
    __shared__ float4 tile_a[2][kTileDepth * FetchA::kStride / 4];
    __shared__ float4 tile_b[2][kTileDepth * FetchB::kStride / 4];

    const int part = static_cast<int>(blockIdx.z) % split.count;
    const int group = static_cast<int>(blockIdx.z) / split.count;
    a.select(group);
    b.select(group);
    const int first_row = static_cast<int>(blockIdx.x) * Shape::kRows;
    const int first_column = static_cast<int>(blockIdx.y) * Shape::kColumns;
    const int begin = part * split.depth;
    const int end = min(begin + split.depth, depth);

    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    constexpr int kWarpsAcross = Shape::kColumns / Shape::kWarpColumns;
    const int row = warp / kWarpsAcross * Shape::kWarpRows + lane / Shape::kLanesAcross * 4;
    const int column = warp % kWarpsAcross * Shape::kWarpColumns + lane % Shape::kLanesAcross * 4;
    constexpr int kHalfRows = Shape::kWarpRows / 2, kHalfColumns = Shape::kWarpColumns / 2;

    float sum[8][8] = {};
    FetchA next_a(a, first_row, begin);
    FetchB next_b(b, first_column, begin);
    if (begin < end) {
        next_a.load(a);
        next_b.load(b);
        next_a.store(reinterpret_cast<float*>(tile_a[0]));
        next_b.store(reinterpret_cast<float*>(tile_b[0]));
    }
    __syncthreads();
    int half = 0;
    for (int k = begin; k < end; k += kTileDepth) {
        const bool more = k + kTileDepth < end;
        if (more) {
            next_a.advance(a);
            next_b.advance(b);
            next_a.load(a);
            next_b.load(b);
        }
        const float* rows = reinterpret_cast<const float*>(tile_a[half]) + row;
        const float* columns = reinterpret_cast<const float*>(tile_b[half]) + column;
#pragma unroll
        for (int step = 0; step < kTileDepth; ++step) {
            float x[8], w[8];
            read_eight<kHalfRows>(rows + step * FetchA::kStride, x);
            read_eight<kHalfColumns>(columns + step * FetchB::kStride, w);
#pragma unroll
            for (int i = 0; i < 8; ++i) {
#pragma unroll
                for (int j = 0; j < 8; ++j) sum[i][j] = fmaf(x[i], w[j], sum[i][j]);
            }
        }
        if (more) {
            half ^= 1;
            next_a.store(reinterpret_cast<float*>(tile_a[half]));
            next_b.store(reinterpret_cast<float*>(tile_b[half]));
            __syncthreads();
        }
    }

    if (split.count > 1) {
        out.data = partial + (static_cast<std::int64_t>(part) * gridDim.z / split.count + group) *
                                 out.rows * out.columns;
        out.vectors = out.columns % 4 == 0;
    } else {
        out.data += group * out.group_step;
        finish.select(group, out);
    }
    float bias[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
        const int c = first_column + column + (j < 4 ? j : kHalfColumns + j - 4);
        bias[j] = c < out.columns ? finish.bias_at(c) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int r = first_row + row + (i < 4 ? i : kHalfRows + i - 4);
        if (r >= out.rows) continue;
        const std::int64_t offset =
            split.count > 1 ? static_cast<std::int64_t>(r) * out.columns : out.offset(r);
        finish_four(out, finish, offset, first_column + column, sum[i], bias);
        finish_four(out, finish, offset, first_column + column + kHalfColumns, sum[i] + 4,
                    bias + 4);
    }
}

template <class Shape, class A, class B>
void launch_simt(const A& a, const B& b, ProductTask<float> task) {
    Rows<float>& out = task.out;
    const std::int64_t across = divide_up(out.columns, Shape::kColumns);
    const std::int64_t down = divide_up(out.rows, Shape::kRows);
    const Split split = split_sum(across * down * task.groups, task.depth);
    out.vectors = out.vectors && aligned_to(16, task.epilogue.residual);
    float* partial = nullptr;
    if (split.count > 1) partial = allocate_parts(task, split.count);
    const dim3 grid(static_cast<unsigned>(down), static_cast<unsigned>(across),
                    static_cast<unsigned>(task.groups * split.count));
    product_kernel<Shape><<<grid, Shape::kThreads, 0, task.stream>>>(
        a, b, out, split.count > 1 ? Finish<float>() : Finish<float>(task.epilogue), task.depth,
        split, partial);
    check_launch(task.kernel, task.problem);
    if (split.count == 1 && is_piecewise_linear(task.epilogue.activation)) return;
    launch_add_parts(task, partial, split.count == 1 ? 0 : split.count);
}

// The tile by the result: narrow for few columns, small where large ones would be few. Operands
// that can't be read in pieces have small ones alone: they are rare, and each kernel is large.
template <class A, class B>
void SimtProduct::run(const A& a, const B& b, const ProductTask<float>& task) {
    const Rows<float>& out = task.out;
    if (out.rows == 0 || out.columns == 0 || task.groups == 0) return;
    if constexpr (A::kPiece > 1 && B::kPiece > 1) {
        const std::int64_t large =
            divide_up(out.rows, 128) * divide_up(out.columns, 128) * task.groups;
        if (out.columns <= 32) return launch_simt<TileShape<128, 32>>(a, b, task);
        if (large >= kWantedBlocks && out.columns > 64) {
            return launch_simt<TileShape<128, 128>>(a, b, task);
        }
    }
    launch_simt<TileShape<64, 64>>(a, b, task);
}

}  // namespace pyconv::cuda
