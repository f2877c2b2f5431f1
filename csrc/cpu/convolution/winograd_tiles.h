// Where Winograd's tiles lie in the image and in the result, and in memory once transformed.
#pragma once

#include <algorithm>

#include "cpu/convolution/winograd.h"

namespace pyconv {

// Rows and planes of what the matrix products read begin in different sets of the caches.
inline constexpr std::int64_t kWinogradGap = 16;
constexpr std::int64_t winograd_pitch(std::int64_t channels) {
    const std::int64_t rounded = (channels + 15) / 16 * 16;
    return rounded % 256 == 0 ? rounded + kWinogradGap : rounded;
}

// The first output of a tile; the others are at the steps of the dilation.
struct WinogradPlace {
    std::int64_t image, y, x;
};
// Its outputs in an image of out_channels.
struct WinogradRect {
    std::int64_t offset, row, pixel;
    int rows, columns;  // those that exist
};

template <class T>
class WinogradTiles {
  public:
    explicit WinogradTiles(const WinogradProblem<T>& problem)
        : p_(problem),
          out_(kWinogradVariants[problem.variant].out),
          tile_(kWinogradVariants[problem.variant].tile()),
          rows_(winograd_tiles(p_.out_height, p_.dilation_height, out_)),
          columns_(winograd_tiles(p_.out_width, p_.dilation_width, out_)) {}

    std::int64_t count() const { return p_.tiles(out_); }

    WinogradPlace place(std::int64_t tile) const {
        const std::int64_t x = tile % columns_;
        tile /= columns_;
        const std::int64_t y = tile % rows_;
        tile /= rows_;
        const std::int64_t phase_x = tile % p_.dilation_width;
        tile /= p_.dilation_width;
        const std::int64_t phase_y = tile % p_.dilation_height;
        return {tile / p_.dilation_height, y * out_ * p_.dilation_height + phase_y,
                x * out_ * p_.dilation_width + phase_x};
    }

    // The image's pixels under a tile.
    WinogradInput<T> input(const WinogradPlace& at, const T* image, T* out,
                           std::int64_t plane) const {
        const std::int64_t y = at.y - p_.pad_top;
        const std::int64_t x = at.x - p_.pad_left;
        const Range rows = inside(y, p_.dilation_height, p_.in_height, tile_);
        const Range columns = inside(x, p_.dilation_width, p_.in_width, tile_);
        return {image + ((at.image * p_.in_height + y) * p_.in_width + x) * p_.in_channels,
                p_.dilation_height * p_.in_width * p_.in_channels,
                p_.dilation_width * p_.in_channels,
                rows.begin,
                rows.end,
                columns.begin,
                columns.end,
                p_.in_channels,
                out,
                plane};
    }

    WinogradRect output(const WinogradPlace& at) const {
        return {((at.image * p_.out_height + at.y) * p_.out_width + at.x) * p_.out_channels,
                p_.dilation_height * p_.out_width * p_.out_channels,
                p_.dilation_width * p_.out_channels,
                inside(at.y, p_.dilation_height, p_.out_height, out_).end,
                inside(at.x, p_.dilation_width, p_.out_width, out_).end};
    }

  private:
    struct Range {
        int begin, end;
    };
    // Of the positions start, start + step, ..., `most` of them, those inside [0, size).
    static Range inside(std::int64_t start, std::int64_t step, std::int64_t size, int most) {
        const std::int64_t begin =
            std::clamp<std::int64_t>(start >= 0 ? 0 : (-start + step - 1) / step, 0, most);
        const std::int64_t end = std::clamp<std::int64_t>(
            start >= size ? 0 : (size - 1 - start) / step + 1, begin, most);
        return {static_cast<int>(begin), static_cast<int>(end)};
    }

    WinogradProblem<T> p_;
    int out_, tile_;
    std::int64_t rows_, columns_;
};

}  // namespace pyconv
