// Shapes of arrays, and the orders in which results lie; for both backends.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <cstdlib>
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

// The axes from slowest to fastest.
struct AxisOrder {
    int rank = 0;
    std::array<int, 4> axis{0, 1, 2, 3};
};

inline AxisOrder axis_order(int rank, Order order) {
    AxisOrder result{rank};
    if (order == Order::channels_last && rank >= 2) {
        for (int i = 1; i + 1 < rank; ++i) result.axis[i] = i + 1;
        result.axis[rank - 1] = 1;
    }
    return result;
}

// By falling strides; axes of length 1 come first.
template <class Strides>
AxisOrder axes_by_strides(const Shape& shape, const Strides& strides) {
    AxisOrder order{shape.rank};
    const auto step = [&](int axis) {
        return shape[axis] == 1 ? INT64_MAX : std::abs(static_cast<std::int64_t>(strides[axis]));
    };
    for (int i = 1; i < order.rank; ++i) {
        const int axis = order.axis[i];
        int j = i;
        for (; j > 0 && step(order.axis[j - 1]) < step(axis); --j) {
            order.axis[j] = order.axis[j - 1];
        }
        order.axis[j] = axis;
    }
    return order;
}

// An image whose fastest axis are the channels stays channels-last.
template <class Strides>
Order order_of_images(const Shape& shape, const Strides& strides) {
    if (shape.rank < 3) return Order::c;
    const AxisOrder order = axes_by_strides(shape, strides);
    return order.axis[shape.rank - 1] == 1 ? Order::channels_last : Order::c;
}

// Strides in bytes of a dense array; those of axes beyond its rank are 0.
inline std::array<std::int64_t, 4> strides_in(const Shape& shape, const AxisOrder& order,
                                              std::int64_t item_size) {
    std::array<std::int64_t, 4> strides{};
    std::int64_t step = item_size;
    for (int i = order.rank - 1; i >= 0; --i) {
        const int axis = order.axis[i];
        strides[axis] = step;
        step *= shape[axis] > 0 ? shape[axis] : 1;
    }
    return strides;
}

}  // namespace pyconv::bindings
