#include "cuda/resample/resample.h"

#include "bindings/cuda/array.h"

namespace pyconv::bindings {

namespace {

// run(from, to) on the memory of x and of the result.
template <class Run>
py::object resample(py::handle x, const Shape& shape, py::handle out, Run&& run) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        Result<T> y(out, shape, Order::channels_last, call);
        run(dense<T>(x, Order::channels_last, call), y.data(), call.stream());
        return y.finish();
    });
}

// A scale of 0 follows from the sizes.
py::object upsample2d(py::handle x, std::int64_t rows, std::int64_t columns, double row_scale,
                      double column_scale, bool linear, bool align_corners, py::handle out) {
    const Shape s = Shape::of(x);
    const cuda::UpsampleProblem p{s[0],    s[1],      s[2],         s[3],   rows,
                                  columns, row_scale, column_scale, linear, align_corners};
    return resample(
        x, {s[0], s[1], rows, columns}, out,
        [&](auto* from, auto* to, cudaStream_t stream) { cuda::upsample(p, from, to, stream); });
}

py::object upsample2d_backward(py::handle dy, py::handle input_shape, double row_scale,
                               double column_scale, bool linear, bool align_corners,
                               py::handle out) {
    const Shape s = Shape::of_tuple(input_shape), size = Shape::of(dy);
    const cuda::UpsampleProblem p{s[0],    s[1],      s[2],         s[3],   size[2],
                                  size[3], row_scale, column_scale, linear, align_corners};
    return resample(dy, s, out, [&](auto* from, auto* to, cudaStream_t stream) {
        cuda::upsample_backward(p, from, to, stream);
    });
}

py::object pad2d(py::handle x, std::int64_t top, std::int64_t bottom, std::int64_t left,
                 std::int64_t right, bool reflect, py::handle out) {
    const Shape s = Shape::of(x);
    const cuda::PaddingProblem p{s[0], s[1], s[2], s[3], top, bottom, left, right, reflect};
    return resample(
        x, {s[0], s[1], top + s[2] + bottom, left + s[3] + right}, out,
        [&](auto* from, auto* to, cudaStream_t stream) { cuda::pad(p, from, to, stream); });
}

py::object pad2d_backward(py::handle dy, py::handle input_shape, std::int64_t top,
                          std::int64_t bottom, std::int64_t left, std::int64_t right, bool reflect,
                          py::handle out) {
    const Shape s = Shape::of_tuple(input_shape);
    const cuda::PaddingProblem p{s[0], s[1], s[2], s[3], top, bottom, left, right, reflect};
    return resample(dy, s, out, [&](auto* from, auto* to, cudaStream_t stream) {
        cuda::pad_backward(p, from, to, stream);
    });
}

}  // namespace

void register_resample(py::module_& module) {
    module.def("upsample2d", &upsample2d);
    module.def("upsample2d_backward", &upsample2d_backward);
    module.def("pad2d", &pad2d);
    module.def("pad2d_backward", &pad2d_backward);
}

}  // namespace pyconv::bindings
