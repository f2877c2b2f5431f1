#include "cuda/dropout/dropout.h"

#include "bindings/cuda/array.h"

namespace pyconv::bindings {

namespace {

Order order_of_images(py::handle x) {
    const DeviceArray a(x);
    const bool contiguous = a.lies_as(dense_strides(a.shape, Order::c, a.item_size));
    return contiguous ? Order::c : order_of_images(a.shape, a.strides);
}

py::tuple dropout_binding(py::handle x, double p, std::uint64_t seed) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const Shape shape = Shape::of(x);
        const Order order = order_of_images(x);
        cuda::DropoutShape places{1, 1, shape.size()};
        if (order == Order::channels_last) {
            places = {shape[0], shape[1], shape[2] * shape[3]};
        }
        Result<T> y(shape, order, call);
        Result<bool> mask(shape, order, call);
        cuda::dropout(places, p, seed, dense<T>(x, order, call), y.data(), mask.data(),
                      call.stream());
        return py::make_tuple(y.finish(), mask.finish());
    });
}

py::object dropout_backward_binding(py::handle dy, py::handle mask, double p, py::handle out) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        const AxisOrder order = common_order({dy, mask});
        const Shape shape = Shape::of(dy);
        Result<T> dx(out, shape, order, call);
        cuda::dropout_backward(shape.size(), p, dense<T>(dy, order, call),
                               dense<bool>(mask, order, call), dx.data(), call.stream());
        return dx.finish();
    });
}

}  // namespace

void register_dropout(py::module_& module) {
    module.def("dropout", &dropout_binding);
    module.def("dropout_backward", &dropout_backward_binding);
}

}  // namespace pyconv::bindings
