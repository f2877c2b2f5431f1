#include "bindings/cuda/depthwise.h"

#include <stdexcept>

#include "bindings/geometry.h"
#include "cuda/convolution/depthwise.h"

namespace pyconv::bindings {

namespace {

// The weight (channels, 1, kernel height, kernel width) with the channels innermost.
template <class T>
const T* filters(py::handle weight, Call& call) {
    AxisOrder order{4};
    order.axis = {2, 3, 1, 0};
    return dense<T>(weight, order, call);
}

template <class T>
cuda::DepthwiseEpilogue<T> make_epilogue(py::handle bias, py::handle residual, int activation,
                                         double slope, Call& call) {
    cuda::DepthwiseEpilogue<T> e;
    if (!bias.is_none() && storage_of(bias) == Storage::float32) {
        e.bias = dense<float>(bias, Order::c, call);
    } else {
        e.stored_bias = optional_dense<T>(bias, Order::c, call);
    }
    e.residual = optional_dense<T>(residual, Order::channels_last, call);
    e.activation = static_cast<Activation>(activation);
    e.slope = static_cast<float>(slope);
    return e;
}

Shape shape_of(const std::array<std::int64_t, 4>& s) { return {s[0], s[1], s[2], s[3]}; }

// The sizes of the outputs are those of dy: a transposed convolution may have more than a forward.
ConvolutionProblem backward_problem(const Shape& x, const Shape& weight, py::handle dy,
                                    py::handle geometry) {
    ConvolutionProblem p = make_problem(x, weight, Geometry(geometry));
    p.out_height = Shape::of(dy)[2];
    p.out_width = Shape::of(dy)[3];
    return p;
}

}  // namespace

bool runs_depthwise(std::int64_t in_channels, std::int64_t out_channels, py::handle geometry,
                    const std::string& algorithm) {
    if (algorithm != "auto" && algorithm != "depthwise") return false;
    ConvolutionProblem p;
    p.in_channels = in_channels;
    p.out_channels = out_channels;
    p.groups = Geometry(geometry).groups;
    const bool able = cuda::is_depthwise(p);
    if (!able && algorithm == "depthwise") {
        throw std::invalid_argument("algorithm 'depthwise' can't take this problem: groups is " +
                                    std::to_string(p.groups) + ", with " +
                                    std::to_string(in_channels) + " channels in and " +
                                    std::to_string(out_channels) + " out");
    }
    return able;
}

py::object depthwise_conv2d(py::handle x, py::handle weight, py::handle bias, py::handle residual,
                            py::handle geometry, int activation, double slope, py::handle out) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const ConvolutionProblem p =
            make_problem(Shape::of(x), Shape::of(weight), Geometry(geometry));
        Result<T> y(out, {p.batch, p.out_channels, p.out_height, p.out_width}, Order::channels_last,
                    call);
        cuda::depthwise_forward(
            p, dense<T>(x, Order::channels_last, call), filters<T>(weight, call), y.data(),
            make_epilogue<T>(bias, residual, activation, slope, call), call.stream());
        return y.finish();
    });
}

py::object depthwise_backward_input(py::handle dy, py::handle weight, py::handle bias,
                                    const std::array<std::int64_t, 4>& shape, py::handle geometry,
                                    int activation, double slope, py::handle out) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        const Shape dx_shape = shape_of(shape);
        Result<T> dx(out, dx_shape, Order::channels_last, call);
        cuda::depthwise_backward_input(
            backward_problem(dx_shape, Shape::of(weight), dy, geometry),
            dense<T>(dy, Order::channels_last, call), filters<T>(weight, call), dx.data(),
            make_epilogue<T>(bias, py::none(), activation, slope, call), call.stream());
        return dx.finish();
    });
}

// The result (and out) is the gradient in memory order: kernel height, kernel width, 1, channels.
py::object depthwise_backward_weight(py::handle dy, py::handle x,
                                     const std::array<std::int64_t, 4>& shape, py::handle geometry,
                                     py::handle out) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        Result<T> dw(out, {shape[2], shape[3], shape[1], shape[0]}, Order::c, call);
        cuda::depthwise_backward_weight(
            backward_problem(Shape::of(x), shape_of(shape), dy, geometry),
            dense<T>(dy, Order::channels_last, call), dense<T>(x, Order::channels_last, call),
            dw.data(), call.allocator(), call.stream());
        return dw.finish();
    });
}

}  // namespace pyconv::bindings
