#include "bindings/cuda/array.h"
#include "cuda/dense/gemm.h"

namespace pyconv::bindings {

namespace {

// A 2-D array as it lies, in elements; copied where neither axis has neighbouring elements.
cuda::Matrix matrix_of(py::handle array, Call& call) {
    const DeviceArray a(array);
    const std::int64_t size = sizeof(float);
    cuda::Matrix m;
    m.rows = a.shape[0];
    m.columns = a.shape[1];
    const bool whole = a.strides[0] % size == 0 && a.strides[1] % size == 0 &&
                       reinterpret_cast<std::uintptr_t>(a.data) % size == 0;
    m.row = a.strides[0] / size;
    m.column = m.columns == 1 ? 1 : a.strides[1] / size;
    if (whole && (m.column == 1 || m.row == 1)) {
        m.data = reinterpret_cast<const float*>(a.data);
    } else {
        m.data = dense<float>(array, Order::c, call);
        m.row = m.columns;
        m.column = 1;
    }
    return m;
}

cuda::Matrix transposed(const cuda::Matrix& m) {
    return {m.data, m.columns, m.rows, m.column, m.row};
}

py::object gemm_binding(py::handle a, py::handle b, bool transpose_a, bool transpose_b,
                        double alpha, double beta, py::handle c, py::handle bias, int activation,
                        double slope, py::handle out) {
    Call call(a);
    cuda::Matrix left = matrix_of(a, call);
    cuda::Matrix right = matrix_of(b, call);
    if (transpose_a) left = transposed(left);
    if (transpose_b) right = transposed(right);
    Result<float> result(out, {left.rows, right.columns}, Order::c, call);
    cuda::Epilogue epilogue;
    epilogue.alpha = static_cast<float>(alpha);
    epilogue.bias = optional_dense<float>(bias, Order::c, call);
    epilogue.activation = static_cast<Activation>(activation);
    epilogue.slope = static_cast<float>(slope);
    if (!c.is_none() && beta != 0) {
        epilogue.residual = dense<float>(c, Order::c, call);
        epilogue.residual_scale = static_cast<float>(beta);
    }
    cuda::gemm(left, right, result.data(), epilogue, call.allocator(), call.stream());
    return result.finish();
}

py::object linear_binding(py::handle x, py::handle weight, py::handle bias, int activation,
                          double slope, py::handle out) {
    return gemm_binding(x, weight, false, true, 1.0, 0.0, py::none(), bias, activation, slope, out);
}

py::tuple linear_backward_binding(py::handle dy, py::handle x, py::handle weight) {
    Call call(dy);
    const cuda::Matrix gradient = matrix_of(dy, call);
    const cuda::Matrix input = matrix_of(x, call);
    const cuda::Matrix parameters = matrix_of(weight, call);
    Result<float> dx(Shape::of(x), Order::c, call);
    Result<float> dw(Shape::of(weight), Order::c, call);
    Result<float> db({parameters.rows}, Order::c, call);
    cuda::gemm(gradient, parameters, dx.data(), {}, call.allocator(), call.stream());
    cuda::gemm(transposed(gradient), input, dw.data(), {}, call.allocator(), call.stream());
    cuda::column_sums(dense<float>(dy, Order::c, call), gradient.rows, gradient.columns, db.data(),
                      call.allocator(), call.stream());
    return py::make_tuple(dx.finish(), dw.finish(), db.finish());
}

}  // namespace

void register_dense(py::module_& module) {
    module.def("gemm", &gemm_binding);
    module.def("linear", &linear_binding);
    module.def("linear_backward", &linear_backward_binding);
}

}  // namespace pyconv::bindings
