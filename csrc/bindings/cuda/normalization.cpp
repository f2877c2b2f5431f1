#include "cuda/normalization/normalization.h"

#include "bindings/cuda/array.h"
#include "bindings/normalization.h"

namespace pyconv::bindings {

namespace {

const float* channels_of(py::handle array, Call& call) {
    return optional_dense<float>(array, Order::c, call);
}

py::tuple batch_norm_training(py::handle x, py::handle gamma, py::handle beta, py::handle residual,
                              double eps, int activation, double slope) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const Shape shape = Shape::of(x);
        const NormalizationProblem p = problem_of(shape, false, eps, activation, slope);
        Result<T> y(shape, Order::channels_last, call);
        Result<float> mean({shape[1]}, Order::c, call);
        Result<float> var({shape[1]}, Order::c, call);
        const T* const image = dense<T>(x, Order::channels_last, call);
        cuda::statistics(p, image, mean.data(), var.data(), call.allocator(), call.stream());
        cuda::normalize(p, image, channels_of(gamma, call), channels_of(beta, call), mean.data(),
                        var.data(), optional_dense<T>(residual, Order::channels_last, call),
                        y.data(), call.stream());
        return py::make_tuple(y.finish(), mean.finish(), var.finish());
    });
}

// All are contiguous.
void move_statistics(py::handle running_mean, py::handle running_var, py::handle mean,
                     py::handle var, double momentum, double scale) {
    Call call(mean);
    const auto data = [](py::handle array) {
        return reinterpret_cast<float*>(DeviceArray(array).data);
    };
    cuda::move_statistics(Shape::of(mean).size(), data(running_mean), data(running_var), data(mean),
                          data(var), momentum, scale, call.stream());
}

py::object batch_norm_inference(py::handle x, py::handle gamma, py::handle beta, py::handle mean,
                                py::handle var, py::handle residual, double eps, int activation,
                                double slope, py::handle out) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const Shape shape = Shape::of(x);
        Result<T> y(out, shape, Order::channels_last, call);
        cuda::normalize(problem_of(shape, false, eps, activation, slope),
                        dense<T>(x, Order::channels_last, call), channels_of(gamma, call),
                        channels_of(beta, call), channels_of(mean, call), channels_of(var, call),
                        optional_dense<T>(residual, Order::channels_last, call), y.data(),
                        call.stream());
        return y.finish();
    });
}

// Room for mean and variance of every plane.
struct PlaneStatistics {
    float *mean, *var;

    PlaneStatistics(const NormalizationProblem& p, Call& call) {
        const std::int64_t size = p.images * p.channels;
        mean = static_cast<float*>(call.allocate(2 * size * static_cast<int>(sizeof(float))));
        var = mean + size;
    }
};

py::object instance_norm(py::handle x, py::handle gamma, py::handle beta, double eps,
                         py::handle out) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const Shape shape = Shape::of(x);
        const NormalizationProblem p = problem_of(shape, true, eps);
        Result<T> y(out, shape, Order::channels_last, call);
        const T* const image = dense<T>(x, Order::channels_last, call);
        const PlaneStatistics of(p, call);
        cuda::statistics(p, image, of.mean, of.var, call.allocator(), call.stream());
        cuda::normalize<T>(p, image, channels_of(gamma, call), channels_of(beta, call), of.mean,
                           of.var, nullptr, y.data(), call.stream());
        return y.finish();
    });
}

// dx, dgamma, dbeta and, where it is wanted, dresidual of an activation. Without mean and var each
// image is normalized by its own.
py::tuple norm_backward(py::handle dy, py::handle x, py::handle gamma, py::handle mean,
                        py::handle var, py::handle y, py::handle beta, double eps, int activation,
                        double slope, bool residual) {
    return with_storage(x, [&](auto zero) -> py::tuple {
        using T = decltype(zero);
        Call call(x);
        const Shape shape = Shape::of(x);
        const NormalizationProblem p = problem_of(shape, mean.is_none(), eps, activation, slope);
        Result<T> dx(shape, Order::channels_last, call);
        Result<float> dgamma({shape[1]}, Order::c, call);
        Result<float> dbeta({shape[1]}, Order::c, call);
        std::optional<Result<T>> dz;
        if (residual && activation != 0) dz.emplace(shape, Order::channels_last, call);
        const T* const image = dense<T>(x, Order::channels_last, call);
        const float* means = channels_of(mean, call);
        const float* variances = channels_of(var, call);
        if (!means) {
            const PlaneStatistics of(p, call);
            cuda::statistics(p, image, of.mean, of.var, call.allocator(), call.stream());
            means = of.mean;
            variances = of.var;
        }
        cuda::normalize_backward(p, dense<T>(dy, Order::channels_last, call), image,
                                 channels_of(gamma, call), channels_of(beta, call), means,
                                 variances, optional_dense<T>(y, Order::channels_last, call),
                                 dx.data(), dgamma.data(), dbeta.data(), dz ? dz->data() : nullptr,
                                 call.allocator(), call.stream());
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
