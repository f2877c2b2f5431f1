// A tile of an operand, 64 bytes deep: its place in shared memory, its way there, and from there to
// the registers of a warp.
//
// Shared memory holds chunks of 16 bytes in lines: along k a line is a row's 64 bytes, along the
// rows it is one k. Within a line chunks are permuted (by an exclusive or with bits of the line),
// so that 8 lanes that write neighbouring chunks, and 8 that read chunks of 8 neighbouring lines,
// meet different banks. Tiles begin at multiples of 1024 bytes: a constant step from chunk to chunk
// is an exclusive or with the address.
#pragma once

#include <type_traits>

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

// Copies tiles in pieces: a thread keeps to one k, a line along the rows, or one chunk of lines
// along k. Its lines, or the chunks of its line, are at one distance.
template <class Source, int kExtent, int kThreads>
struct PieceCopy {
    using Tile = TensorTile<typename Source::Element, Source::kAlong, kExtent>;
    static constexpr int kCount = Tile::kBytes / 16 / kThreads;
    static constexpr int kAcross = Tile::kAlongDepth ? 4 : kThreads / Tile::kDepth;  // lanes
    static constexpr int kLineStep = Tile::kAlongDepth ? kThreads / kAcross : 0;
    static constexpr int kChunkStep = Tile::kAlongDepth ? 0 : kAcross;
    static_assert(kLineStep % 8 == 0);  // lines of one permutation

    typename Source::Line line[kCount];
    typename Source::Step step;
    int place;  // of the first chunk, in a tile

    __device__ PieceCopy(const Source& source, int first_row, int k) {
        const int first = static_cast<int>(threadIdx.x) / kAcross;
        const int chunk = static_cast<int>(threadIdx.x) % kAcross;
        place = Tile::offset(first, chunk);
        asm volatile("" : "+r"(place));
        seek(source, k);
        const int row = first_row + (Tile::kAlongDepth ? first : chunk * Tile::kChunk);
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            line[i] = source.line(row + i * (kLineStep + kChunkStep * Tile::kChunk));
        }
    }
    // The next tile begins at k.
    __device__ void seek(const Source& source, int k) {
        const int thread = static_cast<int>(threadIdx.x);
        step = source.step(
            k + (Tile::kAlongDepth ? thread % kAcross * Tile::kChunk : thread / kAcross));
    }
    __device__ void advance(const Source& source) { source.advance(step); }
    // Begins to copy the next tile.
    __device__ void begin(const Source& source, SharedAddress tile) {
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            const auto from = source.find(line[i], step);
            const SharedAddress to =
                ((tile + place) ^ (i * kChunkStep * 16)) + i * kLineStep * Tile::kLineBytes;
            copy_async<16>(to, from.at, from.inside);
        }
    }
    __device__ void end(SharedAddress) const {}
};

// Copies tiles element by element, neighbours by neighbouring lanes. 16-bit elements, for which
// there is no asynchronous copy, wait in registers from begin to end.
template <class Source, int kExtent, int kThreads>
struct ElementCopy {
    using T = typename Source::Element;
    using Tile = TensorTile<T, Source::kAlong, kExtent>;
    static constexpr int kAcross = Tile::kAlongDepth ? Tile::kDepth : kExtent;  // lanes
    static constexpr int kStep = kThreads / kAcross;
    static constexpr int kCount = (Tile::kAlongDepth ? kExtent : Tile::kDepth) / kStep;
    static constexpr bool kAsync = sizeof(T) == 4;

    typename Source::Line line[Tile::kAlongDepth ? kCount : 1];
    typename Source::Step step;  // along the rows every line has its own, found anew
    int k;
    T held[kAsync ? 1 : kCount];

    __device__ static int first() { return static_cast<int>(threadIdx.x) / kAcross; }
    __device__ static int across() { return static_cast<int>(threadIdx.x) % kAcross; }

    __device__ ElementCopy(const Source& source, int first_row, int first_k) {
        if constexpr (Tile::kAlongDepth) {
            k = first_k + across();
#pragma unroll
            for (int i = 0; i < kCount; ++i) {
                line[i] = source.line(first_row + first() + i * kStep);
            }
        } else {
            k = first_k + first();
            line[0] = source.line(first_row + across());
        }
        step = source.step(k);
    }
    __device__ void begin(const Source& source, SharedAddress tile) {
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            if (!Tile::kAlongDepth && i > 0) step = source.step(k + i * kStep);
            const auto from = source.find(line[Tile::kAlongDepth ? i : 0], step);
            if constexpr (kAsync) {
                copy_async<4>(tile + place(i), from.at, from.inside);
            } else {
                held[i] = from.inside ? *from.at : T{};
            }
        }
    }
    __device__ void advance(const Source& source) {
        k += Tile::kDepth;
        step = source.step(k);
    }
    __device__ void end(SharedAddress tile) const {
        if constexpr (!kAsync) {
#pragma unroll
            for (int i = 0; i < kCount; ++i) store_shared(tile + place(i), held[i]);
        }
    }

  private:
    __device__ static int place(int i) {
        return Tile::offset(first() + i * kStep, across() / Tile::kChunk) +
               across() % Tile::kChunk * static_cast<int>(sizeof(T));
    }
};

template <class Source, int kExtent, int kThreads>
using TensorCopy = std::conditional_t<(Source::kPiece > 1), PieceCopy<Source, kExtent, kThreads>,
                                      ElementCopy<Source, kExtent, kThreads>>;

// Reads the operands of multiply_add: fragments of 16 rows, 32 bytes of k. Left: 16 rows as it
// takes them. Right: two times 8 columns, each the first and the second 16 bytes.
template <class T, Along kAlong, int kExtent, bool kRight>
struct Fragments {
    using Tile = TensorTile<T, kAlong, kExtent>;
    static constexpr bool kScalar = !Tile::kAlongDepth && sizeof(T) == 4;  // no such ldmatrix

    // Fragments are made of four matrices of 8 rows and 16 bytes of k.
    __device__ static constexpr int row_of(int matrix) {
        return (kRight ? matrix / 2 : matrix % 2) * 8;
    }
    __device__ static constexpr int half_of(int matrix) { return kRight ? matrix % 2 : matrix / 2; }
    // Where a lane reads the first fragment of a warp, in a tile; `first_row` is a multiple of the
    // warp's rows. The others are found from there by constants.
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
    // Fragment i, from the first or the second 32 bytes of the tile.
    __device__ static void load(unsigned (&to)[4], SharedAddress from, int i, int part) {
        if constexpr (kScalar) {
#pragma unroll
            for (int matrix = 0; matrix < 4; ++matrix) {
                const int half = half_of(matrix), chunk = i * 4 + row_of(matrix) / 4;
                to[matrix] = load_shared((from ^ (chunk ^ half) * 16) +
                                         (part * 8 + half * 4) * Tile::kLineBytes);
            }
        } else if constexpr (Tile::kAlongDepth) {
            load_matrices<false>(to, (from ^ part * 32) + i * 16 * Tile::kLineBytes);
        } else {
            load_matrices<true>(to, (from ^ i * 32) + part * 16 * Tile::kLineBytes);
        }
    }
};

// What multiply_add takes, some time after the load.
template <class T>
__device__ inline void round_fragment(unsigned (&x)[4]) {
    if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (unsigned& bits : x) bits = round_tf32(bits);
    }
}

}  // namespace pyconv::cuda
