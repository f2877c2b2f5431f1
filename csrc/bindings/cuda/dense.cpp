#include "bindings/cuda/array.h"
#include "cuda/dense/gemm.h"
#include "cuda/dense/hopper_plan.h"
#include "cuda/dense/tensor_plan.h"

namespace pyconv::bindings {

namespace {

// A 2-D array as it lies, in elements; copied where neither axis has neighbouring elements.
template <class T>
cuda::Matrix<T> matrix_of(py::handle array, Call& call) {
    const DeviceArray a(array);
    const std::int64_t size = sizeof(T);
    cuda::Matrix<T> m;
    m.rows = a.shape[0];
    m.columns = a.shape[1];
    const bool whole = a.strides[0] % size == 0 && a.strides[1] % size == 0 && a.is_aligned();
    m.row = a.strides[0] / size;
    m.column = m.columns == 1 ? 1 : a.strides[1] / size;
    if (whole && (m.column == 1 || m.row == 1)) {
        m.data = reinterpret_cast<const T*>(a.data);
    } else {
        m.data = dense<T>(array, Order::c, call);
        m.row = m.columns;
        m.column = 1;
    }
    return m;
}

template <class T>
cuda::Matrix<T> transposed(const cuda::Matrix<T>& m) {
    return {m.data, m.columns, m.rows, m.column, m.row};
}

py::object gemm_binding(py::handle a, py::handle b, bool transpose_a, bool transpose_b,
                        double alpha, double beta, py::handle c, py::handle bias, int activation,
                        double slope, py::handle out) {
    return with_storage(a, [&](auto zero) {
        using T = decltype(zero);
        Call call(a);
        cuda::Matrix<T> left = matrix_of<T>(a, call);
        cuda::Matrix<T> right = matrix_of<T>(b, call);
        if (transpose_a) left = transposed(left);
        if (transpose_b) right = transposed(right);
        Result<T> result(out, {left.rows, right.columns}, Order::c, call);
        cuda::Epilogue<T> epilogue;
        epilogue.alpha = static_cast<float>(alpha);
        set_bias(epilogue, bias, call);
        epilogue.activation = static_cast<Activation>(activation);
        epilogue.slope = static_cast<float>(slope);
        if (!c.is_none() && beta != 0) {
            epilogue.residual = dense<T>(c, Order::c, call);
            epilogue.residual_scale = static_cast<float>(beta);
        }
        cuda::gemm(left, right, result.data(), epilogue, arithmetic(), call.allocator(),
                   call.stream());
        return result.finish();
    });
}

py::object linear_binding(py::handle x, py::handle weight, py::handle bias, int activation,
                          double slope, py::handle out) {
    return gemm_binding(x, weight, false, true, 1.0, 0.0, py::none(), bias, activation, slope, out);
}

py::tuple linear_backward_binding(py::handle dy, py::handle x, py::handle weight) {
    return with_storage(dy, [&](auto zero) {
        using T = decltype(zero);
        Call call(dy);
        const cuda::Matrix<T> gradient = matrix_of<T>(dy, call);
        const cuda::Matrix<T> input = matrix_of<T>(x, call);
        const cuda::Matrix<T> parameters = matrix_of<T>(weight, call);
        Result<T> dx(Shape::of(x), Order::c, call);
        Result<T> dw(Shape::of(weight), Order::c, call);
        Result<T> db({parameters.rows}, Order::c, call);
        const cuda::Arithmetic how = arithmetic();
        cuda::gemm(gradient, parameters, dx.data(), {}, how, call.allocator(), call.stream());
        cuda::gemm(transposed(gradient), input, dw.data(), {}, how, call.allocator(),
                   call.stream());
        cuda::column_sums(dense<T>(dy, Order::c, call), gradient.rows, gradient.columns, db.data(),
                          call.allocator(), call.stream());
        return py::make_tuple(dx.finish(), dw.finish(), db.finish());
    });
}

}  // namespace

void register_dense(py::module_& module) {
    module.def("gemm", &gemm_binding);
    module.def("linear", &linear_binding);
    module.def("linear_backward", &linear_backward_binding);
    module.def("choose_tiles", [](int first, int last, int patches) {  // for tests
        cuda::tile_choice.first = first;
        cuda::tile_choice.last = last;
        cuda::tile_choice.patches = patches;
    });
    module.def("deal_tiles", [](int dealt, int workers, bool fused) {  // likewise
        cuda::tile_choice.dealt = dealt;
        cuda::tile_choice.workers = workers;
        cuda::tile_choice.fused = fused;
    });
    module.attr("HOPPER") = cuda::kHopper;
    module.def("choose_hopper", [](int use, int columns, int blocks) {  // for tests
        cuda::hopper_choice = {use, columns, blocks};
    });
    module.def("hopper_launches", [] { return cuda::hopper_launches; });
}

}  // namespace pyconv::bindings
