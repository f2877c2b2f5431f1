#include "bindings/array.h"
#include "bindings/images.h"
#include "core/isa.h"
#include "cpu/pooling/pooling.h"
#include "cpu/resample/axis.h"

namespace pyconv::bindings {

namespace {

template <class T>
py::object gather(py::handle x, const Shape& shape, py::handle out, const Axis& rows,
                  const Axis& columns) {
    Scratch scratch;
    Result<T> y(out, shape, Order::channels_last, scratch);
    const T* cells = channels_last<T>(x, scratch);
    {
        Running running;
        gather_sums(current_isa(), rows, columns, shape[0], shape[1], cells, y.data());
    }
    return y.finish();
}

// A scale of 0 follows from the sizes.
Axis upsample_axis(std::int64_t size, std::int64_t outputs, double scale, bool linear,
                   bool align_corners) {
    return linear ? linear_axis(size, outputs, scale, align_corners)
                  : nearest_axis(size, outputs, scale);
}

py::object upsample2d(py::handle x, std::int64_t rows, std::int64_t columns, double row_scale,
                      double column_scale, bool linear, bool align_corners, py::handle out) {
    return with_float(x, [&](auto zero) {
        const Shape shape = Shape::of(x);
        return gather<decltype(zero)>(
            x, {shape[0], shape[1], rows, columns}, out,
            upsample_axis(shape[2], rows, row_scale, linear, align_corners),
            upsample_axis(shape[3], columns, column_scale, linear, align_corners));
    });
}

py::object upsample2d_backward(py::handle dy, py::handle input_shape, double row_scale,
                               double column_scale, bool linear, bool align_corners,
                               py::handle out) {
    return with_float(dy, [&](auto zero) {
        const Shape shape = Shape::of_tuple(input_shape);
        const Shape size = Shape::of(dy);
        return gather<decltype(zero)>(
            dy, shape, out,
            upsample_axis(shape[2], size[2], row_scale, linear, align_corners).adjoint(),
            upsample_axis(shape[3], size[3], column_scale, linear, align_corners).adjoint());
    });
}

py::object pad2d(py::handle x, std::int64_t top, std::int64_t bottom, std::int64_t left,
                 std::int64_t right, bool reflect, py::handle out) {
    return with_float(x, [&](auto zero) {
        const Shape shape = Shape::of(x);
        return gather<decltype(zero)>(
            x, {shape[0], shape[1], top + shape[2] + bottom, left + shape[3] + right}, out,
            padding_axis(shape[2], top, bottom, reflect),
            padding_axis(shape[3], left, right, reflect));
    });
}

py::object pad2d_backward(py::handle dy, py::handle input_shape, std::int64_t top,
                          std::int64_t bottom, std::int64_t left, std::int64_t right, bool reflect,
                          py::handle out) {
    return with_float(dy, [&](auto zero) {
        const Shape shape = Shape::of_tuple(input_shape);
        return gather<decltype(zero)>(dy, shape, out,
                                      padding_axis(shape[2], top, bottom, reflect).adjoint(),
                                      padding_axis(shape[3], left, right, reflect).adjoint());
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
