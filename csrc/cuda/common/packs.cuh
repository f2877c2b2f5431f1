// Channels-last images as packs of neighbouring channels: a thread makes one pack. Lanes run along
// the channels and on into the next pixels, so that few channels fill a warp, too.
#pragma once

#include <string>

#include "cuda/common/index.h"
#include "cuda/common/storage.cuh"

namespace pyconv::cuda {

inline constexpr int kPackThreads = 256;  // of a block

struct ImagePacks {
    int count = 0;                      // packs in all images
    FastDivider across, width, height;  // packs of a pixel, pixels of a row, rows of an image
    int channels = 0;

    ImagePacks(std::int64_t images, std::int64_t rows, std::int64_t columns, std::int64_t channels,
               int lanes)
        : count(checked_int("elements of the result", images * rows * columns * channels / lanes)),
          channels(static_cast<int>(channels)) {
        if (count == 0) return;
        across = FastDivider(channels / lanes);
        width = FastDivider(columns);
        height = FastDivider(rows);
    }
    unsigned blocks() const { return static_cast<unsigned>(divide_up(count, kPackThreads)); }

    struct Place {
        int image, row, column, pack;
    };
    PYCONV_HOST_DEVICE Place place(int index) const {
        Place p;
        p.image = height.divide(width.divide(across.divide(index, p.pack), p.column), p.row);
        return p;
    }
};

// For messages about a launch.
inline std::string describe_images(std::int64_t images, std::int64_t channels, std::int64_t rows,
                                   std::int64_t columns, std::int64_t out_rows,
                                   std::int64_t out_columns) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    return text(images) + "x" + text(channels) + "x" + text(rows) + "x" + text(columns) + " to " +
           text(out_rows) + "x" + text(out_columns);
}

// Whether pixels are made of packs of 16 bytes. (Arrays begin with one: see the bindings.)
template <class T>
bool in_packs(std::int64_t channels) {
    return channels % kPack<T> == 0;
}

// f(lanes), by a constant: 16 bytes of T, or one.
template <class T, class F>
void with_lanes(bool packs, F&& f) {
    packs ? f(std::integral_constant<int, kPack<T>>{}) : f(std::integral_constant<int, 1>{});
}

}  // namespace pyconv::cuda
