#include "bindings/array.h"

namespace pyconv::bindings {

Strided strides_of(py::handle array) {
    Strided layout;
    const int rank = PyArray_NDIM(as_array(array));
    for (int axis = 0; axis < rank; ++axis) {
        layout.shape[axis] = PyArray_DIM(as_array(array), axis);
        layout.stride[axis] = PyArray_STRIDE(as_array(array), axis);
    }
    return layout;
}

bool lies_dense(py::handle array, const Strided& wanted) {
    PyArrayObject* a = as_array(array);
    if (!PyArray_ISALIGNED(a)) return false;
    for (int axis = 0; axis < PyArray_NDIM(a); ++axis) {
        if (PyArray_DIM(a, axis) > 1 && PyArray_STRIDE(a, axis) != wanted.stride[axis]) {
            return false;
        }
    }
    return true;
}

void copy_elements(std::int64_t item_size, const Strided& from, const char* src, const Strided& to,
                   char* dst) {
    switch (item_size) {
        case 1:
            return copy_strided<unsigned char>(from, src, to, dst);
        case 4:
            return copy_strided<std::int32_t>(from, src, to, dst);
        default:
            return copy_strided<std::int64_t>(from, src, to, dst);
    }
}

Shape Shape::of(py::handle array) {
    Shape shape;
    shape.rank = PyArray_NDIM(as_array(array));
    for (int axis = 0; axis < shape.rank; ++axis) {
        shape.extent[axis] = PyArray_DIM(as_array(array), axis);
    }
    return shape;
}

Strided dense_strides(const Shape& shape, const AxisOrder& order, std::int64_t item_size) {
    const auto strides = strides_in(shape, order, item_size);
    Strided layout;
    for (int axis = 0; axis < shape.rank; ++axis) {
        layout.shape[axis] = shape[axis];
        layout.stride[axis] = strides[axis];
    }
    return layout;
}

py::object empty(const Shape& shape, Order order, int type) {
    PyArray_Descr* descr = PyArray_DescrFromType(type);
    const std::int64_t item_size = PyDataType_ELSIZE(descr);
    Py_DECREF(descr);
    return empty(shape, dense_strides(shape, order, item_size), type);
}

py::object empty(const Shape& shape, const Strided& layout, int type) {
    PyArray_Descr* descr = PyArray_DescrFromType(type);
    const std::int64_t item_size = PyDataType_ELSIZE(descr);
    npy_intp extents[4];
    npy_intp strides[4];
    for (int axis = 0; axis < shape.rank; ++axis) {
        extents[axis] = shape[axis];
        strides[axis] = layout.stride[axis];
    }
    void* memory = pool_allocate(static_cast<std::size_t>(shape.size() * item_size));
    PyObject* capsule = PyCapsule_New(
        memory, nullptr, [](PyObject* self) { pool_release(PyCapsule_GetPointer(self, nullptr)); });
    PyObject* array = nullptr;
    if (capsule) {
        array = PyArray_NewFromDescr(&PyArray_Type, descr, shape.rank, extents, strides, memory,
                                     NPY_ARRAY_WRITEABLE, nullptr);
    } else {
        pool_release(memory);
        Py_DECREF(descr);
    }
    if (!array) {
        Py_XDECREF(capsule);
        throw py::error_already_set();
    }
    PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array), capsule);
    return py::reinterpret_steal<py::object>(array);
}

const void* dense_bytes(py::handle array, const AxisOrder& order, Scratch& scratch) {
    PyArrayObject* a = as_array(array);
    const std::int64_t item_size = PyArray_ITEMSIZE(a);
    const Shape shape = Shape::of(array);
    const Strided wanted = dense_strides(shape, order, item_size);
    if (lies_dense(array, wanted)) return PyArray_DATA(a);
    void* memory = scratch.bytes(static_cast<std::size_t>(shape.size() * item_size));
    copy_elements(item_size, strides_of(array), PyArray_BYTES(a), wanted,
                  static_cast<char*>(memory));
    return memory;
}

template <class T>
void* Result<T>::dense_data(py::handle array, Order order) {
    const Strided wanted = dense_strides(Shape::of(array), order, sizeof(T));
    return lies_dense(array, wanted) ? PyArray_DATA(as_array(array)) : nullptr;
}

template <class T>
void Result<T>::copy_into_array() {
    copy_elements(sizeof(T), dense_strides(shape_, order_, sizeof(T)),
                  reinterpret_cast<const char*>(data_), strides_of(array_),
                  PyArray_BYTES(as_array(array_)));
}

template class Result<float>;
template class Result<double>;
template class Result<std::int32_t>;
template class Result<std::int64_t>;
template class Result<bool>;

}  // namespace pyconv::bindings
