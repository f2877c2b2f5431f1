// CuPy arrays to pointers on the device. Types, ranks and shapes were checked in pyconv/kernels
// before. Memory comes from CuPy's pool, work goes to CuPy's current stream.
#pragma once

#include <cuda_runtime.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <vector>

#include "bindings/shape.h"
#include "cuda/common/launch.h"
#include "cuda/layout.h"

namespace pyconv::bindings {

// One call: the device of its arrays is current, what it takes from the pool lives until its end.
class Call {
  public:
    explicit Call(py::handle array);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    cudaStream_t stream() const { return stream_; }
    void* allocate(std::int64_t bytes);
    cuda::Allocate allocator() {
        return [this](std::int64_t bytes) { return allocate(bytes); };
    }

  private:
    int before_ = 0, device_ = 0;
    cudaStream_t stream_ = nullptr;
    std::vector<py::object> held_;
};

// An array as it lies; strides in bytes.
struct DeviceArray {
    Shape shape;
    cuda::Axes strides;
    char* data = nullptr;
    int item_size = 4;

    explicit DeviceArray(py::handle array);
    bool lies_as(const cuda::Axes& wanted) const;
};

cuda::Axes extents(const Shape& shape);
cuda::Axes dense_strides(const Shape& shape, Order order, std::int64_t item_size);

// A new array, dense in the given order; `type` is NumPy's character.
py::object empty(const Shape& shape, Order order, const char* type, std::int64_t item_size);

// The elements of an array as dense memory in the given order: its own where it lies so, else a
// copy that lives until the end of the call.
const void* dense_bytes(py::handle array, Order order, Call& call);

template <class T>
const T* dense(py::handle array, Order order, Call& call) {
    return static_cast<const T*>(dense_bytes(array, order, call));
}
// None gives a null pointer.
template <class T>
const T* optional_dense(py::handle array, Order order, Call& call) {
    return array.is_none() ? nullptr : dense<T>(array, order, call);
}

template <class T>
constexpr const char* type_character();
template <>
constexpr const char* type_character<float>() {
    return "f";
}
// An array to write: `out` where the caller gave one, else a new one. Where out does not lie dense
// in the given order, the kernel writes elsewhere and finish() copies.
template <class T>
class Result {
  public:
    Result(py::handle out, const Shape& shape, Order order, Call& call)
        : call_(call), shape_(shape), order_(order) {
        if (out.is_none()) {
            array_ = empty(shape, order, type_character<T>(), sizeof(T));
            data_ = reinterpret_cast<T*>(DeviceArray(array_).data);
            return;
        }
        array_ = py::reinterpret_borrow<py::object>(out);
        const DeviceArray given(out);
        if (given.lies_as(dense_strides(shape, order, sizeof(T)))) {
            data_ = reinterpret_cast<T*>(given.data);
        } else {
            data_ = static_cast<T*>(call.allocate(shape.size() * sizeof(T)));
            copy_back_ = true;
        }
    }
    Result(const Shape& shape, Order order, Call& call) : Result(py::none(), shape, order, call) {}

    T* data() const { return data_; }
    py::object finish() {
        if (copy_back_) {
            const DeviceArray given(array_);
            cuda::copy_strided(
                {extents(shape_), dense_strides(shape_, order_, sizeof(T)), given.strides,
                 reinterpret_cast<const char*>(data_), given.data, static_cast<int>(sizeof(T))},
                call_.stream());
        }
        return array_;
    }

  private:
    Call& call_;
    Shape shape_;
    Order order_;
    py::object array_;
    T* data_ = nullptr;
    bool copy_back_ = false;
};

void register_dense(py::module_& module);
void register_convolution(py::module_& module);

}  // namespace pyconv::bindings
