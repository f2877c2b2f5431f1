#include "cpu/pooling/pooling.h"

#include "bindings/array.h"
#include "bindings/windows.h"
#include "core/isa.h"

namespace pyconv::bindings {

namespace {

// `wide` indices are int64.
py::object max_pool_binding(py::handle x, py::handle geometry, bool wide, bool with_index,
                            bool relu) {
    return with_float(x, [&](auto zero) -> py::object {
        using T = decltype(zero);
        const Images images(Shape::of(x));
        const Windows windows(geometry, images);
        const Shape shape = images.resized(windows.rows.outputs, windows.columns.outputs);
        Scratch scratch;
        Result<T> y(shape, Order::channels_last, scratch);
        const auto run = [&](auto* index) {
            const T* cells = channels_last<T>(x, scratch);
            Running running;
            max_pool(current_isa(), pool_axis(windows.rows), pool_axis(windows.columns),
                     images.count, images.channels, cells, y.data(), index, relu);
        };
        if (!with_index) {
            run(static_cast<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>*>(
                nullptr));
            return y.finish();
        }
        if (wide) {
            Result<std::int64_t> index(shape, Order::channels_last, scratch);
            run(index.data());
            return py::make_tuple(y.finish(), index.finish());
        }
        Result<std::int32_t> index(shape, Order::channels_last, scratch);
        run(index.data());
        return py::make_tuple(y.finish(), index.finish());
    });
}

py::object max_pool_backward_binding(py::handle dy, py::handle index, py::handle input_shape,
                                     py::handle geometry, py::handle out) {
    return with_float(dy, [&](auto zero) {
        using T = decltype(zero);
        const Shape shape = Shape::of_tuple(input_shape);
        const Images images(shape);
        const Windows windows(geometry, images);
        Scratch scratch;
        Result<T> dx(out, shape, Order::channels_last, scratch);
        const T* gradient = channels_last<T>(dy, scratch);
        const auto run = [&](auto* won) {
            Running running;
            max_pool_backward(current_isa(), pool_axis(windows.rows), pool_axis(windows.columns),
                              images.count, images.channels, gradient, won, dx.data());
        };
        if (type_of(index) == NPY_INT32) {
            run(channels_last<std::int32_t>(index, scratch));
        } else {
            run(channels_last<std::int64_t>(index, scratch));
        }
        return dx.finish();
    });
}

// A divisor of 0 stands for the cells that count.
Axis mean_axis(const PoolAxis& a, bool include_padding, double divisor) {
    if (divisor == 0) return mean_pool_axis(a, include_padding);
    Axis axis = pool_axis(a);
    axis.divisors.assign(static_cast<std::size_t>(a.outputs), divisor);
    return axis;
}

py::object avg_pool_binding(py::handle x, py::handle geometry, bool include_padding, double divisor,
                            py::handle out) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        const Images images(Shape::of(x));
        const Windows windows(geometry, images);
        Scratch scratch;
        Result<T> y(out, images.resized(windows.rows.outputs, windows.columns.outputs),
                    Order::channels_last, scratch);
        const T* cells = channels_last<T>(x, scratch);
        {
            Running running;
            gather_sums(current_isa(), mean_axis(windows.rows, include_padding, divisor),
                        mean_axis(windows.columns, include_padding, divisor == 0 ? 0 : 1),
                        images.count, images.channels, cells, y.data());
        }
        return y.finish();
    });
}

py::object avg_pool_backward_binding(py::handle dy, py::handle input_shape, py::handle geometry,
                                     bool include_padding, double divisor, py::handle out) {
    return with_float(dy, [&](auto zero) {
        using T = decltype(zero);
        const Shape shape = Shape::of_tuple(input_shape);
        const Images images(shape);
        const Windows windows(geometry, images);
        Scratch scratch;
        Result<T> dx(out, shape, Order::channels_last, scratch);
        const T* gradient = channels_last<T>(dy, scratch);
        {
            Running running;
            gather_sums(current_isa(), mean_axis(windows.rows, include_padding, divisor).adjoint(),
                        mean_axis(windows.columns, include_padding, divisor == 0 ? 0 : 1).adjoint(),
                        images.count, images.channels, gradient, dx.data());
        }
        return dx.finish();
    });
}

py::object adaptive_avg_pool_binding(py::handle x, std::int64_t rows, std::int64_t columns,
                                     py::handle out) {
    return with_float(x, [&](auto zero) {
        using T = decltype(zero);
        const Images images(Shape::of(x));
        Scratch scratch;
        Result<T> y(out, images.resized(rows, columns), Order::channels_last, scratch);
        const T* cells = channels_last<T>(x, scratch);
        {
            Running running;
            gather_sums(current_isa(), adaptive_axis(images.height, rows),
                        adaptive_axis(images.width, columns), images.count, images.channels, cells,
                        y.data());
        }
        return y.finish();
    });
}

py::object adaptive_avg_pool_backward_binding(py::handle dy, py::handle input_shape,
                                              py::handle out) {
    return with_float(dy, [&](auto zero) {
        using T = decltype(zero);
        const Shape shape = Shape::of_tuple(input_shape);
        const Images images(shape);
        const Images outputs(Shape::of(dy));
        Scratch scratch;
        Result<T> dx(out, shape, Order::channels_last, scratch);
        const T* gradient = channels_last<T>(dy, scratch);
        {
            Running running;
            gather_sums(current_isa(), adaptive_axis(images.height, outputs.height).adjoint(),
                        adaptive_axis(images.width, outputs.width).adjoint(), images.count,
                        images.channels, gradient, dx.data());
        }
        return dx.finish();
    });
}

}  // namespace

void register_pooling(py::module_& module) {
    module.def("pool_output_size", &pool_output_size);
    module.def("max_pool", &max_pool_binding);
    module.def("max_pool_backward", &max_pool_backward_binding);
    module.def("avg_pool", &avg_pool_binding);
    module.def("avg_pool_backward", &avg_pool_backward_binding);
    module.def("adaptive_avg_pool", &adaptive_avg_pool_binding);
    module.def("adaptive_avg_pool_backward", &adaptive_avg_pool_backward_binding);
}

}  // namespace pyconv::bindings
