// The matrix of an image, pixels by channels, and how blocks share it.
#pragma once

#include <algorithm>
#include <string>

#include "core/normalization.h"
#include "cuda/common/index.h"
#include "cuda/common/launch.h"
#include "cuda/common/packs.cuh"

namespace pyconv::cuda {

inline constexpr int kMatrixThreads = 256;  // of a block, at most

// `joined` pixels, a power of two, make one row of packs of N elements, so that few channels, too,
// fill a block with accesses of 16 bytes. A thread keeps to its columns, and so to its channels,
// from row to row. Pixels with more packs than a block has threads are shared by several blocks.
struct PixelMatrix {
    std::int64_t images, pixels;
    int channels;
    int joined;
    int columns;  // of a block: of whole rows, or where joined = 1 of a part
    int shares;   // blocks across a row
    int rows;
    int rows_of_block, blocks;  // blocks down the rows of an image

    PixelMatrix(const NormalizationProblem& p, int n)
        : images(p.images), pixels(p.pixels), channels(checked_int("channels", p.channels)) {
        joined = 0;
        for (int j = 1; j * p.channels <= kMatrixThreads * n; j *= 2) {
            if (j * p.channels % n == 0 && (joined == 0 || j < 2 * p.pixels)) joined = j;
        }
        if (joined == 0) joined = 1;
        const std::int64_t packs = divide_up(joined * p.channels, n);
        shares = static_cast<int>(divide_up(packs, kMatrixThreads));
        columns = static_cast<int>(divide_up(packs, shares)) * n;
        rows = checked_int("pixels", divide_up(pixels, joined));
        // By the problem alone: 8 rows and 32 pixels at least, so that sums of blocks are few
        // beside what they are sums of, and some blocks for each multiprocessor of the largest
        // devices.
        const std::int64_t others = std::max<std::int64_t>(1, images * shares);
        const std::int64_t most = std::max<std::int64_t>(1, 1024 / others);
        const std::int64_t parts =
            std::clamp<std::int64_t>(rows / std::max(8, 32 / joined), 1, most);
        rows_of_block = static_cast<int>(std::max<std::int64_t>(1, divide_up(rows, parts)));
        blocks = static_cast<int>(std::max<std::int64_t>(1, divide_up(rows, rows_of_block)));
    }
    // Whether rows of packs of n hold whole pixels, and whole packs.
    static bool fits(const NormalizationProblem& p, int n) {
        if (p.images > 1 && p.pixels * p.channels % n != 0) return false;
        if (p.channels % n == 0) return true;
        int j = 1;
        while (j * p.channels % n != 0) j *= 2;
        return j * p.channels <= kMatrixThreads * n;
    }
    unsigned grid() const {
        return static_cast<unsigned>(checked_int("blocks", images * shares * blocks));
    }
    int threads(int n) const { return columns / n; }
    std::int64_t partial_sums() const { return images * blocks * channels; }
    std::string describe() const {
        return std::to_string(images) + "x" + std::to_string(pixels) + "x" +
               std::to_string(channels);
    }
};

// What of it a thread works on: rows [begin, whole) of N elements, and (`rest`) one more of fewer,
// the end of the image. `at` is where row `begin` is.
template <int N>
struct Place {
    std::int64_t image, at, step, elements;  // of an image
    int block, first_channel, width;         // channels of the block
    int column, begin, whole;
    bool rest;

    // From the last block to the first where what was read last is to be read again.
    __device__ Place(const PixelMatrix& m, bool backwards) {
        const unsigned index = backwards ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
        block = static_cast<int>(index % m.blocks);
        const int share = static_cast<int>(index / m.blocks % m.shares);
        image = index / m.blocks / m.shares;
        column = static_cast<int>(threadIdx.x) * N;
        first_channel = share * m.columns;
        width = min(m.columns, m.channels - first_channel);
        step = static_cast<std::int64_t>(m.joined) * m.channels;
        elements = m.pixels * m.channels;
        begin = block * m.rows_of_block;
        const int end = min(begin + m.rows_of_block, m.rows);
        at = begin * step + first_channel + column;
        whole = end;
        rest = false;
        if (first_channel + column >= step) {  // no columns
            whole = begin;
        } else if (end > begin && at + (end - 1 - begin) * step + N > elements) {
            whole = end - 1;
            rest = true;
        }
    }
    // The pixels of the block.
    __device__ int pixels(const PixelMatrix& m) const { return pixels_of_block(m, block); }
    static __device__ int pixels_of_block(const PixelMatrix& m, int block) {
        const std::int64_t rows = static_cast<std::int64_t>(m.rows_of_block) * m.joined;
        return static_cast<int>(min(rows, m.pixels - block * rows));
    }
};

// f(column, channel) for the columns of a block: what is read of the channels, and written for the
// columns, are neighbours in neighbouring lanes.
template <int N, class F>
__device__ void for_columns(const Place<N>& p, F f) {
    const int threads = static_cast<int>(blockDim.x), wrap = threads % p.width;
    int column = static_cast<int>(threadIdx.x), channel = column % p.width;
#pragma unroll
    for (int i = 0; i < N; ++i, column += threads) {
        f(column, p.first_channel + channel);
        channel += wrap;
        if (channel >= p.width) channel -= p.width;
    }
}

// N neighbours to and from shared memory. Of eight, every other four lanes take the upper half
// first: the 16 bytes of each of eight lanes then lie in different banks.
template <int N>
__device__ void store_columns(float* to, const float (&from)[N]) {
    if constexpr (N == 8) {
        const int half = static_cast<int>(threadIdx.x) & 4;
        float first[4], second[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            first[i] = half ? from[4 + i] : from[i];
            second[i] = half ? from[i] : from[4 + i];
        }
        store_floats(to + half, first);
        store_floats(to + (4 - half), second);
    } else {
        store_floats(to, from);
    }
}
template <int N>
__device__ void load_columns(const float* from, float (&to)[N]) {
    if constexpr (N == 8) {
        const int half = static_cast<int>(threadIdx.x) & 4;
        float first[4], second[4];
        load_floats(from + half, first);
        load_floats(from + (4 - half), second);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            to[i] = half ? second[i] : first[i];
            to[4 + i] = half ? first[i] : second[i];
        }
    } else {
        load_floats(from, to);
    }
}

// The sums over the `joined` pixels of a row: from values[joined][width] to values[width].
__device__ inline void add_joined(float* values, int width, int joined) {
    for (int half = joined / 2; half > 0; half /= 2) {
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < half * width;
             i += static_cast<int>(blockDim.x)) {
            values[i] += values[i + half * width];
        }
    }
    __syncthreads();
}

// How the sums of blocks are added: a block for `width` channels, `parts` (a power of two) threads
// for each.
struct BlockSums {
    int channels, width, shares, parts;

    explicit BlockSums(int channels) : channels(channels) {
        shares = static_cast<int>(divide_up(channels, 256));
        width = static_cast<int>(divide_up(channels, shares));
        parts = 1;
        while (2 * parts * width <= 1024) parts *= 2;
    }
    dim3 grid(std::int64_t images) const {
        return dim3(static_cast<unsigned>(checked_int("images", images)),
                    static_cast<unsigned>(shares));
    }
    int threads() const { return width * parts; }
};

// f(width) by a constant: packs of 16 bytes where they fit, or single elements.
template <class T, class F>
void with_packs(const NormalizationProblem& p, F&& f) {
    with_lanes<T>(PixelMatrix::fits(p, kPack<T>), f);
}

}  // namespace pyconv::cuda
