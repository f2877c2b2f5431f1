#include "cuda/activation/activation.h"

#include "bindings/cuda/array.h"
#include "bindings/softmax.h"

namespace pyconv::bindings {

namespace {

py::object forward_binding(int activation, py::handle x, double slope, py::handle out) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const AxisOrder order = common_order({x});
        const Shape shape = Shape::of(x);
        Result<T> y(out, shape, order, call);
        cuda::activation_forward(static_cast<Activation>(activation), dense<T>(x, order, call),
                                 y.data(), shape.size(), static_cast<float>(slope), call.stream());
        return y.finish();
    });
}

py::object backward_binding(int activation, py::handle dy, py::handle x, double slope,
                            py::handle out) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const AxisOrder order = common_order({x, dy});
        const Shape shape = Shape::of(x);
        Result<T> dx(out, shape, order, call);
        cuda::activation_backward(static_cast<Activation>(activation), dense<T>(dy, order, call),
                                  dense<T>(x, order, call), dx.data(), shape.size(),
                                  static_cast<float>(slope), call.stream());
        return dx.finish();
    });
}

py::object softmax_binding(bool logarithm, py::handle x, int axis, py::handle out) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const AxisOrder order = common_order({x});
        const Shape shape = Shape::of(x);
        Result<T> y(out, shape, order, call);
        cuda::softmax(logarithm, softmax_shape(shape, order, axis), dense<T>(x, order, call),
                      y.data(), call.stream());
        return y.finish();
    });
}

py::object softmax_backward_binding(bool logarithm, py::handle dy, py::handle y, int axis,
                                    py::handle out) {
    return with_storage(y, [&](auto zero) {
        using T = decltype(zero);
        Call call(y);
        const AxisOrder order = common_order({y, dy});
        const Shape shape = Shape::of(y);
        Result<T> dx(out, shape, order, call);
        cuda::softmax_backward(logarithm, softmax_shape(shape, order, axis),
                               dense<T>(dy, order, call), dense<T>(y, order, call), dx.data(),
                               call.stream());
        return dx.finish();
    });
}

}  // namespace

void register_activation(py::module_& module) {
    module.def("activation", &forward_binding);
    module.def("activation_backward", &backward_binding);
    module.def("softmax", &softmax_binding);
    module.def("softmax_backward", &softmax_backward_binding);
}

}  // namespace pyconv::bindings
