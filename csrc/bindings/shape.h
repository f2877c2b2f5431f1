// Shapes of arrays, and the orders in which results lie; for both backends.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <initializer_list>

namespace pyconv::bindings {

namespace py = pybind11;

enum class Order {
    c,             // the last axis is fastest
    channels_last  // axis 1 is fastest: N, H, W, C in memory for the logical shape N, C, H, W
};

struct Shape {
    int rank = 0;
    std::array<std::int64_t, 4> extent{1, 1, 1, 1};

    Shape() = default;
    Shape(std::initializer_list<std::int64_t> extents);
    static Shape of(py::handle array);  // of the backend's arrays
    static Shape of_tuple(py::handle tuple);
    std::int64_t operator[](int axis) const { return extent[axis]; }
    std::int64_t size() const { return extent[0] * extent[1] * extent[2] * extent[3]; }
};

inline Shape::Shape(std::initializer_list<std::int64_t> extents)
    : rank(static_cast<int>(extents.size())) {
    int axis = 0;
    for (const std::int64_t n : extents) extent[axis++] = n;
}

inline Shape Shape::of_tuple(py::handle tuple) {
    Shape shape;
    shape.rank = static_cast<int>(PyTuple_GET_SIZE(tuple.ptr()));
    for (int axis = 0; axis < shape.rank; ++axis) {
        shape.extent[axis] = PyLong_AsLongLong(PyTuple_GET_ITEM(tuple.ptr(), axis));
    }
    return shape;
}

}  // namespace pyconv::bindings
