// One launch over a list of arrays: a table of them is an argument of the kernel, and each block
// finds its part of one array.
#pragma once

#include <algorithm>
#include <vector>

#include "cuda/common/index.h"
#include "cuda/common/storage.cuh"
#include "cuda/optimizer/optimizer.h"

namespace pyconv::cuda {

inline constexpr int kThreads = 256;
inline constexpr int kChunk = 4096;  // elements of a block

// Arguments may have 32764 bytes from CUDA 12.1 on, 4096 before.
#if CUDART_VERSION >= 12010
inline constexpr int kMostSegments = 512;
#else
inline constexpr int kMostSegments = 80;
#endif

struct Table {
    int count = 0;
    int end[kMostSegments];  // of each segment's blocks
    Segment segment[kMostSegments];
};

// The part of a segment that the block works on.
struct Part {
    Segment segment;
    std::int64_t begin, end;
};
__device__ inline Part part_of_block(const Table& table) {
    const int block = static_cast<int>(blockIdx.x);
    int low = 0, high = table.count - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (table.end[middle] > block) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Part part;
    part.segment = table.segment[low];
    part.begin = static_cast<std::int64_t>(block - (low > 0 ? table.end[low - 1] : 0)) * kChunk;
    part.end = min(part.begin + kChunk, part.segment.n);
    return part;
}

// f(Width<N>, i): of N elements from i on, over the part.
template <int N>
struct Width {
    static constexpr int value = N;
};
template <class F>
__device__ void over_part(const Part& part, F&& f) {
    const std::int64_t fours = part.begin + (part.end - part.begin) / 4 * 4;
#pragma unroll 1  // ptxas would unroll it past its registers
    for (std::int64_t i = part.begin + 4 * threadIdx.x; i < fours; i += 4 * kThreads) {
        f(Width<4>{}, i);
    }
    const std::int64_t i = fours + threadIdx.x;
    if (i < part.end) f(Width<1>{}, i);
}

// run(table, blocks) for every kMostSegments of the segments that have elements.
template <class F>
void over_tables(const std::vector<Segment>& segments, F&& run) {
    Table table;
    const auto flush = [&] {
        if (table.count > 0) run(table, table.end[table.count - 1]);
        table.count = 0;
    };
    for (const Segment& segment : segments) {
        if (segment.n == 0) continue;
        const int before = table.count > 0 ? table.end[table.count - 1] : 0;
        table.segment[table.count] = segment;
        table.end[table.count++] =
            checked_int("elements of all arrays", before + divide_up(segment.n, kChunk));
        if (table.count == kMostSegments) flush();
    }
    flush();
}

}  // namespace pyconv::cuda
