// What both loops on tensor cores do with their sums on the way out.
#pragma once

#include "cuda/common/tensor_core.cuh"
#include "cuda/dense/finish.cuh"

namespace pyconv::cuda {

// 16 rows of sums of a warp to shared memory, rows kPitch words apart: fragments hold pairs, a row
// should be written from end to end. A warp's barrier has to follow.
template <int kPitch, int kPairs>
__device__ void put_rows(float* slab, const float (&sums)[kPairs][4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const SharedAddress to = shared_address(slab + lane / 4 * kPitch + lane % 4 * 2);
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
        store_shared(to + j * 32, sums[j][0], sums[j][1]);
        store_shared(to + j * 32 + 32 * kPitch, sums[j][2], sums[j][3]);
    }
}

// The bias of a lane's four columns.
template <class T, class Activate>
__device__ void load_bias(const Rows<T>& out, const Finish<T, Activate>& finish, int column,
                          float (&bias)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        bias[i] = column + i < out.columns ? finish.bias_at(column + i) : 0.0f;
    }
}

}  // namespace pyconv::cuda
