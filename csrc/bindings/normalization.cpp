#include "cpu/normalization/normalization.h"

#include "bindings/array.h"
#include "bindings/normalization.h"
#include "core/isa.h"

namespace pyconv::bindings {

namespace {

py::tuple batch_norm_training(py::handle x, py::handle gamma, py::handle beta, py::handle residual,
                              double eps, int activation, double slope) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const Shape shape = Shape::of(x);
        Result<T> y(shape, Order::channels_last, scratch);
        Result<T> mean({shape[1]}, Order::c, scratch);
        Result<T> var({shape[1]}, Order::c, scratch);
        const T* image = channels_last<T>(x, scratch);
        const T* scale = contiguous<T>(gamma, scratch);
        const T* shift = contiguous<T>(beta, scratch);
        const T* added = optional_dense<T>(residual, Order::channels_last, scratch);
        {
            Running running;
            normalize(current_isa(), problem_of(shape, false, eps, activation, slope), image, scale,
                      shift, added, y.data(), mean.data(), var.data());
        }
        return py::make_tuple(y.finish(), mean.finish(), var.finish());
    });
}

// running = (1 - momentum) running + momentum new, of mean and variance; the new variance is scaled
// first. All are contiguous, and of one type.
void move_statistics(py::handle running_mean, py::handle running_var, py::handle mean,
                     py::handle var, double momentum, double scale) {
    with_float(mean, [&](auto zero) {
        using T = decltype(zero);
        const auto move = [&](py::handle to, py::handle from, T factor) {
            T* const running = static_cast<T*>(PyArray_DATA(as_array(to)));
            const T* const fresh = static_cast<const T*>(PyArray_DATA(as_array(from)));
            const T keep = static_cast<T>(1 - momentum);
            const T share = static_cast<T>(momentum);
            for (std::int64_t i = 0; i < Shape::of(from).size(); ++i) {
                running[i] = running[i] * keep + share * (fresh[i] * factor);
            }
        };
        move(running_mean, mean, T(1));
        move(running_var, var, static_cast<T>(scale));
    });
}

py::object batch_norm_inference(py::handle x, py::handle gamma, py::handle beta, py::handle mean,
                                py::handle var, py::handle residual, double eps, int activation,
                                double slope, py::handle out) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const Shape shape = Shape::of(x);
        Result<T> y(out, shape, Order::channels_last, scratch);
        const T* image = channels_last<T>(x, scratch);
        const T* scale = contiguous<T>(gamma, scratch);
        const T* shift = contiguous<T>(beta, scratch);
        const T* means = contiguous<T>(mean, scratch);
        const T* variances = contiguous<T>(var, scratch);
        const T* added = optional_dense<T>(residual, Order::channels_last, scratch);
        {
            Running running;
            normalize_by(current_isa(), problem_of(shape, false, eps, activation, slope), image,
                         scale, shift, means, variances, added, y.data());
        }
        return y.finish();
    });
}

py::object instance_norm(py::handle x, py::handle gamma, py::handle beta, double eps,
                         py::handle out) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const Shape shape = Shape::of(x);
        Result<T> y(out, shape, Order::channels_last, scratch);
        const T* image = channels_last<T>(x, scratch);
        const T* scale = optional_dense<T>(gamma, Order::c, scratch);
        const T* shift = optional_dense<T>(beta, Order::c, scratch);
        {
            Running running;
            normalize<T>(current_isa(), problem_of(shape, true, eps), image, scale, shift, nullptr,
                         y.data(), nullptr, nullptr);
        }
        return y.finish();
    });
}

// dx, dgamma, dbeta and, where it is wanted, dresidual of an activation. Without mean and var each
// image is normalized by its own.
py::tuple norm_backward(py::handle dy, py::handle x, py::handle gamma, py::handle mean,
                        py::handle var, py::handle y, py::handle beta, double eps, int activation,
                        double slope, bool residual) {
    return with_float(x, [&](auto zero) -> py::tuple {
        using T = decltype(zero);
        Scratch scratch;
        const Shape shape = Shape::of(x);
        Result<T> dx(shape, Order::channels_last, scratch);
        Result<T> dgamma({shape[1]}, Order::c, scratch);
        Result<T> dbeta({shape[1]}, Order::c, scratch);
        std::optional<Result<T>> dz;
        if (residual && activation != 0) dz.emplace(shape, Order::channels_last, scratch);
        const T* gradient = channels_last<T>(dy, scratch);
        const T* image = channels_last<T>(x, scratch);
        const T* scale = optional_dense<T>(gamma, Order::c, scratch);
        const T* means = optional_dense<T>(mean, Order::c, scratch);
        const T* variances = optional_dense<T>(var, Order::c, scratch);
        const T* shift = optional_dense<T>(beta, Order::c, scratch);
        const T* output = optional_dense<T>(y, Order::channels_last, scratch);
        {
            Running running;
            normalize_backward(current_isa(),
                               problem_of(shape, mean.is_none(), eps, activation, slope), gradient,
                               image, scale, shift, means, variances, output, dx.data(),
                               dgamma.data(), dbeta.data(), dz ? dz->data() : nullptr);
        }
        if (dz) return py::make_tuple(dx.finish(), dgamma.finish(), dbeta.finish(), dz->finish());
        return py::make_tuple(dx.finish(), dgamma.finish(), dbeta.finish());
    });
}

}  // namespace

void register_normalization(py::module_& module) {
    module.def("batch_norm_training", &batch_norm_training);
    module.def("move_statistics", &move_statistics);
    module.def("batch_norm_inference", &batch_norm_inference);
    module.def("instance_norm", &instance_norm);
    module.def("norm_backward", &norm_backward);
}

}  // namespace pyconv::bindings
