// The tiles and steps of a product on compute capability 9.0, and how a block walks through them.
#pragma once

#include "cuda/common/index.h"
#include "cuda/dense/hopper_plan.h"

namespace pyconv::cuda {

// The grid of pixels is cut into boxes. Where sums go over taps and channels, a box is a tile's
// rows and a step a slice of the channels of a tap; where they go over pixels, a box is a step, and
// the rows are taps and channels.
struct HopperWalk {
    int tiles, down, across;  // of all parts; along the rows and columns of the result
    int steps, part_steps;    // along k
    int slices;               // of the channels of a tap
    int taps_across, channels;
    int grid_width, grid_height, images;
    FastDivider boxes_across, boxes_down;  // of the grid
    FastDivider box_width, box_height;
    int box_images, box_pixels;
    int origin_x, origin_y, step_x, step_y, tap_step_x, tap_step_y;

    struct Tile {
        int part, row, column;  // counted in tiles
        int first_step, end;    // of its part
    };
    // Bands of eight tiles along the rows, so that blocks at work at one time share operands.
    PYCONV_HOST_DEVICE Tile tile(int index) const {
        constexpr int kBand = 8;
        Tile t;
        const int plane = down * across;
        t.part = index / plane;
        index -= t.part * plane;
        const int band = index / (kBand * across);
        const int left = down - band * kBand;
        const int rows = left < kBand ? left : kBand;
        index -= band * kBand * across;
        t.column = index / rows;
        t.row = band * kBand + index % rows;
        t.first_step = t.part * part_steps;
        t.end = t.first_step + part_steps < steps ? t.first_step + part_steps : steps;
        return t;
    }
    struct Pixel {
        int x, y, image;  // of the grid
    };
    // Where a box begins.
    PYCONV_HOST_DEVICE Pixel box(int index) const {
        Pixel p;
        int column, row;
        row = boxes_across.divide(index, column);
        p.image = boxes_down.divide(row, row) * box_images;
        p.x = column * static_cast<int>(box_width.divisor);
        p.y = row * static_cast<int>(box_height.divisor);
        return p;
    }
    // A pixel's row in the result, negative where the line of a box is none.
    PYCONV_HOST_DEVICE int row_of(const Pixel& box, int line) const {
        int x, y;
        const int image = box.image + box_height.divide(box_width.divide(line, x), y);
        x += box.x;
        y += box.y;
        const bool inside =
            line < box_pixels && x < grid_width && y < grid_height && image < images;
        return inside ? (image * grid_height + y) * grid_width + x : -1;
    }
    // Where the image is seen from a pixel of the grid, by the first tap.
    PYCONV_HOST_DEVICE int seen_x(const Pixel& p) const { return origin_x + p.x * step_x; }
    PYCONV_HOST_DEVICE int seen_y(const Pixel& p) const { return origin_y + p.y * step_y; }
};

// Stages in turn: `phase` is that of the barriers of `index`.
template <int kStages>
struct Ring {
    int index = 0;
    unsigned phase = 0;
    PYCONV_HOST_DEVICE void advance() {
        if (++index < kStages) return;
        index = 0;
        phase ^= 1;
    }
};

}  // namespace pyconv::cuda
