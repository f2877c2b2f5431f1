// NumPy arrays to pointers. The bindings take py::handle by position and read it through NumPy's
// C API; types, ranks and shapes were checked in pyconv/kernels before.
#pragma once

#include <pybind11/pybind11.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL pyconv_array_api
#ifndef PYCONV_IMPORT_ARRAY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include <cstdint>
#include <cstring>
#include <optional>

#include "bindings/shape.h"
#include "core/memory.h"
#include "core/threads.h"
#include "cpu/layout.h"

namespace pyconv::bindings {

namespace py = pybind11;

template <class T>
constexpr int type_number();
template <>
constexpr int type_number<float>() {
    return NPY_FLOAT32;
}
template <>
constexpr int type_number<double>() {
    return NPY_FLOAT64;
}
template <>
constexpr int type_number<std::int32_t>() {
    return NPY_INT32;
}
template <>
constexpr int type_number<std::int64_t>() {
    return NPY_INT64;
}
template <>
constexpr int type_number<bool>() {
    return NPY_BOOL;
}

inline PyArrayObject* as_array(py::handle handle) {
    return reinterpret_cast<PyArrayObject*>(handle.ptr());
}
inline int type_of(py::handle array) { return PyArray_TYPE(as_array(array)); }

// A new array on pooled memory, dense in the given order, or with the strides given.
py::object empty(const Shape& shape, Order order, int type);
py::object empty(const Shape& shape, const Strided& layout, int type);

// Strides in bytes of a dense array.
Strided dense_strides(const Shape& shape, const AxisOrder& order, std::int64_t item_size);
inline Strided dense_strides(const Shape& shape, Order order, std::int64_t item_size) {
    return dense_strides(shape, axis_order(shape.rank, order), item_size);
}

// The strides of an array as it lies, and whether they are those wanted, on aligned memory; those
// of axes of length 1 don't matter.
Strided strides_of(py::handle array);
bool lies_dense(py::handle array, const Strided& wanted);

void copy_elements(std::int64_t item_size, const Strided& from, const char* src, const Strided& to,
                   char* dst);

// The elements of an array as dense memory in the given order: its own where it lies so and is
// aligned, else a copy in `scratch`.
const void* dense_bytes(py::handle array, const AxisOrder& order, Scratch& scratch);

template <class T>
const T* dense(py::handle array, const AxisOrder& order, Scratch& scratch) {
    return static_cast<const T*>(dense_bytes(array, order, scratch));
}
template <class T>
const T* dense(py::handle array, Order order, Scratch& scratch) {
    return dense<T>(array, axis_order(PyArray_NDIM(as_array(array)), order), scratch);
}
template <class T>
const T* channels_last(py::handle array, Scratch& scratch) {
    return dense<T>(array, Order::channels_last, scratch);
}
template <class T>
const T* contiguous(py::handle array, Scratch& scratch) {
    return dense<T>(array, Order::c, scratch);
}
// None gives a null pointer.
template <class T>
const T* optional_dense(py::handle array, Order order, Scratch& scratch) {
    return array.is_none() ? nullptr : dense<T>(array, order, scratch);
}

// An array to write: `out` where the caller gave one, else a new one. Where out does not lie
// dense in the given order, the kernel writes to scratch and finish() copies.
template <class T>
class Result {
  public:
    Result(py::handle out, const Shape& shape, Order order, Scratch& scratch)
        : shape_(shape), order_(order) {
        if (out.is_none()) {
            array_ = empty(shape, order, type_number<T>());
            data_ = static_cast<T*>(PyArray_DATA(as_array(array_)));
            return;
        }
        array_ = py::reinterpret_borrow<py::object>(out);
        data_ = static_cast<T*>(dense_data(out, order));
        if (!data_) {
            data_ = scratch.take<T>(shape.size());
            copy_back_ = true;
        }
    }
    Result(const Shape& shape, Order order, Scratch& scratch)
        : Result(py::none(), shape, order, scratch) {}

    T* data() const { return data_; }
    // Call it with the GIL held, after the kernel.
    py::object finish() {
        if (copy_back_) copy_into_array();
        return array_;
    }

  private:
    static void* dense_data(py::handle array, Order order);
    void copy_into_array();

    Shape shape_;
    Order order_;
    py::object array_;
    T* data_ = nullptr;
    bool copy_back_ = false;
};

// An array that a kernel updates in place, in the order in which it lies: T* where it is dense in
// C order or channels-last, else a copy that finish() writes back.
template <class T>
class InPlace {
  public:
    InPlace(py::handle array, Order order, Scratch& scratch)
        : result_(array, Shape::of(array), order, scratch) {
        const T* source = dense<T>(array, order, scratch);
        if (source != result_.data()) {
            std::memcpy(result_.data(), source, Shape::of(array).size() * sizeof(T));
        }
    }
    T* data() const { return result_.data(); }
    void finish() { result_.finish(); }

  private:
    Result<T> result_;
};

// A kernel runs: the GIL is released, denormals are flushed.
class Running {
    py::gil_scoped_release release_;
    FlushDenormals flush_;
};

// f(float{}) or f(double{}) by the array's type.
template <class F>
auto with_float(py::handle array, F&& f) {
    if (type_of(array) == NPY_FLOAT32) return f(float{});
    if (type_of(array) == NPY_FLOAT64) return f(double{});
    throw py::type_error("expected an array of float32 or float64");
}

void register_convolution(py::module_& module);
void register_dense(py::module_& module);
void register_pooling(py::module_& module);
void register_normalization(py::module_& module);
void register_activation(py::module_& module);
void register_loss(py::module_& module);
void register_resample(py::module_& module);
void register_optimizer(py::module_& module);
void register_dropout(py::module_& module);

}  // namespace pyconv::bindings
