#include "cuda/convolution/convolution.h"

#include <pybind11/stl.h>

#include "bindings/cuda/array.h"
#include "bindings/geometry.h"
#include "cuda/convolution/choice.h"
#include "cuda/convolution/depthwise.h"
#include "cuda/convolution/winograd.h"
#include "cuda/dense/gemm.h"

namespace pyconv::bindings {

namespace {

// The weight in memory order kernel height, kernel width, in, out.
template <class T>
const T* weight_bytes(py::handle weight, Call& call) {
    const DeviceArray w(weight);
    const Shape turned{w.shape[2], w.shape[3], w.shape[1], w.shape[0]};
    const auto wanted = dense_strides(turned, Order::c, sizeof(T));
    const cuda::Axes target{{wanted[3], wanted[2], wanted[0], wanted[1]}};
    if (w.lies_as(target)) return reinterpret_cast<const T*>(w.data);
    void* const copy = call.allocate(turned.size() * static_cast<std::int64_t>(sizeof(T)));
    cuda::copy_strided(
        {extents(w.shape), w.strides, target, w.data, static_cast<char*>(copy), sizeof(T)},
        call.stream());
    return static_cast<const T*>(copy);
}

// The kernels that compute a convolution, by the algorithm's name.
class Kernels {
  public:
    Kernels(std::string algorithm, Call& call)
        : call_(call), how_(arithmetic()), name_(std::move(algorithm)) {}
    template <class T>
    void forward(const ConvolutionProblem& p, const T* x, const T* weight, T* y,
                 const cuda::Epilogue<T>& epilogue) {
        const cuda::Algorithm algorithm = choose<T>(Direction::forward, p);
        if (algorithm == cuda::Algorithm::depthwise) {
            cuda::depthwise_forward(p, x, weight, y, epilogue, call_.stream());
        } else if (algorithm == cuda::Algorithm::direct) {
            cuda::convolution_forward(p, x, weight, y, epilogue, how_, call_.allocator(),
                                      call_.stream());
        } else if constexpr (std::is_same_v<T, float>) {
            cuda::winograd_forward(cuda::tile_of(algorithm), p, x, weight, y, epilogue,
                                   call_.allocator(), call_.stream());
        }
    }
    template <class T>
    void backward_input(const ConvolutionProblem& p, const T* dy, const T* weight, T* dx,
                        const cuda::Epilogue<T>& epilogue) {
        const cuda::Algorithm algorithm = choose<T>(Direction::backward_input, p);
        if (algorithm == cuda::Algorithm::depthwise) {
            cuda::depthwise_backward_input(p, dy, weight, dx, epilogue, call_.stream());
        } else if (algorithm == cuda::Algorithm::direct) {
            cuda::convolution_backward_input(p, dy, weight, dx, epilogue, how_, call_.allocator(),
                                             call_.stream());
        } else if constexpr (std::is_same_v<T, float>) {
            cuda::winograd_backward_input(cuda::tile_of(algorithm), p, dy, weight, dx, epilogue,
                                          call_.allocator(), call_.stream());
        }
    }
    template <class T>
    void backward_weight(const ConvolutionProblem& p, const T* dy, const T* x, T* dw) {
        const cuda::Algorithm algorithm = choose<T>(Direction::backward_weight, p);
        if (algorithm == cuda::Algorithm::depthwise) {
            cuda::depthwise_backward_weight(p, dy, x, dw, call_.allocator(), call_.stream());
        } else if (algorithm == cuda::Algorithm::direct) {
            cuda::convolution_backward_weight(p, dy, x, dw, how_, call_.allocator(),
                                              call_.stream());
        } else if constexpr (std::is_same_v<T, float>) {
            cuda::winograd_backward_weight(cuda::tile_of(algorithm), p, dy, x, dw,
                                           call_.allocator(), call_.stream());
        }
    }

  private:
    template <class T>
    cuda::Algorithm choose(Direction direction, const ConvolutionProblem& p) const {
        const cuda::Terms terms{std::is_same_v<T, float>, strict_float32(),
                                how_ == cuda::Arithmetic::tensor};
        return cuda::choose_algorithm(direction, p, terms, name_);
    }

    Call& call_;
    cuda::Arithmetic how_;
    std::string name_;
};

template <class T>
cuda::Epilogue<T> make_epilogue(py::handle bias, py::handle residual, int activation, double slope,
                                Call& call) {
    cuda::Epilogue<T> e;
    set_bias(e, bias, call);
    e.residual = optional_dense<T>(residual, Order::channels_last, call);
    e.activation = static_cast<Activation>(activation);
    e.slope = static_cast<float>(slope);
    return e;
}

py::object conv2d(py::handle x, py::handle weight, py::handle /*packed*/, py::handle bias,
                  py::handle residual, py::handle geometry, int activation, double slope,
                  const std::string& algorithm, py::handle out) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const ConvolutionProblem p =
            make_problem(Shape::of(x), Shape::of(weight), Geometry(geometry));
        Result<T> y(out, {p.batch, p.out_channels, p.out_height, p.out_width}, Order::channels_last,
                    call);
        Kernels(algorithm, call)
            .forward(p, dense<T>(x, Order::channels_last, call), weight_bytes<T>(weight, call),
                     y.data(), make_epilogue<T>(bias, residual, activation, slope, call));
        return y.finish();
    });
}

// Backward data, and transposed convolution with its bias and activation. `shape` is the result's.
py::object conv2d_backward_input(py::handle dy, py::handle weight, py::handle bias,
                                 const std::array<std::int64_t, 4>& shape, py::handle geometry,
                                 int activation, double slope, const std::string& algorithm,
                                 py::handle out) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        const Shape dx_shape{shape[0], shape[1], shape[2], shape[3]};
        ConvolutionProblem p = make_problem(dx_shape, Shape::of(weight), Geometry(geometry));
        p.out_height = Shape::of(dy)[2];
        p.out_width = Shape::of(dy)[3];
        Result<T> dx(out, dx_shape, Order::channels_last, call);
        Kernels(algorithm, call)
            .backward_input(p, dense<T>(dy, Order::channels_last, call),
                            weight_bytes<T>(weight, call), dx.data(),
                            make_epilogue<T>(bias, py::none(), activation, slope, call));
        return dx.finish();
    });
}

// The result (and out) is the gradient in memory order: kernel height, kernel width, in, out.
py::object conv2d_backward_weight(py::handle dy, py::handle x,
                                  const std::array<std::int64_t, 4>& shape, py::handle geometry,
                                  const std::string& algorithm, py::handle out) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        const Shape dw_shape{shape[0], shape[1], shape[2], shape[3]};
        ConvolutionProblem p = make_problem(Shape::of(x), dw_shape, Geometry(geometry));
        p.out_height = Shape::of(dy)[2];
        p.out_width = Shape::of(dy)[3];
        Result<T> dw(out, {shape[2], shape[3], shape[1], shape[0]}, Order::c, call);
        Kernels(algorithm, call)
            .backward_weight(p, dense<T>(dy, Order::channels_last, call),
                             dense<T>(x, Order::channels_last, call), dw.data());
        return dw.finish();
    });
}

py::object conv2d_backward_bias(py::handle dy, py::handle out) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        const Shape shape = Shape::of(dy);
        Result<T> db(out, {shape[1]}, Order::c, call);
        cuda::column_sums(dense<T>(dy, Order::channels_last, call), shape[0] * shape[2] * shape[3],
                          shape[1], db.data(), call.allocator(), call.stream());
        return db.finish();
    });
}

template <class T>
T* allocate_elements(std::int64_t count, Call& call) {
    return static_cast<T*>(call.allocate(count * static_cast<std::int64_t>(sizeof(T))));
}

py::object separable(py::handle x, py::handle depthwise, py::handle pointwise, py::handle bias,
                     py::handle geometry, int activation, double slope, py::handle out) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const ConvolutionProblem p =
            make_problem(Shape::of(x), Shape::of(depthwise), Geometry(geometry));
        const std::int64_t channels = Shape::of(pointwise)[0];
        Result<T> y(out, {p.batch, channels, p.out_height, p.out_width}, Order::channels_last,
                    call);
        const ConvolutionProblem point = pointwise_problem(p, channels);
        T* const middle = allocate_elements<T>(p.outputs() * p.out_channels, call);
        Kernels("auto", call)
            .forward(p, dense<T>(x, Order::channels_last, call), weight_bytes<T>(depthwise, call),
                     middle, {});
        Kernels("direct", call)
            .forward<T>(point, middle, weight_bytes<T>(pointwise, call), y.data(),
                        make_epilogue<T>(bias, py::none(), activation, slope, call));
        return y.finish();
    });
}

py::tuple separable_backward(py::handle dy, py::handle x, py::handle depthwise,
                             py::handle pointwise, py::handle geometry) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        const ConvolutionProblem p =
            make_problem(Shape::of(x), Shape::of(depthwise), Geometry(geometry));
        const std::int64_t channels = Shape::of(pointwise)[0];
        const ConvolutionProblem point = pointwise_problem(p, channels);
        Result<T> dx(Shape::of(x), Order::channels_last, call);
        Result<T> dd({p.kernel_height, p.kernel_width, 1, p.out_channels}, Order::c, call);
        Result<T> dp({1, 1, p.out_channels, channels}, Order::c, call);
        Result<T> db({channels}, Order::c, call);
        const T* const gradient = dense<T>(dy, Order::channels_last, call);
        const T* const image = dense<T>(x, Order::channels_last, call);
        const T* const first = weight_bytes<T>(depthwise, call);
        Kernels across("auto", call), between("direct", call);
        // The middle image is computed again instead of kept from the forward pass.
        T* const middle = allocate_elements<T>(p.outputs() * p.out_channels, call);
        T* const d_middle = allocate_elements<T>(p.outputs() * p.out_channels, call);
        across.forward(p, image, first, middle, {});
        between.backward_weight<T>(point, gradient, middle, dp.data());
        cuda::column_sums(gradient, point.outputs(), channels, db.data(), call.allocator(),
                          call.stream());
        between.backward_input(point, gradient, weight_bytes<T>(pointwise, call), d_middle, {});
        across.backward_input<T>(p, d_middle, first, dx.data(), {});
        across.backward_weight<T>(p, d_middle, image, dd.data());
        return py::make_tuple(dx.finish(), dd.finish(), dp.finish(), db.finish());
    });
}

}  // namespace

void register_convolution(py::module_& module) {
    module.def("choose_winograd_bytes",
               [](std::int64_t bytes) { cuda::winograd_bytes = bytes; });  // for tests
    module.def("conv2d", &conv2d);
    module.def("conv2d_backward_input", &conv2d_backward_input);
    module.def("conv2d_backward_weight", &conv2d_backward_weight);
    module.def("conv2d_backward_bias", &conv2d_backward_bias);
    module.def("depthwise_separable_conv2d", &separable);
    module.def("depthwise_separable_conv2d_backward", &separable_backward);
}

}  // namespace pyconv::bindings
