// The table of the micro-kernels for groups of few channels.
//
// A group of Gi input and Go output channels is cut into squares of G = gcd(Gi, Go) channels, a of
// them along the input, b along the output. It takes a * b * G lanes: lane (A, B, r) multiplies
// input A * G + r, and rotation d of it adds to output B * G + (r + d) % G. So G sums hold the
// whole groups of a vector without waste, inputs are read as they lie, and only the sums are
// turned, once, at the end.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "cpu/dense/tile.h"

namespace pyconv {

inline constexpr int kMaxGroupSide = 8;      // G
inline constexpr int kMaxGroupPixels = 12;   // output pixels of a tile
inline constexpr int kMaxGroupLanes = 16;    // of any vector, and a * b * G
inline constexpr int kMaxGradientTaps = 9;   // that one call sums
inline constexpr int kMaxGradientTurns = 2;  // rotations that one call sums

// The lanes of a vector.
struct GroupLanes {
    int side = 0;                                               // G
    int squares_in = 1;                                         // a
    int groups = 0;                                             // whole groups
    int in = 0, out = 0;                                        // their channels
    bool expands = false;                                       // b > 1
    std::int32_t expand[kMaxGroupLanes] = {};                   // input of a lane
    std::int32_t turn[3][kMaxGroupLanes] = {};                  // the lane 1, 2, 4 before a lane
    std::int32_t collect[kMaxGroupLanes][kMaxGroupLanes] = {};  // by A: lane of an output
    std::int32_t spread[kMaxGroupSide][kMaxGroupLanes] = {};    // by rotation: output of a lane
};

// Some output pixels, some vectors of channels.
template <class T>
struct GroupedTile {
    const GroupLanes* lanes;
    const T* const* in;  // [tap][in_tap]: where a pixel's channels begin
    std::int64_t in_tap;
    const std::int32_t* tap;  // which taps of the weight take part
    int taps;
    const T* weight;  // [vector][tap][rotation][lane]
    std::int64_t weight_vector;
    T* out;
    std::int64_t out_pixel;
    std::int64_t first, end;  // vectors
    std::int64_t in_channels, out_channels;
};

// A rectangle of output pixels, one vector of channels, some taps and rotations.
template <class T>
struct GroupedGradient {
    const GroupLanes* lanes;
    const T* const* in;  // by tap: the input pixel of the first output
    std::int64_t in_pixel, in_row;
    const T* dy;
    std::int64_t dy_pixel, dy_row;
    std::int64_t rows, columns;
    int first_turn;
    T* const* sums;           // by tap, [rotation][lane]: added to
    int in_lanes, out_lanes;  // that may be read
    Ahead x_ahead, dy_ahead;  // a step a pixel
};

template <class T>
struct GroupedKernels {
    int lanes;
    // By the square's side: the most output pixels of a tile, 0 where there is no instance.
    int max_pixels[kMaxGroupSide + 1];
    // By whether inputs are spread over more lanes, the square's side, and the pixels.
    void (*tile[2][kMaxGroupSide + 1][kMaxGroupPixels + 1])(const GroupedTile<T>&,
                                                            const Epilogue<T>&);
    int max_turns;
    // By whether inputs are spread, rotations and taps.
    void (*gradient[2][kMaxGradientTurns + 1][kMaxGradientTaps + 1])(const GroupedGradient<T>&);
};

PYCONV_KERNEL_TABLE(GroupedKernels, grouped_kernels)

}  // namespace pyconv
