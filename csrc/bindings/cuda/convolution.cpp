#include "cuda/convolution/convolution.h"

#include <pybind11/stl.h>

#include "bindings/cuda/array.h"
#include "bindings/cuda/depthwise.h"
#include "bindings/geometry.h"
#include "cuda/convolution/depthwise.h"
#include "cuda/dense/gemm.h"

namespace pyconv::bindings {

namespace {

// The weight in memory order kernel height, kernel width, in, out.
const float* weight_bytes(py::handle weight, Call& call) {
    const DeviceArray w(weight);
    const Shape turned{w.shape[2], w.shape[3], w.shape[1], w.shape[0]};
    const auto wanted = dense_strides(turned, Order::c, sizeof(float));
    const cuda::Axes target{{wanted[3], wanted[2], wanted[0], wanted[1]}};
    if (w.lies_as(target)) return reinterpret_cast<const float*>(w.data);
    void* const copy = call.allocate(turned.size() * static_cast<std::int64_t>(sizeof(float)));
    cuda::copy_strided(
        {extents(w.shape), w.strides, target, w.data, static_cast<char*>(copy), sizeof(float)},
        call.stream());
    return static_cast<const float*>(copy);
}

void check_algorithm(const std::string& name) {
    if (name == "auto" || name == "depthwise" || name == "direct") return;
    throw std::invalid_argument("algorithm must be one of auto, depthwise, direct on CUDA, got '" +
                                name + "'");
}

cuda::Epilogue make_epilogue(py::handle bias, py::handle residual, int activation, double slope,
                             Call& call) {
    cuda::Epilogue e;
    e.bias = optional_dense<float>(bias, Order::c, call);
    e.residual = optional_dense<float>(residual, Order::channels_last, call);
    e.activation = static_cast<Activation>(activation);
    e.slope = static_cast<float>(slope);
    return e;
}

py::object conv2d(py::handle x, py::handle weight, py::handle /*packed*/, py::handle bias,
                  py::handle residual, py::handle geometry, int activation, double slope,
                  const std::string& algorithm, py::handle out) {
    check_algorithm(algorithm);
    if (runs_depthwise(Shape::of(x)[1], Shape::of(weight)[0], geometry, algorithm)) {
        return depthwise_conv2d(x, weight, bias, residual, geometry, activation, slope, out);
    }
    Call call(x);
    const ConvolutionProblem p = make_problem(Shape::of(x), Shape::of(weight), Geometry(geometry));
    Result<float> y(out, {p.batch, p.out_channels, p.out_height, p.out_width}, Order::channels_last,
                    call);
    cuda::convolution_forward(
        p, dense<float>(x, Order::channels_last, call), weight_bytes(weight, call), y.data(),
        make_epilogue(bias, residual, activation, slope, call), call.allocator(), call.stream());
    return y.finish();
}

// Backward data, and transposed convolution with its bias and activation. `shape` is the result's.
py::object conv2d_backward_input(py::handle dy, py::handle weight, py::handle bias,
                                 const std::array<std::int64_t, 4>& shape, py::handle geometry,
                                 int activation, double slope, const std::string& algorithm,
                                 py::handle out) {
    check_algorithm(algorithm);
    if (runs_depthwise(shape[1], Shape::of(weight)[0], geometry, algorithm)) {
        return depthwise_backward_input(dy, weight, bias, shape, geometry, activation, slope, out);
    }
    Call call(dy);
    const Shape dx_shape{shape[0], shape[1], shape[2], shape[3]};
    ConvolutionProblem p = make_problem(dx_shape, Shape::of(weight), Geometry(geometry));
    p.out_height = Shape::of(dy)[2];
    p.out_width = Shape::of(dy)[3];
    Result<float> dx(out, dx_shape, Order::channels_last, call);
    cuda::convolution_backward_input(
        p, dense<float>(dy, Order::channels_last, call), weight_bytes(weight, call), dx.data(),
        make_epilogue(bias, py::none(), activation, slope, call), call.allocator(), call.stream());
    return dx.finish();
}

// The result (and out) is the gradient in memory order: kernel height, kernel width, in, out.
py::object conv2d_backward_weight(py::handle dy, py::handle x,
                                  const std::array<std::int64_t, 4>& shape, py::handle geometry,
                                  const std::string& algorithm, py::handle out) {
    check_algorithm(algorithm);
    if (runs_depthwise(Shape::of(x)[1], shape[0], geometry, algorithm)) {
        return depthwise_backward_weight(dy, x, shape, geometry, out);
    }
    Call call(dy);
    const Shape dw_shape{shape[0], shape[1], shape[2], shape[3]};
    ConvolutionProblem p = make_problem(Shape::of(x), dw_shape, Geometry(geometry));
    p.out_height = Shape::of(dy)[2];
    p.out_width = Shape::of(dy)[3];
    Result<float> dw(out, {shape[2], shape[3], shape[1], shape[0]}, Order::c, call);
    cuda::convolution_backward_weight(p, dense<float>(dy, Order::channels_last, call),
                                      dense<float>(x, Order::channels_last, call), dw.data(),
                                      call.allocator(), call.stream());
    return dw.finish();
}

py::object conv2d_backward_bias(py::handle dy, py::handle out) {
    Call call(dy);
    const Shape shape = Shape::of(dy);
    Result<float> db(out, {shape[1]}, Order::c, call);
    cuda::column_sums(dense<float>(dy, Order::channels_last, call), shape[0] * shape[2] * shape[3],
                      shape[1], db.data(), call.allocator(), call.stream());
    return db.finish();
}

float* allocate_floats(std::int64_t count, Call& call) {
    return static_cast<float*>(call.allocate(count * static_cast<std::int64_t>(sizeof(float))));
}

py::object separable(py::handle x, py::handle depthwise, py::handle pointwise, py::handle bias,
                     py::handle geometry, int activation, double slope, py::handle out) {
    Call call(x);
    const ConvolutionProblem p =
        make_problem(Shape::of(x), Shape::of(depthwise), Geometry(geometry));
    const std::int64_t channels = Shape::of(pointwise)[0];
    Result<float> y(out, {p.batch, channels, p.out_height, p.out_width}, Order::channels_last,
                    call);
    float* const middle = allocate_floats(p.outputs() * p.out_channels, call);
    const float* const image = dense<float>(x, Order::channels_last, call);
    const float* const first = weight_bytes(depthwise, call);
    if (cuda::is_depthwise(p)) {
        cuda::depthwise_forward(p, image, first, middle, {}, call.stream());
    } else {
        cuda::convolution_forward(p, image, first, middle, {}, call.allocator(), call.stream());
    }
    cuda::convolution_forward(pointwise_problem(p, channels), middle, weight_bytes(pointwise, call),
                              y.data(), make_epilogue(bias, py::none(), activation, slope, call),
                              call.allocator(), call.stream());
    return y.finish();
}

py::tuple separable_backward(py::handle dy, py::handle x, py::handle depthwise,
                             py::handle pointwise, py::handle geometry) {
    Call call(dy);
    const ConvolutionProblem p =
        make_problem(Shape::of(x), Shape::of(depthwise), Geometry(geometry));
    const std::int64_t channels = Shape::of(pointwise)[0];
    const ConvolutionProblem point = pointwise_problem(p, channels);
    Result<float> dx(Shape::of(x), Order::channels_last, call);
    Result<float> dd({p.kernel_height, p.kernel_width, 1, p.out_channels}, Order::c, call);
    Result<float> dp({1, 1, p.out_channels, channels}, Order::c, call);
    Result<float> db({channels}, Order::c, call);
    const float* const gradient = dense<float>(dy, Order::channels_last, call);
    const float* const image = dense<float>(x, Order::channels_last, call);
    const float* const first = weight_bytes(depthwise, call);
    const cuda::Allocate allocate = call.allocator();
    // The middle image is computed again instead of kept from the forward pass.
    float* const middle = allocate_floats(p.outputs() * p.out_channels, call);
    float* const d_middle = allocate_floats(p.outputs() * p.out_channels, call);
    if (cuda::is_depthwise(p)) {
        cuda::depthwise_forward(p, image, first, middle, {}, call.stream());
    } else {
        cuda::convolution_forward(p, image, first, middle, {}, allocate, call.stream());
    }
    cuda::convolution_backward_weight(point, gradient, middle, dp.data(), allocate, call.stream());
    cuda::column_sums(gradient, point.outputs(), channels, db.data(), allocate, call.stream());
    cuda::convolution_backward_input(point, gradient, weight_bytes(pointwise, call), d_middle, {},
                                     allocate, call.stream());
    if (cuda::is_depthwise(p)) {
        cuda::depthwise_backward_input(p, d_middle, first, dx.data(), {}, call.stream());
        cuda::depthwise_backward_weight(p, d_middle, image, dd.data(), allocate, call.stream());
    } else {
        cuda::convolution_backward_input(p, d_middle, first, dx.data(), {}, allocate,
                                         call.stream());
        cuda::convolution_backward_weight(p, d_middle, image, dd.data(), allocate, call.stream());
    }
    return py::make_tuple(dx.finish(), dd.finish(), dp.finish(), db.finish());
}

}  // namespace

void register_convolution(py::module_& module) {
    module.def("conv2d", &conv2d);
    module.def("conv2d_backward_input", &conv2d_backward_input);
    module.def("conv2d_backward_weight", &conv2d_backward_weight);
    module.def("conv2d_backward_bias", &conv2d_backward_bias);
    module.def("depthwise_separable_conv2d", &separable);
    module.def("depthwise_separable_conv2d_backward", &separable_backward);
}

}  // namespace pyconv::bindings
