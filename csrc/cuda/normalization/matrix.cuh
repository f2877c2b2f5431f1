// The matrix of an image, pixels by channels, and how blocks share it.
#pragma once

#include <algorithm>
#include <string>

#include "core/normalization.h"
#include "cuda/common/index.h"
#include "cuda/common/launch.h"
#include "cuda/common/storage.cuh"

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
        // By the problem alone: 32 rows at least, so that sums of blocks are few beside what they
        // are sums of, and about two blocks for each multiprocessor of the largest devices.
        const std::int64_t most =
            std::max<std::int64_t>(1, 512 / std::max<std::int64_t>(1, images * shares));
        const std::int64_t parts = std::clamp<std::int64_t>(rows / 32, 1, most);
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

// N entries of the channels of a block for the thread's columns.
template <int N>
__device__ void read_channels(const float* values, int column, int channels, float (&to)[N]) {
    int channel = column % channels;
    if (channels % N == 0) return load_floats(values + channel, to);
#pragma unroll
    for (int i = 0; i < N; ++i) {
        to[i] = values[channel];
        if (++channel == channels) channel = 0;
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
void with_packs(const NormalizationProblem& p, bool aligned, F&& f) {
    if (aligned && PixelMatrix::fits(p, kPack<T>)) {
        f(std::integral_constant<int, kPack<T>>{});
    } else {
        f(std::integral_constant<int, 1>{});
    }
}

}  // namespace pyconv::cuda
