// Arrays as flat memory, in whatever order their axes lie: for operations that look at one element
// at a time, so that nothing is copied and the result lies as the input does.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "bindings/array.h"

namespace pyconv::bindings {

// The axes of an array by falling strides; those of length 1 come first.
AxisOrder order_of(py::handle array);
// The order of the first array that is dense in its own, else that of the first.
AxisOrder common_order(std::initializer_list<py::handle> arrays);

// As Result and InPlace of array.h.
template <class T>
class FlatResult {
  public:
    FlatResult(py::handle out, const Shape& shape, const AxisOrder& order, Scratch& scratch)
        : layout_(dense_strides(shape, order, sizeof(T))) {
        if (out.is_none()) {
            array_ = empty(shape, layout_, type_number<T>());
        } else {
            array_ = py::reinterpret_borrow<py::object>(out);
            copy_back_ = !lies_dense(out, layout_);
        }
        data_ = copy_back_ ? scratch.take<T>(shape.size())
                           : static_cast<T*>(PyArray_DATA(as_array(array_)));
    }

    T* data() const { return data_; }
    // Call it with the GIL held, after the kernel.
    py::object finish() {
        if (copy_back_) {
            copy_elements(sizeof(T), layout_, reinterpret_cast<const char*>(data_),
                          strides_of(array_), PyArray_BYTES(as_array(array_)));
        }
        return array_;
    }

  private:
    Strided layout_;
    py::object array_;
    T* data_ = nullptr;
    bool copy_back_ = false;
};

template <class T>
class FlatInPlace {
  public:
    FlatInPlace(py::handle array, const AxisOrder& order, Scratch& scratch)
        : result_(array, Shape::of(array), order, scratch) {
        const Shape shape = Shape::of(array);
        const Strided layout = dense_strides(shape, order, sizeof(T));
        if (!lies_dense(array, layout)) {
            copy_elements(sizeof(T), strides_of(array), PyArray_BYTES(as_array(array)), layout,
                          reinterpret_cast<char*>(result_.data()));
        }
    }
    T* data() const { return result_.data(); }
    void finish() { result_.finish(); }

  private:
    FlatResult<T> result_;
};

}  // namespace pyconv::bindings
