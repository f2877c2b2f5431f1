#include "cpu/dropout/dropout.h"

#include "bindings/flat.h"

namespace pyconv::bindings {

namespace {

Order order_of_images(py::handle x) {
    const Shape shape = Shape::of(x);
    const Strided contiguous = dense_strides(shape, Order::c, PyArray_ITEMSIZE(as_array(x)));
    return lies_dense(x, contiguous) ? Order::c : order_of_images(shape, strides_of(x).stride);
}

py::tuple dropout_binding(py::handle x, double p, std::uint64_t seed) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const Shape shape = Shape::of(x);
        const Order order = order_of_images(x);
        DropoutShape places{1, 1, shape.size()};
        if (order == Order::channels_last) {
            places = {shape[0], shape[1], shape[2] * shape[3]};
        }
        const T* input = dense<T>(x, order, scratch);
        Result<T> y(shape, order, scratch);
        Result<bool> mask(shape, order, scratch);
        {
            Running running;
            dropout(current_isa(), places, p, seed, input, y.data(), mask.data());
        }
        return py::make_tuple(y.finish(), mask.finish());
    });
}

py::object dropout_backward_binding(py::handle dy, py::handle mask, double p, py::handle out) {
    return with_float(dy, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const Shape shape = Shape::of(dy);
        const AxisOrder order = common_order({dy, mask});
        const T* gradient = dense<T>(dy, order, scratch);
        const bool* kept = dense<bool>(mask, order, scratch);
        FlatResult<T> dx(out, shape, order, scratch);
        {
            Running running;
            dropout_backward(current_isa(), shape.size(), p, gradient, kept, dx.data());
        }
        return dx.finish();
    });
}

}  // namespace

void register_dropout(py::module_& module) {
    module.def("dropout", &dropout_binding);
    module.def("dropout_backward", &dropout_backward_binding);
}

}  // namespace pyconv::bindings
