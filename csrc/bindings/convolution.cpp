#include "cpu/convolution/convolution.h"

#include <pybind11/stl.h>

#include "bindings/array.h"
#include "bindings/geometry.h"
#include "core/isa.h"
#include "core/precision.h"
#include "cpu/dense/gemm.h"
#include "cuda/convolution/choice.h"

namespace pyconv::bindings {

namespace {

template <class T>
WeightView<T> view_weight(py::handle weight, Scratch& scratch) {
    PyArrayObject* a = as_array(weight);
    const std::int64_t size = sizeof(T);
    std::int64_t steps[4];
    bool usable = PyArray_ISALIGNED(a);
    for (int axis = 0; axis < 4; ++axis) {
        usable = usable && PyArray_STRIDE(a, axis) % size == 0;
        steps[axis] = PyArray_STRIDE(a, axis) / size;
    }
    if (usable) {
        return {static_cast<const T*>(PyArray_DATA(a)), steps[0], steps[1], steps[2], steps[3]};
    }
    const Shape shape = Shape::of(weight);
    return {contiguous<T>(weight, scratch), shape[1] * shape[2] * shape[3], shape[2] * shape[3],
            shape[3], 1};
}

template <class T>
Epilogue<T> make_epilogue(py::handle bias, py::handle residual, int activation, double slope,
                          const T* y, Scratch& scratch) {
    Epilogue<T> e;
    e.bias = optional_dense<T>(bias, Order::c, scratch);
    if (!residual.is_none()) e.residual_offset = channels_last<T>(residual, scratch) - y;
    e.activation = static_cast<Activation>(activation);
    e.slope = static_cast<T>(slope);
    return e;
}

Terms terms_of(bool float64, bool packed = false) {
    return {current_isa(), strict_float32() && !float64, float64, packed};
}

py::object conv2d(py::handle x, py::handle weight, py::handle packed, py::handle bias,
                  py::handle residual, py::handle geometry, int activation, double slope,
                  const std::string& algorithm, py::handle out) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        const ConvolutionProblem p =
            make_problem(Shape::of(x), Shape::of(weight), Geometry(geometry));
        const Algorithm chosen =
            choose_algorithm(Direction::forward, p, terms_of(sizeof(T) == 8), algorithm);
        Scratch scratch;
        Result<T> y(out, {p.batch, p.out_channels, p.out_height, p.out_width}, Order::channels_last,
                    scratch);
        const T* image = channels_last<T>(x, scratch);
        const WeightView<T> w = view_weight<T>(weight, scratch);
        const T* ready = optional_dense<T>(packed, Order::c, scratch);
        const auto epilogue =
            make_epilogue<T>(bias, residual, activation, slope, y.data(), scratch);
        {
            Running running;
            convolution_forward(current_isa(), chosen, p, image, w, ready, y.data(), epilogue);
        }
        return y.finish();
    });
}

// The packed weight, and the name of the algorithm that it is for. `input` is the shape of the
// image that it will meet.
py::tuple pack_convolution_weight(py::handle weight, const std::array<std::int64_t, 4>& input,
                                  py::handle geometry, const std::string& algorithm) {
    return with_float(weight, [&](auto zero) {
        using T = decltype(zero);
        const ConvolutionProblem p = make_problem({input[0], input[1], input[2], input[3]},
                                                  Shape::of(weight), Geometry(geometry));
        const Algorithm chosen =
            choose_algorithm(Direction::forward, p, terms_of(sizeof(T) == 8, true), algorithm);
        Scratch scratch;
        const WeightView<T> w = view_weight<T>(weight, scratch);
        Result<T> result({packed_weight_size<T>(current_isa(), chosen, p)}, Order::c, scratch);
        {
            Running running;
            pack_weight(current_isa(), chosen, p, w, result.data());
        }
        return py::make_tuple(result.finish(), algorithm_name(chosen));
    });
}

// Backward data, and transposed convolution with its bias and activation. `shape` is the result's.
py::object conv2d_backward_input(py::handle dy, py::handle weight, py::handle bias,
                                 const std::array<std::int64_t, 4>& shape, py::handle geometry,
                                 int activation, double slope, const std::string& algorithm,
                                 py::handle out) {
    return with_float(dy, [&](auto zero) {
        using T = decltype(zero);
        const Shape dx_shape{shape[0], shape[1], shape[2], shape[3]};
        ConvolutionProblem p = make_problem(dx_shape, Shape::of(weight), Geometry(geometry));
        p.out_height = Shape::of(dy)[2];
        p.out_width = Shape::of(dy)[3];
        const Algorithm chosen =
            choose_algorithm(Direction::backward_input, p, terms_of(sizeof(T) == 8), algorithm);
        Scratch scratch;
        Result<T> dx(out, dx_shape, Order::channels_last, scratch);
        const T* gradient = channels_last<T>(dy, scratch);
        const WeightView<T> w = view_weight<T>(weight, scratch);
        const auto epilogue =
            make_epilogue<T>(bias, py::none(), activation, slope, dx.data(), scratch);
        {
            Running running;
            convolution_backward_input(current_isa(), chosen, p, gradient, w, dx.data(), epilogue);
        }
        return dx.finish();
    });
}

// The result (and out) is the gradient in memory order: kernel height, kernel width, in, out.
py::object conv2d_backward_weight(py::handle dy, py::handle x,
                                  const std::array<std::int64_t, 4>& shape, py::handle geometry,
                                  const std::string& algorithm, py::handle out) {
    return with_float(dy, [&](auto zero) {
        using T = decltype(zero);
        const Shape dw_shape{shape[0], shape[1], shape[2], shape[3]};
        ConvolutionProblem p = make_problem(Shape::of(x), dw_shape, Geometry(geometry));
        p.out_height = Shape::of(dy)[2];
        p.out_width = Shape::of(dy)[3];
        const Algorithm chosen =
            choose_algorithm(Direction::backward_weight, p, terms_of(sizeof(T) == 8), algorithm);
        Scratch scratch;
        Result<T> dw(out, {shape[2], shape[3], shape[1], shape[0]}, Order::c, scratch);
        const T* gradient = channels_last<T>(dy, scratch);
        const T* image = channels_last<T>(x, scratch);
        {
            Running running;
            convolution_backward_weight(current_isa(), chosen, p, gradient, image, dw.data());
        }
        return dw.finish();
    });
}

py::object conv2d_backward_bias(py::handle dy, py::handle out) {
    return with_float(dy, [&](auto zero) {
        using T = decltype(zero);
        const Shape shape = Shape::of(dy);
        Scratch scratch;
        Result<T> db(out, {shape[1]}, Order::c, scratch);
        const T* gradient = channels_last<T>(dy, scratch);
        {
            Running running;
            convolution_backward_bias(current_isa(), shape[0] * shape[2] * shape[3], shape[1],
                                      gradient, db.data());
        }
        return db.finish();
    });
}

py::object separable(py::handle x, py::handle depthwise, py::handle pointwise, py::handle bias,
                     py::handle geometry, int activation, double slope, py::handle out) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        const ConvolutionProblem p =
            make_problem(Shape::of(x), Shape::of(depthwise), Geometry(geometry));
        const std::int64_t channels = Shape::of(pointwise)[0];
        Scratch scratch;
        Result<T> y(out, {p.batch, channels, p.out_height, p.out_width}, Order::channels_last,
                    scratch);
        const T* image = channels_last<T>(x, scratch);
        const WeightView<T> d = view_weight<T>(depthwise, scratch);
        const WeightView<T> w = view_weight<T>(pointwise, scratch);
        const auto epilogue =
            make_epilogue<T>(bias, py::none(), activation, slope, y.data(), scratch);
        {
            Running running;
            separable_forward(current_isa(), p, image, d, w, channels, y.data(), epilogue);
        }
        return y.finish();
    });
}

py::tuple separable_backward_binding(py::handle dy, py::handle x, py::handle depthwise,
                                     py::handle pointwise, py::handle geometry) {
    return with_float(dy, [&](auto zero) {
        using T = decltype(zero);
        const ConvolutionProblem p =
            make_problem(Shape::of(x), Shape::of(depthwise), Geometry(geometry));
        const std::int64_t channels = Shape::of(pointwise)[0];
        Scratch scratch;
        Result<T> dx(Shape::of(x), Order::channels_last, scratch);
        Result<T> dd({p.kernel_height, p.kernel_width, 1, p.out_channels}, Order::c, scratch);
        Result<T> dp({1, 1, p.out_channels, channels}, Order::c, scratch);
        Result<T> db({channels}, Order::c, scratch);
        const T* gradient = channels_last<T>(dy, scratch);
        const T* image = channels_last<T>(x, scratch);
        const WeightView<T> d = view_weight<T>(depthwise, scratch);
        const WeightView<T> w = view_weight<T>(pointwise, scratch);
        {
            Running running;
            separable_backward(current_isa(), p, gradient, image, d, w, channels, dx.data(),
                               dd.data(), dp.data(), db.data());
        }
        return py::make_tuple(dx.finish(), dd.finish(), dp.finish(), db.finish());
    });
}

// What a binding gets to name a convolution and one of its passes.
using Sizes = std::array<std::int64_t, 4>;
ConvolutionProblem problem_of(const Sizes& x, const Sizes& weight, py::handle geometry) {
    return make_problem({x[0], x[1], x[2], x[3]}, {weight[0], weight[1], weight[2], weight[3]},
                        Geometry(geometry));
}
Direction direction_of(const std::string& name) {
    return name == "forward"          ? Direction::forward
           : name == "backward_input" ? Direction::backward_input
                                      : Direction::backward_weight;
}

// Of each algorithm: its name, why it refuses, why "auto" passes it over.
template <class Verdicts>
py::list as_tuples(const Verdicts& verdicts) {
    py::list result;
    for (const auto& v : verdicts) result.append(py::make_tuple(v.name, v.refusal, v.passed));
    return result;
}

py::list algorithms(const std::string& direction, const Sizes& x, const Sizes& weight,
                    py::handle geometry, bool float64) {
    return as_tuples(convolution_algorithms(direction_of(direction),
                                            problem_of(x, weight, geometry), terms_of(float64)));
}

// As the extension for CUDA chooses, which need not be there.
py::list cuda_algorithms(const std::string& direction, const Sizes& x, const Sizes& weight,
                         py::handle geometry, bool float32, const std::string& precision) {
    const cuda::Terms terms{float32, precision == "strict", precision == "tf32"};
    return as_tuples(cuda::convolution_algorithms(direction_of(direction),
                                                  problem_of(x, weight, geometry), terms));
}

}  // namespace

void register_convolution(py::module_& module) {
    module.def("convolution_output_size", &convolution_output_size);
    module.def("transposed_output_size", &transposed_output_size);
    module.def("same_padding", [](std::int64_t size, std::int64_t kernel, std::int64_t stride,
                                  std::int64_t dilation) {
        const SamePadding pad = same_padding(size, kernel, stride, dilation);
        return py::make_tuple(pad.before, pad.after);
    });
    module.def("conv2d", &conv2d);
    module.def("pack_convolution_weight", &pack_convolution_weight);
    module.def("conv2d_backward_input", &conv2d_backward_input);
    module.def("conv2d_backward_weight", &conv2d_backward_weight);
    module.def("conv2d_backward_bias", &conv2d_backward_bias);
    module.def("depthwise_separable_conv2d", &separable);
    module.def("depthwise_separable_conv2d_backward", &separable_backward_binding);
    module.def("convolution_algorithms", &algorithms);
    module.def("cuda_convolution_algorithms", &cuda_algorithms);
}

}  // namespace pyconv::bindings
