#include "bindings/array.h"
#include "core/isa.h"
#include "cpu/dense/gemm.h"

namespace pyconv::bindings {

namespace {

// A 2-D array as it lies, in elements; copied where its memory is not aligned to elements.
template <class T>
struct Matrix {
    const T* data;
    std::int64_t rows, columns, row, column;

    Matrix(py::handle array, Scratch& scratch) {
        PyArrayObject* a = as_array(array);
        rows = PyArray_DIM(a, 0);
        columns = PyArray_DIM(a, 1);
        const std::int64_t size = sizeof(T);
        if (PyArray_ISALIGNED(a) && PyArray_STRIDE(a, 0) % size == 0 &&
            PyArray_STRIDE(a, 1) % size == 0) {
            data = static_cast<const T*>(PyArray_DATA(a));
            row = PyArray_STRIDE(a, 0) / size;
            column = columns == 1 ? 1 : PyArray_STRIDE(a, 1) / size;
        } else {
            data = contiguous<T>(array, scratch);
            row = columns;
            column = 1;
        }
    }
    Matrix transposed() const {
        Matrix t = *this;
        std::swap(t.rows, t.columns);
        std::swap(t.row, t.column);
        return t;
    }
};

template <class T>
void set_operands(GemmProblem<T>& p, const Matrix<T>& a, const Matrix<T>& b) {
    p.m = a.rows;
    p.k = a.columns;
    p.n = b.columns;
    p.a = a.data;
    p.a_row = a.row;
    p.a_column = a.column;
    p.b = b.data;
    p.b_row = b.row;
    p.b_column = b.column;
    p.c_row = p.n;
}

py::object gemm_binding(py::handle a, py::handle b, bool transpose_a, bool transpose_b,
                        double alpha, double beta, py::handle c, py::handle bias, int activation,
                        double slope, py::handle out) {
    return with_float(a, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const Matrix<T> left(a, scratch);
        const Matrix<T> right(b, scratch);
        GemmProblem<T> p;
        set_operands(p, transpose_a ? left.transposed() : left,
                     transpose_b ? right.transposed() : right);
        Result<T> result(out, {p.m, p.n}, Order::c, scratch);
        p.c = result.data();
        p.epilogue.alpha = static_cast<T>(alpha);
        p.epilogue.bias = optional_dense<T>(bias, Order::c, scratch);
        p.epilogue.activation = static_cast<Activation>(activation);
        p.epilogue.slope = static_cast<T>(slope);
        if (!c.is_none() && beta != 0) {
            p.epilogue.residual_offset = contiguous<T>(c, scratch) - p.c;
            p.epilogue.residual_scale = static_cast<T>(beta);
        }
        {
            Running running;
            gemm(current_isa(), p);
        }
        return result.finish();
    });
}

py::object linear_binding(py::handle x, py::handle weight, py::handle bias, int activation,
                          double slope, py::handle out) {
    return gemm_binding(x, weight, false, true, 1.0, 0.0, py::none(), bias, activation, slope, out);
}

py::tuple linear_backward_binding(py::handle dy, py::handle x, py::handle weight) {
    return with_float(dy, [&](auto zero) {
        using T = decltype(zero);
        Scratch scratch;
        const Matrix<T> gradient(dy, scratch);
        const Matrix<T> input(x, scratch);
        const Matrix<T> parameters(weight, scratch);
        const T* rows = contiguous<T>(dy, scratch);
        Result<T> dx(Shape::of(x), Order::c, scratch);
        Result<T> dw(Shape::of(weight), Order::c, scratch);
        Result<T> db({parameters.rows}, Order::c, scratch);
        {
            Running running;
            const Isa isa = current_isa();
            GemmProblem<T> p;
            set_operands(p, gradient, parameters);
            p.c = dx.data();
            gemm(isa, p);
            set_operands(p, gradient.transposed(), input);
            p.c = dw.data();
            gemm(isa, p);
            column_sums(isa, rows, gradient.rows, gradient.columns, gradient.columns, db.data());
        }
        return py::make_tuple(dx.finish(), dw.finish(), db.finish());
    });
}

}  // namespace

void register_dense(py::module_& module) {
    module.def("gemm", &gemm_binding);
    module.def("linear", &linear_binding);
    module.def("linear_backward", &linear_backward_binding);
}

}  // namespace pyconv::bindings
