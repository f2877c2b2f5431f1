#include "bindings/cuda/array.h"

#include <pybind11/gil_safe_call_once.h>

namespace pyconv::bindings {

namespace {

// What is needed of CuPy, looked up once and kept for good.
struct CuPy {
    py::object ndarray, alloc, current_stream, get_device, set_device;
    int devices = 1;

    CuPy() {
        const py::module_ cuda = py::module_::import("cupy.cuda");
        ndarray = py::module_::import("cupy").attr("ndarray");
        alloc = cuda.attr("alloc");
        current_stream = cuda.attr("get_current_stream");
        get_device = cuda.attr("runtime").attr("getDevice");
        set_device = cuda.attr("runtime").attr("setDevice");
        cudaGetDeviceCount(&devices);
    }
};
const CuPy& cupy() {
    PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<CuPy> kept;
    return kept.call_once_and_store_result([] { return CuPy(); }).get_stored();
}

void use_device(int device) {
    cudaSetDevice(device);
    cupy().set_device(device);  // CuPy may bring a runtime library of its own
}

}  // namespace

Shape Shape::of(py::handle array) { return of_tuple(array.attr("shape")); }

Call::Call(py::handle array) {
    if (cupy().devices > 1) {
        before_ = cupy().get_device().cast<int>();
        device_ = array.attr("device").attr("id").cast<int>();
        use_device(device_);
    }
    stream_ =
        reinterpret_cast<cudaStream_t>(cupy().current_stream().attr("ptr").cast<std::uintptr_t>());
}

Call::~Call() {
    if (device_ != before_) use_device(before_);
}

void* Call::allocate(std::int64_t bytes) {
    held_.push_back(cupy().alloc(bytes));
    return reinterpret_cast<void*>(held_.back().attr("ptr").cast<std::uintptr_t>());
}

DeviceArray::DeviceArray(py::handle array) : shape(Shape::of(array)) {
    const py::tuple steps = array.attr("strides");
    for (int axis = 0; axis < shape.rank; ++axis) {
        strides[axis] = PyLong_AsLongLong(PyTuple_GET_ITEM(steps.ptr(), axis));
    }
    data = reinterpret_cast<char*>(array.attr("data").attr("ptr").cast<std::uintptr_t>());
    item_size = array.attr("itemsize").cast<int>();
}

bool DeviceArray::lies_as(const cuda::Axes& wanted) const {
    if (reinterpret_cast<std::uintptr_t>(data) % item_size != 0) return false;
    for (int axis = 0; axis < shape.rank; ++axis) {
        if (shape.extent[axis] != 1 && strides[axis] != wanted[axis]) return false;
    }
    return true;
}

cuda::Axes extents(const Shape& shape) { return {{shape[0], shape[1], shape[2], shape[3]}}; }

cuda::Axes dense_strides(const Shape& shape, Order order, std::int64_t item_size) {
    cuda::Axes strides;
    std::int64_t step = item_size;
    const auto take = [&](int axis) {
        strides[axis] = step;
        step *= shape.extent[axis] > 0 ? shape.extent[axis] : 1;
    };
    const bool inner = order == Order::channels_last && shape.rank > 2;
    if (inner) take(1);
    for (int axis = shape.rank - 1; axis >= 0; --axis) {
        if (!inner || axis != 1) take(axis);
    }
    return strides;
}

py::object empty(const Shape& shape, Order order, const char* type, std::int64_t item_size) {
    const auto strides = dense_strides(shape, order, item_size);
    py::tuple extents(shape.rank), steps(shape.rank);
    for (int axis = 0; axis < shape.rank; ++axis) {
        extents[axis] = py::int_(shape.extent[axis]);
        steps[axis] = py::int_(strides[axis]);
    }
    std::int64_t size = item_size;
    for (int axis = 0; axis < shape.rank; ++axis) size *= shape.extent[axis];
    return cupy().ndarray(extents, type, cupy().alloc(size), steps);
}

const void* dense_bytes(py::handle array, Order order, Call& call) {
    const DeviceArray from(array);
    const auto wanted = dense_strides(from.shape, order, from.item_size);
    if (from.lies_as(wanted)) return from.data;
    void* const copy = call.allocate(from.shape.size() * from.item_size);
    cuda::copy_strided({extents(from.shape), from.strides, wanted, from.data,
                        static_cast<char*>(copy), from.item_size},
                       call.stream());
    return copy;
}

}  // namespace pyconv::bindings
