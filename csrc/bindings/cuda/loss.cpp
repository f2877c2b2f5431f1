#include "cuda/loss/loss.h"

#include "bindings/cuda/array.h"

namespace pyconv::bindings {

namespace {

// The loss is an array of float32 without axes: nothing waits for it.
py::tuple cross_entropy_binding(py::handle logits, py::handle targets) {
    return with_storage(logits, [&](auto zero) {
        using T = decltype(zero);
        Call call(logits);
        const Shape shape = Shape::of(logits);
        Result<T> probabilities(shape, Order::c, call);
        Result<float> loss({}, Order::c, call);
        cuda::cross_entropy(dense<T>(logits, Order::c, call),
                            dense<std::int64_t>(targets, Order::c, call), shape[0], shape[1],
                            probabilities.data(), loss.data(), call.allocator(), call.stream());
        return py::make_tuple(loss.finish(), probabilities.finish());
    });
}

// d_loss is a number, or an array of float32 without axes.
py::object cross_entropy_backward_binding(py::handle probabilities, py::handle targets,
                                          py::handle d_loss, py::handle out) {
    return with_storage(probabilities, [&](auto zero) {
        using T = decltype(zero);
        Call call(probabilities);
        const Shape shape = Shape::of(probabilities);
        const bool number = PyFloat_Check(d_loss.ptr());
        Result<T> d_logits(out, shape, Order::c, call);
        cuda::cross_entropy_backward(dense<T>(probabilities, Order::c, call),
                                     dense<std::int64_t>(targets, Order::c, call), shape[0],
                                     shape[1], number ? d_loss.cast<double>() : 0,
                                     number ? nullptr : dense<float>(d_loss, Order::c, call),
                                     d_logits.data(), call.stream());
        return d_logits.finish();
    });
}

}  // namespace

void register_loss(py::module_& module) {
    module.def("cross_entropy", &cross_entropy_binding);
    module.def("cross_entropy_backward", &cross_entropy_backward_binding);
}

}  // namespace pyconv::bindings
