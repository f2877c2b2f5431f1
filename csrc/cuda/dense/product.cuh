// A matrix product in float32: block tiles in shared memory, thread tiles of 8 x 8 in registers.
//
// The operands are read through sources, so that a convolution is the same loop as a matrix product
// (implicit GEMM): a source says where element (row, k) lies, four at a time, along k or along the
// rows. The next tile is fetched into registers while this one is multiplied, and stored into the
// other half of the shared memory: one barrier for each 8 steps of the sum.
#pragma once

#include "cuda/common/epilogue.cuh"
#include "cuda/common/launch.h"
#include "cuda/dense/product.h"

namespace pyconv::cuda {

enum class Along { depth, rows };

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

// A source says of each of its rows what doesn't change (Line), of each k where it is (Step), and
// where both meet (Place). A thread's k goes on by kTileDepth: `advance` says whether its places go
// on by a constant, or must be found anew. What lies past the end along k reads as zero; rows past
// the end read as any other, because their sums are not stored.

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
    typename Source::Place place[kVectors];
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
            place[v] = source.find(line[v], step[v % kSteps]);
        }
    }
    __device__ void load(const Source& source) {
#pragma unroll
        for (int v = 0; v < kVectors; ++v) held[v] = source.load(place[v], step[v % kSteps]);
    }
    __device__ void advance(const Source& source) {
#pragma unroll
        for (int i = 0; i < kSteps; ++i) {
            const bool on = source.advance(step[i]);
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

// What of an epilogue a product does by itself.
struct Finish {
    const float* bias = nullptr;
    const float* residual = nullptr;
    float alpha = 1, residual_scale = 1;
    PiecewiseLinear activation;
    bool activates = false;

    Finish() = default;
    explicit Finish(const Epilogue& e)
        : bias(e.bias), residual(e.residual), alpha(e.alpha), residual_scale(e.residual_scale) {
        activates = e.activation != Activation::none && is_piecewise_linear(e.activation);
        if (activates) activation = {e.activation, e.slope};
    }
};

__device__ inline float4 residual_four(const float* residual, bool vectors, int count) {
    if (vectors) return *reinterpret_cast<const float4*>(residual);
    float4 x = make_float4(0, 0, 0, 0);
    x.x = residual[0];
    if (count > 1) x.y = residual[1];
    if (count > 2) x.z = residual[2];
    if (count > 3) x.w = residual[3];
    return x;
}

// Four neighbouring columns of a row.
__device__ inline void store_four(const Rows& out, const Finish& f, std::int64_t row_offset,
                                  int column, const float* sums, const float* bias) {
    if (column >= out.columns) return;
    const std::int64_t offset = row_offset + column;
    float4 y;
    y.x = fmaf(f.alpha, sums[0], bias[0]);
    y.y = fmaf(f.alpha, sums[1], bias[1]);
    y.z = fmaf(f.alpha, sums[2], bias[2]);
    y.w = fmaf(f.alpha, sums[3], bias[3]);
    if (f.residual) {
        const float4 r = residual_four(f.residual + offset, out.vectors, out.columns - column);
        y.x = fmaf(f.residual_scale, r.x, y.x);
        y.y = fmaf(f.residual_scale, r.y, y.y);
        y.z = fmaf(f.residual_scale, r.z, y.z);
        y.w = fmaf(f.residual_scale, r.w, y.w);
    }
    if (f.activates) {
        y.x = f.activation(y.x), y.y = f.activation(y.y);
        y.z = f.activation(y.z), y.w = f.activation(y.w);
    }
    float* const to = out.data + offset;
    if (out.vectors) {
        *reinterpret_cast<float4*>(to) = y;
        return;
    }
    to[0] = y.x;
    if (column + 1 < out.columns) to[1] = y.y;
    if (column + 2 < out.columns) to[2] = y.z;
    if (column + 3 < out.columns) to[3] = y.w;
}

// One block: one tile of one group and one part of the sum. Parts go to `partial`, [part][group]
// [row][column], and are added by add_parts.
template <class Shape, class A, class B>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    product_kernel(A a, B b, Rows out, Finish finish, int depth, Split split, float* partial) {
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
        if (finish.bias) finish.bias += group * out.columns;
        if (finish.residual) finish.residual += group * out.group_step;
    }
    float bias[8] = {};
    if (finish.bias) {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const int c = first_column + column + (j < 4 ? j : kHalfColumns + j - 4);
            if (c < out.columns) bias[j] = finish.bias[c];
        }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int r = first_row + row + (i < 4 ? i : kHalfRows + i - 4);
        if (r >= out.rows) continue;
        const std::int64_t offset =
            split.count > 1 ? static_cast<std::int64_t>(r) * out.columns : out.offset(r);
        store_four(out, finish, offset, first_column + column, sum[i], bias);
        store_four(out, finish, offset, first_column + column + kHalfColumns, sum[i] + 4, bias + 4);
    }
}

// The parts of the sums in their order, and the epilogue. No parts: the activation of what lies in
// the result.
static __global__ void add_parts(const float* partial, Rows out, Epilogue e, int parts,
                                 int groups) {
    const std::int64_t size = static_cast<std::int64_t>(out.rows) * out.columns;
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= size * groups) return;
    const int group = static_cast<int>(i / size);
    const int row = static_cast<int>((i - group * size) / out.columns);
    const int column =
        static_cast<int>(i - group * size - static_cast<std::int64_t>(row) * out.columns);
    const std::int64_t offset = out.offset(row) + group * out.group_step + column;
    if (parts == 0) {
        out.data[offset] = activate(e.activation, out.data[offset], e.slope);
        return;
    }
    float sum = partial[i];
    for (int part = 1; part < parts; ++part) sum += partial[part * size * groups + i];
    float y = fmaf(e.alpha, sum, e.bias ? e.bias[group * out.columns + column] : 0.0f);
    if (e.residual) y = fmaf(e.residual_scale, e.residual[offset], y);
    out.data[offset] = activate(e.activation, y, e.slope);
}

template <class Shape, class A, class B>
void launch_shape(const char* name, const std::string& problem, const A& a, const B& b, Rows out,
                  const Epilogue& epilogue, int depth, int groups, const Allocate& allocate,
                  cudaStream_t stream) {
    const std::int64_t across = divide_up(out.columns, Shape::kColumns);
    const std::int64_t down = divide_up(out.rows, Shape::kRows);
    const Split split = split_sum(across * down * groups, depth);
    const std::int64_t size = static_cast<std::int64_t>(out.rows) * out.columns * groups;
    out.vectors = out.vectors && reinterpret_cast<std::uintptr_t>(epilogue.residual) % 16 == 0;
    float* partial = nullptr;
    if (split.count > 1) {
        partial = static_cast<float*>(allocate(split.count * size * sizeof(float)));
    }
    const dim3 grid(static_cast<unsigned>(down), static_cast<unsigned>(across),
                    static_cast<unsigned>(groups * split.count));
    product_kernel<Shape><<<grid, Shape::kThreads, 0, stream>>>(
        a, b, out, split.count > 1 ? Finish() : Finish(epilogue), depth, split, partial);
    check_launch(name, problem);
    if (split.count == 1 && is_piecewise_linear(epilogue.activation)) return;
    add_parts<<<static_cast<unsigned>(divide_up(size, 256)), 256, 0, stream>>>(
        partial, out, epilogue, split.count == 1 ? 0 : split.count, groups);
    check_launch("add_parts", problem);
}

// The tile by the result: narrow for few columns, small where large ones would be few. Operands
// that can't be read in vectors have small ones alone: they are rare, and each kernel is large.
template <class A, class B>
void launch_product(const char* name, const std::string& problem, const A& a, const B& b,
                    const Rows& out, const Epilogue& epilogue, int depth, int groups,
                    const Allocate& allocate, cudaStream_t stream) {
    if (out.rows == 0 || out.columns == 0 || groups == 0) return;
    const auto launch = [&](auto shape) {
        launch_shape<decltype(shape)>(name, problem, a, b, out, epilogue, depth, groups, allocate,
                                      stream);
    };
    if constexpr (A::kInVectors && B::kInVectors) {
        const std::int64_t large = divide_up(out.rows, 128) * divide_up(out.columns, 128) * groups;
        if (out.columns <= 32) return launch(TileShape<128, 32>{});
        if (large >= kWantedBlocks && out.columns > 64) return launch(TileShape<128, 128>{});
    }
    launch(TileShape<64, 64>{});
}

// -- sources ------------------------------------------------------------------------------------

__device__ inline float4 zero_four() { return make_float4(0, 0, 0, 0); }

__device__ inline int clamp_row(int row, int rows, int vector) {
    return max(min(row, rows - vector), 0);
}

// A matrix whose rows lie along k: element (row, k) at row * step + k.
template <bool kVectors>
struct AlongDepth {
    static constexpr Along kAlong = Along::depth;
    static constexpr bool kInVectors = kVectors;
    const float* data;
    int rows, depth;
    std::int64_t pitch, group_step = 0;

    using Line = const float*;
    struct Step {
        int k;
    };
    using Place = const float*;
    __device__ void select(int group) { data += group * group_step; }
    __device__ Line line(int row) const { return data + clamp_row(row, rows, 1) * pitch; }
    __device__ Step step(int k) const { return {k}; }
    __device__ Place find(Line line, const Step& s) const { return line + s.k; }
    __device__ bool advance(Step& s) const {
        s.k += kTileDepth;
        return true;
    }
    __device__ void move(Place& place, Line, const Step&) const { place += kTileDepth; }
    __device__ float4 load(Place place, const Step& s) const {
        float4 x = zero_four();
        if constexpr (kVectors) {
            if (s.k < depth) x = *reinterpret_cast<const float4*>(place);
        } else {
            if (s.k < depth) x.x = place[0];
            if (s.k + 1 < depth) x.y = place[1];
            if (s.k + 2 < depth) x.z = place[2];
            if (s.k + 3 < depth) x.w = place[3];
        }
        return x;
    }
};

// A matrix whose k lie along the rows: element (row, k) at k * pitch + row.
template <bool kVectors>
struct AlongRows {
    static constexpr Along kAlong = Along::rows;
    static constexpr bool kInVectors = kVectors;
    const float* data;
    int rows, depth;
    std::int64_t pitch, group_step = 0;

    struct Line {
        const float* at;
        int count;  // rows from here on
    };
    struct Step {
        int k;
    };
    struct Place {
        const float* at;
        int count;
    };
    __device__ void select(int group) { data += group * group_step; }
    __device__ Line line(int row) const {
        const int r = kVectors ? clamp_row(row, rows, 4) : row;
        return {data + r, rows - r};
    }
    __device__ Step step(int k) const { return {k}; }
    __device__ Place find(const Line& line, const Step& s) const {
        return {line.at + s.k * pitch, line.count};
    }
    __device__ bool advance(Step& s) const {
        s.k += kTileDepth;
        return true;
    }
    __device__ void move(Place& place, const Line&, const Step&) const {
        place.at += kTileDepth * pitch;
    }
    __device__ float4 load(const Place& place, const Step& s) const {
        float4 x = zero_four();
        if (s.k >= depth) return x;
        if constexpr (kVectors) {
            x = *reinterpret_cast<const float4*>(place.at);
        } else {
            if (place.count > 0) x.x = place.at[0];
            if (place.count > 1) x.y = place.at[1];
            if (place.count > 2) x.z = place.at[2];
            if (place.count > 3) x.w = place.at[3];
        }
        return x;
    }
};

inline bool aligned_vectors(const void* data, std::int64_t step, std::int64_t extent) {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && step % 4 == 0 && extent % 4 == 0;
}

}  // namespace pyconv::cuda
