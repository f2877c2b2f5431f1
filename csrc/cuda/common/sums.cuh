// Sums that several threads or blocks share, added in an order that the problem fixes.
#pragma once

#include <cstdint>

namespace pyconv::cuda {

// Rows of sums in shared memory, `width` apart, one for a thread: halves are added until the first
// row is left, which its threads may read.
template <int kLanes, int kThreads>
__device__ void add_rows(float (&sums)[kLanes][kThreads], int thread, int width, int rows) {
    while (rows > 1) {
        const int half = (rows + 1) / 2;
        __syncthreads();
        if (thread < (rows - half) * width) {
#pragma unroll
            for (int i = 0; i < kLanes; ++i) sums[i][thread] += sums[i][thread + half * width];
        }
        rows = half;
    }
    __syncthreads();
}

// Parts of one sum, `step` apart, in eight chains.
__device__ inline float add_parts_of(const float* partial, int parts, std::int64_t step) {
    float sum[8] = {};
    for (int part = 0; part < parts; part += 8) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            if (part + i < parts) sum[i] += partial[(part + i) * step];
        }
    }
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

// Neighbouring packs that a block takes of those of a pixel: evenly, a warp of them at most.
inline int packs_of_block(std::int64_t pixel_packs) {
    const std::int64_t chunks = (pixel_packs + 31) / 32;
    return static_cast<int>((pixel_packs + chunks - 1) / chunks);
}

}  // namespace pyconv::cuda
