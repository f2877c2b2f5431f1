// The table of the depthwise micro-kernels. (Other convolutions end in the dense family's tiles.)
#pragma once

#include "core/isa.h"
#include "cpu/dense/tile.h"

namespace pyconv {

// Depthwise windows of this size have instances of their own.
inline constexpr int kMaxDepthwiseRows = 2;

// One or two rows of outputs whose windows lie wholly inside the row, all channels.
template <class T>
struct DepthwiseRows {
    const T* const* in;     // kernel_height + stride * (rows - 1) input rows, at the first window
    std::int64_t in_pixel;  // elements from one input pixel to the next
    const T* weight;        // [tap][weight_step]
    std::int64_t weight_step;
    T* const* out;  // rows
    std::int64_t out_pixel;
    std::int64_t count;  // outputs in a row
    std::int64_t channels;
    std::int64_t chunk;  // whole vectors of channels: those of a row, then the next ones
    const T* bias;       // may be null
    Activation activation;
    T slope;
    bool past_caches;  // the results are whole lines
    // What the next rows read (see depthwise_lines) and write (a line an output), or null.
    const char* ahead;
    const char* out_ahead;
};

// One output pixel, all channels: taps by pointers.
template <class T>
struct DepthwisePixel {
    const T* const* in;
    const T* const* weight;
    int taps;
    std::int64_t channels;
    T* out;
    const T* bias;
    Activation activation;
    T slope;
};

// Backward data with stride 2, all channels. Each dy pixel and the ones before it give a block of
// 2 x 2 inputs: tap (r, s) leads from dy (m - r / 2, k - s / 2) to the block's (r % 2, s % 2).
template <class T>
struct DepthwiseSpread {
    const T* const* in;  // dy rows m, m - 1, ..., at the first k; pixels are `channels` apart
    const T* weight;     // [tap][weight_step]
    std::int64_t weight_step;
    T* const* out;       // two rows, at the block of the first k
    std::int64_t count;  // blocks
    std::int64_t channels;
    const T* bias;  // may be null
    Activation activation;
    T slope;
    bool past_caches;  // the results are whole lines
    Ahead ahead;       // what the next row reads, a step a block
};

// The weight gradient of some neighbouring rows of outputs, for one vector of channels: adds to
// dw[tap]. Windows of the columns outside [begin, end) reach beyond the image.
template <class T>
struct DepthwiseGradient {
    const T* const* in;  // the input rows of the first window, then those of the next ones
    std::int64_t in_pixel, in_width, pad_left;
    const T* dy;
    std::int64_t dy_pixel, dy_row;
    T* dw;  // [tap][dw_step]
    std::int64_t dw_step;
    std::int64_t rows, columns, begin, end;
    int lanes;
    Ahead x_ahead, dy_ahead;  // the stride's square of steps an output, and one
};

template <class T>
struct DepthwiseKernels {
    int lanes;
    // By kernel size (3 or 5), stride (1 or 2) and rows (1 or 2).
    void (*rows[6][3][kMaxDepthwiseRows + 1])(const DepthwiseRows<T>&);
    void (*pixel)(const DepthwisePixel<T>&);
    // By kernel size.
    void (*spread[6])(const DepthwiseSpread<T>&);
    // By kernel size and stride, as above.
    void (*gradient[6][3])(const DepthwiseGradient<T>&);
    // dw[t][c] += dy[c] * in[t][c] for the taps of one pixel, all channels.
    void (*gradient_pixel)(const T* const* in, T* const* dw, int taps, const T* dy,
                           std::int64_t channels);
};

PYCONV_KERNEL_TABLE(DepthwiseKernels, depthwise_kernels)

// Winograd's transforms, one tile of kTile x kTile, all channels. Planes are `plane` elements
// apart; plane i * kTile + j holds entry (i, j) of the tiles.
template <class T>
struct WinogradInput {
    const T* in;                   // the tile's first pixel (not to be read where it lies outside)
    std::int64_t row, pixel;       // elements from one of the tile's rows and columns to the next
    int top, bottom, left, right;  // the rows and columns that lie inside the image
    std::int64_t channels;
    T* out;  // whole vectors are written
    std::int64_t plane;
};

template <class T>
struct WinogradOutput {
    const T* in;
    std::int64_t plane;
    T* out;
    std::int64_t row, pixel;
    int rows, columns;  // of the outputs, those that exist
    std::int64_t channels;
    const Epilogue<T>* epilogue;  // bias, residual, activation
};

inline constexpr int kMaxWinogradTaps = 25;

template <class T>
struct WinogradFilter {
    const T* in[kMaxWinogradTaps];  // each tap: `rows` rows of `columns`, whole vectors
    std::int64_t step;              // elements from one row to the next
    std::int64_t rows, columns;
    bool turned;  // by 180 degrees
    T* out;       // rows lie without gaps
    std::int64_t plane;
};

// F(out x out, kernel x kernel).
struct WinogradVariant {
    int out, kernel;
    constexpr int tile() const { return out + kernel - 1; }
};
inline constexpr WinogradVariant kWinogradVariants[] = {{2, 3}, {4, 3}, {6, 3}, {2, 5}, {4, 5}};
inline constexpr int kWinogradVariantCount = 5;

template <class T>
struct WinogradKernels {
    struct Entry {
        void (*input)(const WinogradInput<T>&);
        void (*output)(const WinogradOutput<T>&);
        void (*filter)(const WinogradFilter<T>&);
        // Of the weight gradient: a tile of dy (of out x out pixels), and the result, the weights
        // of one input channel at `row` and `pixel` from one to the next; no epilogue.
        void (*gradient_tile)(const WinogradInput<T>&);
        void (*gradient_result)(const WinogradOutput<T>&);
    };
    Entry variants[kWinogradVariantCount];  // as in kWinogradVariants
};

PYCONV_KERNEL_TABLE(WinogradKernels, winograd_kernels)

// Few channels on both sides, vectors along the pixels.
inline constexpr int kMaxFewOutputs = 8;
inline constexpr int kMaxFewOutputsLanes = 16;

// Some rows of outputs, all channels; vectors read up to one of them beyond a row.
template <class T>
struct FewOutputsRows {
    const T* const* in;  // by tap and channel: the pixel of the first output of row 0
    std::int64_t taps;   // and channels
    std::int64_t in_row;
    const T* weight;  // [taps][outputs]
    T* out;           // of row 0, pixel by pixel, rows without a gap
    std::int64_t pixels;
    std::int64_t begin, end;  // rows
    const T* bias;            // may be null
    Activation activation;
    T slope;
};

// The weight gradient of a rectangle of pixels; what dy has beyond a row is zero.
template <class T>
struct FewOutputsGradient {
    const T* const* in;
    std::int64_t taps, in_row;
    const T* dy;
    std::int64_t dy_plane, dy_row, rows, columns;  // whole vectors
    T* dw;                                         // [taps][outputs], added to
};

template <class T>
struct FewOutputsKernels {
    int lanes;
    // By output channels.
    int vectors[kMaxFewOutputs + 1];  // of pixels that `rows` computes at a time
    void (*rows[kMaxFewOutputs + 1])(const FewOutputsRows<T>&);
    void (*gradient[kMaxFewOutputs + 1])(const FewOutputsGradient<T>&);
};

PYCONV_KERNEL_TABLE(FewOutputsKernels, few_outputs_kernels)

}  // namespace pyconv
