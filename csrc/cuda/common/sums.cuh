// Sums that several threads or blocks share, added in an order that the problem fixes.
#pragma once

#include <cstdint>

namespace pyconv::cuda {

// The sums of a block's threads, kLanes each, in shared memory. Rows are as far apart that both a
// lane of all threads and neighbouring elements lie in different banks.
template <int kLanes, int kThreads>
struct BlockSums {
    float value[kLanes][kThreads + 32 / kLanes];

    __device__ void put(int thread, const float (&sum)[kLanes]) {
#pragma unroll
        for (int i = 0; i < kLanes; ++i) value[i][thread] = sum[i];
    }
    // Threads lie in rows of `width`: halves of the rows are added until the first is left, which
    // all threads may read then.
    __device__ void add_rows(int thread, int width, int rows) {
        while (rows > 1) {
            const int half = (rows + 1) / 2;
            __syncthreads();
            if (thread < (rows - half) * width) {
#pragma unroll
                for (int i = 0; i < kLanes; ++i)
                    value[i][thread] += value[i][thread + half * width];
            }
            rows = half;
        }
        __syncthreads();
    }
    // By element: the lanes of the first thread, of the second, ...
    __device__ float element(int e) const { return value[e % kLanes][e / kLanes]; }
};

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

// Neighbouring packs that a block takes of those of a pixel: evenly, `most` at most, and pairs of
// 16 bytes, so that it reads whole sectors.
inline int packs_of_block(std::int64_t pixel_packs, std::int64_t most) {
    const std::int64_t chunks = (pixel_packs + most - 1) / most;
    const std::int64_t each = (pixel_packs + chunks - 1) / chunks;
    return static_cast<int>(pixel_packs % 2 == 0 ? (each + 1) / 2 * 2 : each);
}

}  // namespace pyconv::cuda
