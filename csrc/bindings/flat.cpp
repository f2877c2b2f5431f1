#include "bindings/flat.h"

namespace pyconv::bindings {

AxisOrder order_of(py::handle array) {
    return axes_by_strides(Shape::of(array), PyArray_STRIDES(as_array(array)));
}

AxisOrder common_order(std::initializer_list<py::handle> arrays) {
    for (const py::handle array : arrays) {
        const AxisOrder order = order_of(array);
        const std::int64_t item_size = PyArray_ITEMSIZE(as_array(array));
        if (lies_dense(array, dense_strides(Shape::of(array), order, item_size))) return order;
    }
    return order_of(*arrays.begin());
}

}  // namespace pyconv::bindings
