#include "cpu/activation/activation.h"

#include "bindings/flat.h"
#include "bindings/softmax.h"

namespace pyconv::bindings {

namespace {

py::object forward_binding(int activation, py::handle x, double slope, py::handle out) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const AxisOrder order = order_of(x);
        const Shape shape = Shape::of(x);
        const T* input = dense<T>(x, order, scratch);
        FlatResult<T> result(out, shape, order, scratch);
        {
            Running running;
            activation_forward(current_isa(), static_cast<Activation>(activation), input,
                               result.data(), shape.size(), static_cast<T>(slope));
        }
        return result.finish();
    });
}

py::object backward_binding(int activation, py::handle dy, py::handle x, double slope,
                            py::handle out) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const AxisOrder order = common_order({x, dy});
        const Shape shape = Shape::of(x);
        const T* input = dense<T>(x, order, scratch);
        const T* gradient = dense<T>(dy, order, scratch);
        FlatResult<T> result(out, shape, order, scratch);
        {
            Running running;
            activation_backward(current_isa(), static_cast<Activation>(activation), gradient, input,
                                result.data(), shape.size(), static_cast<T>(slope));
        }
        return result.finish();
    });
}

py::object softmax_binding(bool logarithm, py::handle x, int axis, py::handle out) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const AxisOrder order = order_of(x);
        const Shape shape = Shape::of(x);
        const T* input = dense<T>(x, order, scratch);
        FlatResult<T> result(out, shape, order, scratch);
        {
            Running running;
            softmax(current_isa(), logarithm, softmax_shape(shape, order, axis), input,
                    result.data());
        }
        return result.finish();
    });
}

py::object softmax_backward_binding(bool logarithm, py::handle dy, py::handle y, int axis,
                                    py::handle out) {
    return with_float(y, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const AxisOrder order = common_order({y, dy});
        const Shape shape = Shape::of(y);
        const T* probabilities = dense<T>(y, order, scratch);
        const T* gradient = dense<T>(dy, order, scratch);
        FlatResult<T> result(out, shape, order, scratch);
        {
            Running running;
            softmax_backward(current_isa(), logarithm, softmax_shape(shape, order, axis), gradient,
                             probabilities, result.data());
        }
        return result.finish();
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
