#include "cuda/pooling/pooling.h"

#include "bindings/cuda/array.h"
#include "bindings/windows.h"

namespace pyconv::bindings {

namespace {

cuda::PoolProblem problem_of(const Images& images, py::handle geometry) {
    const Windows windows(geometry, images);
    return {images.count, images.channels, windows.rows, windows.columns};
}

template <class T, class Index>
py::object max_pool_of(py::handle x, py::handle geometry, bool with_index, bool relu) {
    Call call(x);
    const Images images(Shape::of(x));
    const cuda::PoolProblem p = problem_of(images, geometry);
    const Shape shape = images.resized(p.rows.outputs, p.columns.outputs);
    Result<T> y(shape, Order::channels_last, call);
    const auto run = [&](Index* index) {
        cuda::max_pool(p, dense<T>(x, Order::channels_last, call), y.data(), index, relu,
                       call.stream());
    };
    if (!with_index) {
        run(nullptr);
        return y.finish();
    }
    Result<Index> index(shape, Order::channels_last, call);
    run(index.data());
    return py::make_tuple(y.finish(), index.finish());
}

// `wide` indices are int64.
py::object max_pool(py::handle x, py::handle geometry, bool wide, bool with_index, bool relu) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        return wide ? max_pool_of<T, std::int64_t>(x, geometry, with_index, relu)
                    : max_pool_of<T, std::int32_t>(x, geometry, with_index, relu);
    });
}

py::object max_pool_backward(py::handle dy, py::handle index, py::handle input_shape,
                             py::handle geometry, py::handle out) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        const Shape shape = Shape::of_tuple(input_shape);
        const cuda::PoolProblem p = problem_of(Images(shape), geometry);
        Result<T> dx(out, shape, Order::channels_last, call);
        const T* const gradient = dense<T>(dy, Order::channels_last, call);
        if (DeviceArray(index).item_size == sizeof(std::int32_t)) {
            cuda::max_pool_backward(p, gradient,
                                    dense<std::int32_t>(index, Order::channels_last, call),
                                    dx.data(), call.stream());
        } else {
            cuda::max_pool_backward(p, gradient,
                                    dense<std::int64_t>(index, Order::channels_last, call),
                                    dx.data(), call.stream());
        }
        return dx.finish();
    });
}

// A divisor of 0 stands for the cells that count.
py::object avg_pool(py::handle x, py::handle geometry, bool include_padding, double divisor,
                    py::handle out) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const Images images(Shape::of(x));
        const cuda::PoolProblem p = problem_of(images, geometry);
        Result<T> y(out, images.resized(p.rows.outputs, p.columns.outputs), Order::channels_last,
                    call);
        cuda::avg_pool(p, include_padding, static_cast<float>(divisor),
                       dense<T>(x, Order::channels_last, call), y.data(), call.allocator(),
                       call.stream());
        return y.finish();
    });
}

py::object avg_pool_backward(py::handle dy, py::handle input_shape, py::handle geometry,
                             bool include_padding, double divisor, py::handle out) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        const Shape shape = Shape::of_tuple(input_shape);
        Result<T> dx(out, shape, Order::channels_last, call);
        cuda::avg_pool_backward(problem_of(Images(shape), geometry), include_padding,
                                static_cast<float>(divisor),
                                dense<T>(dy, Order::channels_last, call), dx.data(), call.stream());
        return dx.finish();
    });
}

cuda::ResizeProblem resize_problem(const Images& x, std::int64_t rows, std::int64_t columns) {
    return {x.count, x.channels, x.height, x.width, rows, columns};
}

py::object adaptive_avg_pool(py::handle x, std::int64_t rows, std::int64_t columns,
                             py::handle out) {
    return with_storage(x, [&](auto zero) {
        using T = decltype(zero);
        Call call(x);
        const Images images(Shape::of(x));
        Result<T> y(out, images.resized(rows, columns), Order::channels_last, call);
        cuda::adaptive_avg_pool(resize_problem(images, rows, columns),
                                dense<T>(x, Order::channels_last, call), y.data(), call.allocator(),
                                call.stream());
        return y.finish();
    });
}

py::object adaptive_avg_pool_backward(py::handle dy, py::handle input_shape, py::handle out) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        const Shape shape = Shape::of_tuple(input_shape);
        const Images outputs(Shape::of(dy));
        Result<T> dx(out, shape, Order::channels_last, call);
        cuda::adaptive_avg_pool_backward(
            resize_problem(Images(shape), outputs.height, outputs.width),
            dense<T>(dy, Order::channels_last, call), dx.data(), call.stream());
        return dx.finish();
    });
}

}  // namespace

void register_pooling(py::module_& module) {
    module.def("max_pool", &max_pool);
    module.def("max_pool_backward", &max_pool_backward);
    module.def("avg_pool", &avg_pool);
    module.def("avg_pool_backward", &avg_pool_backward);
    module.def("adaptive_avg_pool", &adaptive_avg_pool);
    module.def("adaptive_avg_pool_backward", &adaptive_avg_pool_backward);
}

}  // namespace pyconv::bindings
