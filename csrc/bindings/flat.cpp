#include "bindings/flat.h"

#include <cstdlib>

namespace pyconv::bindings {

AxisOrder order_of(py::handle array) {
    PyArrayObject* a = as_array(array);
    AxisOrder order;
    order.rank = PyArray_NDIM(a);
    std::array<std::int64_t, 4> stride{};
    for (int axis = 0; axis < order.rank; ++axis) {
        stride[axis] = PyArray_DIM(a, axis) == 1 ? INT64_MAX : std::abs(PyArray_STRIDE(a, axis));
    }
    for (int i = 1; i < order.rank; ++i) {
        const int axis = order.axis[i];
        int j = i;
        for (; j > 0 && stride[order.axis[j - 1]] < stride[axis]; --j) {
            order.axis[j] = order.axis[j - 1];
        }
        order.axis[j] = axis;
    }
    return order;
}

AxisOrder common_order(std::initializer_list<py::handle> arrays) {
    for (const py::handle array : arrays) {
        const AxisOrder order = order_of(array);
        const std::int64_t item_size = PyArray_ITEMSIZE(as_array(array));
        if (lies_dense(array, flat_strides(Shape::of(array), order, item_size))) return order;
    }
    return order_of(*arrays.begin());
}

Strided flat_strides(const Shape& shape, const AxisOrder& order, std::int64_t item_size) {
    Strided layout;
    std::int64_t stride = item_size;
    for (int i = order.rank - 1; i >= 0; --i) {
        const int axis = order.axis[i];
        layout.shape[axis] = shape[axis];
        layout.stride[axis] = stride;
        stride *= shape[axis] > 0 ? shape[axis] : 1;
    }
    return layout;
}

const void* flat_bytes(py::handle array, const AxisOrder& order, Scratch& scratch) {
    PyArrayObject* a = as_array(array);
    const std::int64_t item_size = PyArray_ITEMSIZE(a);
    const Shape shape = Shape::of(array);
    const Strided wanted = flat_strides(shape, order, item_size);
    if (lies_dense(array, wanted)) return PyArray_DATA(a);
    void* memory = scratch.bytes(static_cast<std::size_t>(shape.size() * item_size));
    copy_elements(item_size, strides_of(array), PyArray_BYTES(a), wanted,
                  static_cast<char*>(memory));
    return memory;
}

}  // namespace pyconv::bindings
