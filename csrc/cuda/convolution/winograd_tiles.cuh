// Where the tiles of Winograd's convolutions lie, and the planes that they are transformed into:
// [element of a tile][tile][channel], channels padded with zeros.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>
#include <type_traits>

#include "cuda/common/packs.cuh"
#include "cuda/convolution/winograd.h"
#include "cuda/dense/products.h"

namespace pyconv::cuda {

// One axis. With a dilation the pixels of one phase make an image of their own.
struct WinogradAxis {
    int size, outputs, pad, dilation, out;
    FastDivider tiles;  // of a phase

    WinogradAxis(std::int64_t size, std::int64_t outputs, std::int64_t pad, std::int64_t dilation,
                 int out)
        : size(static_cast<int>(size)),
          outputs(static_cast<int>(outputs)),
          pad(static_cast<int>(pad)),
          dilation(static_cast<int>(dilation)),
          out(out),
          tiles(std::max<std::int64_t>(divide_up(divide_up(outputs, dilation), out), 1)) {
        checked_int("cells of an image, its padding and a kernel's reach",
                    size + outputs + std::abs(pad) + 8 * dilation);
    }
    std::int64_t count() const { return std::int64_t{std::min(dilation, outputs)} * tiles.divisor; }

    // A tile's first pixel in the result, and in the image.
    struct Place {
        int result, image;
    };
    __device__ Place place(int tile) const {
        int at;
        const int phase = tiles.divide(tile, at);
        const int result = phase + at * out * dilation;
        return {result, result - pad};
    }
    // Of the image, or of the result.
    template <bool kResult>
    __device__ bool holds(int at) const {
        return static_cast<unsigned>(at) < static_cast<unsigned>(kResult ? outputs : size);
    }
};

struct WinogradTiles {
    WinogradAxis rows, columns;
    FastDivider down, across;
    int count;

    // Of a convolution, or of its backward data pass: that of dy with the turned weight.
    WinogradTiles(const ConvolutionProblem& p, bool backward, int out)
        : rows(backward
                   ? WinogradAxis(p.out_height, p.in_height, 2 * p.dilation_height - p.pad_top,
                                  p.dilation_height, out)
                   : WinogradAxis(p.in_height, p.out_height, p.pad_top, p.dilation_height, out)),
          columns(backward
                      ? WinogradAxis(p.out_width, p.in_width, 2 * p.dilation_width - p.pad_left,
                                     p.dilation_width, out)
                      : WinogradAxis(p.in_width, p.out_width, p.pad_left, p.dilation_width, out)),
          down(std::max<std::int64_t>(rows.count(), 1)),
          across(std::max<std::int64_t>(columns.count(), 1)),
          count(checked_int("tiles", p.batch * rows.count() * columns.count())) {}

    struct Place {
        int image;
        WinogradAxis::Place row, column;
    };
    __device__ Place place(int tile) const {
        int row, column;
        const int image = down.divide(across.divide(tile, column), row);
        return {image, rows.place(row), columns.place(column)};
    }
    __device__ std::int64_t image_pixel(int image, int row) const {
        return (static_cast<std::int64_t>(image) * rows.size + row) * columns.size;
    }
    __device__ std::int64_t result_pixel(int image, int row) const {
        return (static_cast<std::int64_t>(image) * rows.outputs + row) * columns.outputs;
    }
};

// Channels of a plane: whole sectors of 32 bytes.
inline std::int64_t winograd_padded(std::int64_t channels) { return divide_up(channels, 8) * 8; }

// Some of the tiles, and what a pack of their channels is: block (item, element along the tile).
inline constexpr int kWinogradItems = 32;
struct WinogradPart {
    int first, items;
    FastDivider packs;  // of a padded pixel
    int channels;
    std::int64_t plane;  // elements of a transformed plane

    WinogradPart(int first, int tiles, std::int64_t channels, int lanes)
        : first(first),
          packs(winograd_padded(channels) / lanes),
          channels(static_cast<int>(channels)),
          plane(tiles * winograd_padded(channels)) {
        items = checked_int("elements of a transformed plane", plane / lanes);
    }
    unsigned blocks() const { return static_cast<unsigned>(divide_up(items, kWinogradItems)); }
};

// The tiles are done in parts whose planes have winograd_bytes, by the problem alone; not in
// smaller ones than the planes of the weight, which every part reads.
template <class F>
void each_part(int tiles, int elements, std::int64_t from, std::int64_t to, F&& f) {
    const std::int64_t fit = winograd_bytes / (4 * elements * (from + to)) / 128 * 128;
    const std::int64_t longest = std::max(from, to);
    const std::int64_t counted = kMostRows / (elements * longest) / 128 * 128;
    const std::int64_t wanted = std::max(fit, divide_up(longest, 128) * 128);
    const std::int64_t most = std::max<std::int64_t>(std::min(wanted, counted), 128);
    const std::int64_t parts = divide_up(tiles, most);
    const std::int64_t each =
        divide_up(divide_up(tiles, std::max<std::int64_t>(parts, 1)), 64) * 64;
    for (std::int64_t first = 0; first < tiles; first += each) {
        f(static_cast<int>(first), static_cast<int>(std::min(each, tiles - first)));
    }
}

// f(side of a tile, side of its result), by constants.
template <class F>
void with_winograd_tile(int out, F&& f) {
    out == 2 ? f(std::integral_constant<int, 4>{}, std::integral_constant<int, 2>{})
             : f(std::integral_constant<int, 6>{}, std::integral_constant<int, 4>{});
}

inline std::string describe_winograd(const char* direction, int out, const ConvolutionProblem& p) {
    const std::string side = std::to_string(out);
    return "F(" + side + "x" + side + ", 3x3) " + direction + ", " +
           describe_images(p.batch, p.in_channels, p.in_height, p.in_width, p.out_height,
                           p.out_width) +
           ", " + std::to_string(p.out_channels) + " channels out";
}

inline float* winograd_planes(int elements, std::int64_t plane, const Allocate& allocate) {
    checked_int("elements of all transformed planes", elements * plane);
    return static_cast<float*>(
        allocate(elements * plane * static_cast<std::int64_t>(sizeof(float))));
}

// The same memory for the product of every part: work on a stream is in order.
inline Allocate reused(const Allocate& allocate) {
    return [&allocate, memory = static_cast<void*>(nullptr),
            size = std::int64_t{0}](std::int64_t bytes) mutable {
        if (bytes > size) memory = allocate(size = bytes);
        return memory;
    };
}

struct WinogradCall {
    const WinogradTiles& tiles;
    int out, first, count;  // the part
    const std::string& problem;
    cudaStream_t stream;
};
// planes = B^T d B of the image's tiles.
void winograd_image(const WinogradCall& call, const float* image, std::int64_t channels,
                    float* planes);
// planes = G dy G^T of the gradient's.
void winograd_gradient(const WinogradCall& call, const float* dy, std::int64_t channels,
                       float* planes);

// A matrix of `points` rows, as an image of one row that a product reads.
inline Window winograd_window(std::int64_t points, std::int64_t channels) {
    Window w{};
    w.height = w.grid_height = 1;
    w.width = static_cast<int>(points);
    w.pixel = static_cast<int>(channels / SimtProduct::kPiece);
    w.grid = w.grid_width = FastDivider(points);
    w.step_y = w.step_x = 1;
    w.channels = FastDivider(channels);
    return w;
}

// Products of all planes, the groups of one launch.
inline ProductTask<float> winograd_products(const std::string& problem, int elements, int rows,
                                            std::int64_t columns, std::int64_t depth, float* to,
                                            const Allocate& allocate, cudaStream_t stream) {
    Rows<float> out;
    out.data = to;
    out.rows = rows;
    out.columns = static_cast<int>(columns);
    out.grid = out.width = FastDivider(rows);
    out.pixel_step = columns;
    out.group_step = rows * columns;
    out.vectors = true;
    return {"winograd product",      problem,  out,      {},
            static_cast<int>(depth), elements, allocate, stream};
}

}  // namespace pyconv::cuda
