// Images N x C x H x W, or sequences N x C x L as images of one row.
#pragma once

#include "bindings/array.h"

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
    // From a tuple of ints.
    static Shape shape_of(py::handle tuple) {
        Shape shape;
        shape.rank = static_cast<int>(PyTuple_GET_SIZE(tuple.ptr()));
        for (int axis = 0; axis < shape.rank; ++axis) {
            shape.extent[axis] = PyLong_AsLongLong(PyTuple_GET_ITEM(tuple.ptr(), axis));
        }
        return shape;
    }
    // As many images of another size.
    Shape resized(std::int64_t rows, std::int64_t columns) const {
        if (sequences) return {count, channels, columns};
        return {count, channels, rows, columns};
    }
};

}  // namespace pyconv::bindings
