// From the registers of a warp to the result.
#pragma once

#include "cuda/common/tensor_core.cuh"
#include "cuda/dense/finish.cuh"

namespace pyconv::cuda {

// Where sums go: finished to the result, or as they are to a part.
template <class T>
struct TensorTarget {
    Rows<T> out;
    Finish<T> finish;
    float* part;  // null: to the result

    __device__ void store(int row, int column, const float (&sums)[4], const float (&bias)[4]) {
        if (row >= out.rows) return;
        store_at(part ? static_cast<std::int64_t>(row) * out.columns : out.offset(row), column,
                 sums, bias);
    }
    // Of the row that begins there.
    __device__ void store_at(std::int64_t row, int column, const float (&sums)[4],
                             const float (&bias)[4]) const {
        if (!part) {
            finish_four(out, finish, row, column, sums, bias);
        } else if (column < out.columns) {
            store_four(part + row + column, out.columns % 4 == 0, out.columns - column, sums);
        }
    }
};

// The sums of a warp, 16 rows at a time, through shared memory: fragments hold pairs, a row should
// be written from end to end.
template <class Shape, class T>
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
            const SharedAddress to =
                shared_address(slab + lane / 4 * Shape::kSlabPitch + lane % 4 * 2) + j * 32;
            store_shared(to, sums[i][j][0], sums[i][j][1]);
            store_shared(to + 32 * Shape::kSlabPitch, sums[i][j][2], sums[i][j][3]);
        }
        __syncwarp();
#pragma unroll 2
        for (int r = lane / kAcross; r < 16; r += kDown) {
            const float4 four =
                *reinterpret_cast<const float4*>(slab + r * Shape::kSlabPitch + column);
            const float y[4] = {four.x, four.y, four.z, four.w};
            target.store(first_row + i * 16 + r, first_column + column, y, bias);
        }
        __syncwarp();
    }
}

}  // namespace pyconv::cuda
