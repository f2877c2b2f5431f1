// CuPy arrays to pointers on the device. Types, ranks and shapes were checked in pyconv/kernels
// before. Memory comes from CuPy's pool, work goes to CuPy's current stream.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "bindings/shape.h"
#include "cuda/common/launch.h"
#include "cuda/dense/product.h"
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
    // Accesses of 16 bytes are allowed. What isn't aligned so is laid out anew at the door: a sum
    // of single elements would be another than that of packs.
    bool is_aligned() const { return cuda::aligned_to(16, data); }
    bool lies_as(const cuda::Axes& wanted) const;
};

cuda::Axes extents(const Shape& shape);
cuda::Axes dense_strides(const Shape& shape, const AxisOrder& order, std::int64_t item_size);
inline cuda::Axes dense_strides(const Shape& shape, Order order, std::int64_t item_size) {
    return dense_strides(shape, axis_order(shape.rank, order), item_size);
}

// The order of the axes of the first array that is dense in its own, else that of the first: for
// operations that look at one element at a time, so that nothing is copied.
AxisOrder common_order(std::initializer_list<py::handle> arrays);

// A new array of that dtype, dense in the given order.
py::object empty(const Shape& shape, const AxisOrder& order, py::handle dtype,
                 std::int64_t item_size);

// The elements of an array as dense memory in the given order: its own where it lies so, else a
// copy that lives until the end of the call.
const void* dense_bytes(py::handle array, const AxisOrder& order, Call& call);

template <class T>
const T* dense(py::handle array, const AxisOrder& order, Call& call) {
    return static_cast<const T*>(dense_bytes(array, order, call));
}
template <class T>
const T* dense(py::handle array, Order order, Call& call) {
    return dense<T>(array, axis_order(Shape::of(array).rank, order), call);
}
// None gives a null pointer.
template <class T>
const T* optional_dense(py::handle array, Order order, Call& call) {
    return array.is_none() ? nullptr : dense<T>(array, order, call);
}

// The dtype of arrays of T.
template <class T>
py::handle dtype_of();

// f(float{}), f(__half{}) or f(__nv_bfloat16{}) by the array's dtype.
enum class Storage { float32, float16, bfloat16 };
Storage storage_of(py::handle array);
template <class F>
auto with_storage(py::handle array, F&& f) {
    switch (storage_of(array)) {
        case Storage::float16:
            return f(__half{});
        case Storage::bfloat16:
            return f(__nv_bfloat16{});
        default:
            return f(float{});
    }
}

// How float32 products are formed on the calling thread: pyconv.get_float32_precision().
cuda::Arithmetic arithmetic();
// Whether it keeps to direct sums.
bool strict_float32();

// The bias of an epilogue: of the storage type, or float32.
template <class T>
void set_bias(cuda::Epilogue<T>& epilogue, py::handle bias, Call& call) {
    if (bias.is_none()) return;
    if (storage_of(bias) == Storage::float32) {
        epilogue.bias = dense<float>(bias, Order::c, call);
    } else {
        epilogue.stored_bias = dense<T>(bias, Order::c, call);
    }
}

// An array to write: `out` where the caller gave one, else a new one. Where out does not lie dense
// in the given order, the kernel writes elsewhere and finish() copies.
template <class T>
class Result {
  public:
    Result(py::handle out, const Shape& shape, const AxisOrder& order, Call& call)
        : call_(call), shape_(shape), strides_(dense_strides(shape, order, sizeof(T))) {
        if (out.is_none()) {
            array_ = empty(shape, order, dtype_of<T>(), sizeof(T));
            data_ = reinterpret_cast<T*>(DeviceArray(array_).data);
            return;
        }
        array_ = py::reinterpret_borrow<py::object>(out);
        const DeviceArray given(out);
        if (given.lies_as(strides_)) {
            data_ = reinterpret_cast<T*>(given.data);
        } else {
            data_ = static_cast<T*>(call.allocate(shape.size() * sizeof(T)));
            copy_back_ = true;
        }
    }
    Result(py::handle out, const Shape& shape, Order order, Call& call)
        : Result(out, shape, axis_order(shape.rank, order), call) {}
    Result(const Shape& shape, Order order, Call& call) : Result(py::none(), shape, order, call) {}

    T* data() const { return data_; }
    // Whether the kernel writes elsewhere: an array that is changed must be copied there first.
    bool is_copy() const { return copy_back_; }
    const cuda::Axes& strides() const { return strides_; }
    py::object finish() {
        if (copy_back_) {
            const DeviceArray given(array_);
            cuda::copy_strided(
                {extents(shape_), strides_, given.strides, reinterpret_cast<const char*>(data_),
                 given.data, static_cast<int>(sizeof(T))},
                call_.stream());
        }
        return array_;
    }

  private:
    Call& call_;
    Shape shape_;
    cuda::Axes strides_;
    py::object array_;
    T* data_ = nullptr;
    bool copy_back_ = false;
};

// An array that a kernel changes, as memory that is dense in the given order.
template <class T>
class InPlace {
  public:
    InPlace(py::handle array, const AxisOrder& order, Call& call)
        : result_(array, Shape::of(array), order, call) {
        if (!result_.is_copy()) return;
        const DeviceArray given(array);
        cuda::copy_strided({extents(given.shape), given.strides, result_.strides(), given.data,
                            reinterpret_cast<char*>(result_.data()), static_cast<int>(sizeof(T))},
                           call.stream());
    }
    T* data() const { return result_.data(); }
    void finish() { result_.finish(); }

  private:
    Result<T> result_;
};

void register_dense(py::module_& module);
void register_convolution(py::module_& module);
void register_optimizer(py::module_& module);
void register_dropout(py::module_& module);
void register_activation(py::module_& module);
void register_loss(py::module_& module);
void register_normalization(py::module_& module);
void register_pooling(py::module_& module);
void register_resample(py::module_& module);

}  // namespace pyconv::bindings
