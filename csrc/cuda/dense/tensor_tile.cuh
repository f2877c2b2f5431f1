// A tile of an operand, 64 bytes deep: its place in shared memory, its way there, and from there to
// the registers of a warp.
//
// Shared memory holds chunks of 16 bytes in lines: along k a line is a row's 64 bytes, along the
// rows it is one k. Within a line chunks are permuted (by an exclusive or with bits of the line),
// so that 8 lanes that write neighbouring chunks, and 8 that read chunks of 8 neighbouring lines,
// meet different banks. Tiles begin at multiples of 1024 bytes: a constant step from chunk to chunk
// is an exclusive or with the address.
#pragma once

#include "cuda/common/tensor_core.cuh"
#include "cuda/dense/products.h"

namespace pyconv::cuda {

template <class T, Along kAlong, int kExtent>
struct TensorTile {
    static constexpr int kChunk = kPack<T>, kDepth = TensorProduct<T>::kDepth;
    static constexpr int kBytes = kExtent * 64;
    static constexpr bool kAlongDepth = kAlong == Along::depth;
    static constexpr int kLineBytes = kAlongDepth ? 64 : kExtent * static_cast<int>(sizeof(T));

    __device__ static int permuted(int line, int chunk) {
        if constexpr (kAlongDepth) return chunk ^ (line / 2 & 3);
        return chunk ^ ((line & 1) << 2 | (line & 2) | (line >> 2 & 1));
    }
    // In bytes; of a chunk of a line.
    __device__ static int offset(int line, int chunk) {
        return line * kLineBytes + permuted(line, chunk) * 16;
    }
};

// Copies tiles. A thread keeps to one k, a line along the rows, or one chunk of lines along k.
template <class Source, int kExtent, int kThreads>
struct TensorCopy {
    using T = typename Source::Element;
    using Tile = TensorTile<T, Source::kAlong, kExtent>;
    static constexpr bool kAsync = Source::kPiece > 1;
    static constexpr int kCount = Tile::kBytes / 16 / kThreads;
    static constexpr int kAcross = Tile::kAlongDepth ? 4 : kThreads / Tile::kDepth;  // lanes

    typename Source::Line line[kCount];
    typename Source::Step step;
    uint4 held[kAsync ? 1 : kCount];

    int place;  // of the first chunk, in a tile

    // The lines, or the chunks of a line, of a thread are at one distance.
    static constexpr int kLineStep = Tile::kAlongDepth ? kThreads / kAcross : 0;
    static constexpr int kChunkStep = Tile::kAlongDepth ? 0 : kAcross;

    __device__ TensorCopy(const Source& source, int first_row, int k) {
        const int line_of_tile = static_cast<int>(threadIdx.x) / kAcross;
        const int chunk = static_cast<int>(threadIdx.x) % kAcross;
        place = Tile::offset(line_of_tile, chunk);
        step = source.step(k + (Tile::kAlongDepth ? chunk * Tile::kChunk : line_of_tile));
        const int row = first_row + (Tile::kAlongDepth ? line_of_tile : chunk * Tile::kChunk);
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            line[i] = source.line(row + i * (kLineStep + kChunkStep * Tile::kChunk));
        }
    }
    // Begins to copy the next tile; one that comes element by element waits in registers.
    __device__ void begin(const Source& source, SharedAddress tile) {
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            if constexpr (kAsync) {
                const Place<T> from = source.find(line[i], step);
                copy_async(to(tile, i), from.at, from.inside);
            } else {
                held[i] = gather(source, line[i]);
            }
        }
        source.advance(step);
    }
    __device__ void end(SharedAddress tile) const {
        if constexpr (!kAsync) {
#pragma unroll
            for (int i = 0; i < kCount; ++i) store_shared(to(tile, i), held[i]);
        }
    }

  private:
    __device__ SharedAddress to(SharedAddress tile, int i) const {
        static_assert(kLineStep % 8 == 0);  // lines of one permutation
        return (tile + place ^ i * kChunkStep * 16) + i * kLineStep * Tile::kLineBytes;
    }
    __device__ uint4 gather(const Source& source, const typename Source::Line& from) const {
        union {
            T element[Tile::kChunk];
            uint4 chunk;
        } piece = {};
#pragma unroll
        for (int i = 0; i < Tile::kChunk; ++i) {
            const T* const at = source.element(from, step, i);
            if (at) piece.element[i] = *at;
        }
        return piece.chunk;
    }
};

// Reads the operands of multiply_add: kCount times 16 rows of a warp, 32 bytes of k. Left: 16 rows
// as multiply_add takes them. Right: two times 8 columns, each the first and the second 16 bytes.
template <class T, Along kAlong, int kExtent, int kCount, bool kRight>
struct Fragments {
    using Tile = TensorTile<T, kAlong, kExtent>;
    static constexpr bool kScalar = !Tile::kAlongDepth && sizeof(T) == 4;  // no such ldmatrix

    unsigned value[kCount][4];

    // Fragments are made of four matrices of 8 rows and 16 bytes of k.
    __device__ static constexpr int row_of(int matrix) {
        return (kRight ? matrix / 2 : matrix % 2) * 8;
    }
    __device__ static constexpr int half_of(int matrix) { return kRight ? matrix % 2 : matrix / 2; }
    // Where a lane reads the first fragment, in a tile; first_row is a multiple of 16 kCount. The
    // others are found from there by constants.
    __device__ static int place(int first_row) {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        if constexpr (kScalar) {
            const int row = first_row + lane / 4;
            return Tile::offset(lane % 4, row / 4) + row % 4 * 4;
        }
        const int row = first_row + row_of(lane / 8), half = half_of(lane / 8);
        return Tile::kAlongDepth ? Tile::offset(row + lane % 8, half)
                                 : Tile::offset(half * 8 + lane % 8, row / 8);
    }
    __device__ void load(SharedAddress from, int part) {
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            if constexpr (kScalar) {
#pragma unroll
                for (int matrix = 0; matrix < 4; ++matrix) {
                    const int half = half_of(matrix), chunk = i * 4 + row_of(matrix) / 4;
                    value[i][matrix] = load_shared((from ^ (chunk ^ half) * 16) +
                                                   (part * 8 + half * 4) * Tile::kLineBytes);
                }
            } else if constexpr (Tile::kAlongDepth) {
                load_matrices<false>(value[i], (from ^ part * 32) + i * 16 * Tile::kLineBytes);
            } else {
                load_matrices<true>(value[i], (from ^ i * 32) + part * 16 * Tile::kLineBytes);
            }
            if constexpr (sizeof(T) == 4) {
#pragma unroll
                for (unsigned& x : value[i]) x = round_tf32(x);
            }
        }
    }
};

}  // namespace pyconv::cuda
