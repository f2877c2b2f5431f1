#include "cpu/loss/loss.h"

#include "bindings/array.h"
#include "core/isa.h"

namespace pyconv::bindings {

namespace {

py::tuple cross_entropy_binding(py::handle logits, py::handle targets) {
    return with_float(logits, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const Shape shape = Shape::of(logits);
        const T* x = contiguous<T>(logits, scratch);
        const std::int64_t* target = contiguous<std::int64_t>(targets, scratch);
        Result<T> probabilities(shape, Order::c, scratch);
        double loss = 0;
        {
            Running running;
            loss =
                cross_entropy(current_isa(), x, target, shape[0], shape[1], probabilities.data());
        }
        return py::make_tuple(loss, probabilities.finish());
    });
}

py::object cross_entropy_backward_binding(py::handle probabilities, py::handle targets,
                                          double d_loss, py::handle out) {
    return with_float(probabilities, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const Shape shape = Shape::of(probabilities);
        const T* p = contiguous<T>(probabilities, scratch);
        const std::int64_t* target = contiguous<std::int64_t>(targets, scratch);
        Result<T> d_logits(out, shape, Order::c, scratch);
        {
            Running running;
            cross_entropy_backward(current_isa(), p, target, shape[0], shape[1], d_loss,
                                   d_logits.data());
        }
        return d_logits.finish();
    });
}

}  // namespace

void register_loss(py::module_& module) {
    module.def("cross_entropy", &cross_entropy_binding);
    module.def("cross_entropy_backward", &cross_entropy_backward_binding);
}

}  // namespace pyconv::bindings
