#include "bindings/cuda/array.h"

#include <pybind11/gil_safe_call_once.h>

namespace pyconv::bindings {

namespace {

// What is needed of Python, looked up once and kept for good.
struct CuPy {
    py::object ndarray, alloc, current_stream, get_device, set_device;
    py::object float64, float32, float16, bfloat16, boolean, int32, int64;  // dtypes
    py::object precision;
    int devices = 1;

    CuPy() {
        const py::module_ cuda = py::module_::import("cupy.cuda");
        ndarray = py::module_::import("cupy").attr("ndarray");
        alloc = cuda.attr("alloc");
        current_stream = cuda.attr("get_current_stream");
        get_device = cuda.attr("runtime").attr("getDevice");
        set_device = cuda.attr("runtime").attr("setDevice");
        const py::object dtype = py::module_::import("numpy").attr("dtype");
        float64 = dtype("float64");
        float32 = dtype("float32");
        float16 = dtype("float16");
        boolean = dtype("bool");
        int32 = dtype("int32");
        int64 = dtype("int64");
        try {
            bfloat16 = dtype(py::module_::import("ml_dtypes").attr("bfloat16"));
        } catch (py::error_already_set&) {  // then there are no such arrays
            bfloat16 = py::none();
        }
        precision = py::module_::import("pyconv._runtime").attr("get_float32_precision");
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
    if (!is_aligned()) return false;
    for (int axis = 0; axis < shape.rank; ++axis) {
        if (shape.extent[axis] != 1 && strides[axis] != wanted[axis]) return false;
    }
    return true;
}

cuda::Axes extents(const Shape& shape) { return {{shape[0], shape[1], shape[2], shape[3]}}; }

cuda::Axes dense_strides(const Shape& shape, const AxisOrder& order, std::int64_t item_size) {
    const auto strides = strides_in(shape, order, item_size);
    return {{strides[0], strides[1], strides[2], strides[3]}};
}

AxisOrder common_order(std::initializer_list<py::handle> arrays) {
    std::optional<AxisOrder> first;
    for (const py::handle array : arrays) {
        const DeviceArray given(array);
        const AxisOrder order = axes_by_strides(given.shape, given.strides);
        if (given.lies_as(dense_strides(given.shape, order, given.item_size))) return order;
        if (!first) first = order;
    }
    return *first;
}

Storage storage_of(py::handle array) {
    const py::object dtype = array.attr("dtype");
    if (dtype.is(cupy().float32)) return Storage::float32;
    if (dtype.equal(cupy().float16)) return Storage::float16;
    return dtype.equal(cupy().float32) ? Storage::float32 : Storage::bfloat16;
}

cuda::Arithmetic arithmetic() {
    const py::object mode = cupy().precision();
    return mode.equal(py::str("tf32")) ? cuda::Arithmetic::tensor : cuda::Arithmetic::simt;
}

bool strict_float32() { return cupy().precision().equal(py::str("strict")); }

template <>
py::handle dtype_of<double>() {
    return cupy().float64;
}
template <>
py::handle dtype_of<float>() {
    return cupy().float32;
}
template <>
py::handle dtype_of<__half>() {
    return cupy().float16;
}
template <>
py::handle dtype_of<__nv_bfloat16>() {
    return cupy().bfloat16;
}
template <>
py::handle dtype_of<bool>() {
    return cupy().boolean;
}
template <>
py::handle dtype_of<std::int32_t>() {
    return cupy().int32;
}
template <>
py::handle dtype_of<std::int64_t>() {
    return cupy().int64;
}

py::object empty(const Shape& shape, const AxisOrder& order, py::handle dtype,
                 std::int64_t item_size) {
    const auto strides = dense_strides(shape, order, item_size);
    py::tuple extents(shape.rank), steps(shape.rank);
    for (int axis = 0; axis < shape.rank; ++axis) {
        extents[axis] = py::int_(shape.extent[axis]);
        steps[axis] = py::int_(strides[axis]);
    }
    std::int64_t size = item_size;
    for (int axis = 0; axis < shape.rank; ++axis) size *= shape.extent[axis];
    return cupy().ndarray(extents, dtype, cupy().alloc(size), steps);
}

const void* dense_bytes(py::handle array, const AxisOrder& order, Call& call) {
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
