// Images N x C x H x W, or sequences N x C x L as images of one row.
#pragma once

#include "bindings/shape.h"

namespace pyconv::bindings {

struct Images {
    std::int64_t count, channels, height, width;
    bool sequences;

    explicit Images(const Shape& shape)
        : count(shape[0]),
          channels(shape[1]),
          height(shape.rank == 4 ? shape[2] : 1),
          width(shape.rank == 4 ? shape[3] : shape[2]),
          sequences(shape.rank == 3) {}
    // As many images of another size.
    Shape resized(std::int64_t rows, std::int64_t columns) const {
        if (sequences) return {count, channels, columns};
        return {count, channels, rows, columns};
    }
};

}  // namespace pyconv::bindings
