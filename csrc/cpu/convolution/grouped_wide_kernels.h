// The table of the micro-kernels for groups whose outputs fill one or two vectors.
//
// A vector of outputs meets no input of another group, so a tile of many pixels and one vector
// needs a broadcast for each FMA: as many loads as FMAs. Here the pixels of a tile are neighbours
// in a row, and a broadcast input serves every tap of a kernel row that reaches it.
//
// The group's channels are copied first: [chunk of channels][row][pixel][kWideChunk], padding and
// all, pixels sorted by their phase of the stride, so that the pixels of a tap are neighbours.
#pragma once

#include "core/isa.h"
#include "cpu/dense/tile.h"

namespace pyconv {

inline constexpr int kWideChunk = 16;   // channels of a pixel in the copy
inline constexpr int kMaxWideTaps = 3;  // that share an input
inline constexpr int kMaxWideVectors = 2;
inline constexpr int kMaxWidePixels = 14;

// Taps that are neighbours in the copy.
struct WideRun {
    std::int64_t in;  // from the tile's first pixel, in elements
    int taps;
    std::int32_t tap[kMaxWideTaps];
    std::int64_t y;  // the input row of output row 0
};

// What is brought into L2 before each run of a tile: `count` pieces of `bytes`.
struct WideAhead {
    const char* at;
    std::int64_t step, bytes;
    int count;
};

// Some neighbouring output pixels, all outputs of a group, or the vectors of one panel.
template <class T>
struct WideTile {
    const T* in;
    const WideRun* run;
    std::int64_t runs;
    std::int64_t chunk;  // elements from one chunk of the copy to the next
    std::int64_t depth;
    const T* weight;  // [tap][channel][vectors]
    std::int64_t weight_tap;
    T* out;
    std::int64_t out_pixel;
    int last;  // channels of the last vector
    WideAhead x_ahead, out_ahead;
};

// dw[tap][channel][lane] += the products of some rows of pixels, for some channels of a chunk and
// one vector of outputs.
template <class T>
struct WideGradient {
    const T* in;
    std::int64_t in_row;
    const T* dy;  // the first pixel of a row
    std::int64_t dy_row;
    std::int64_t rows, columns;
    std::int64_t pixel;           // kWideChunk
    T* sums[kMaxWideTaps];        // [channel][lane]
    WideAhead x_ahead, dy_ahead;  // a part with each row
};

template <class T>
struct WideKernels {
    int lanes;
    // By vectors: the most pixels of a tile, 0 where there is no instance.
    int max_pixels[kMaxWideVectors + 1];
    void (*tile[kMaxWideVectors + 1][kMaxWidePixels + 1])(const WideTile<T>&, const Epilogue<T>&);
    // By taps: the channels that one call sums.
    int gradient_channels[kMaxWideTaps + 1];
    void (*gradient[kMaxWideTaps + 1])(const WideGradient<T>&);
};

PYCONV_KERNEL_TABLE(WideKernels, wide_kernels)

}  // namespace pyconv
