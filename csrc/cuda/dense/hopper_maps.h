// Descriptions of tensors for copies of boxes (tensor maps), made by the driver.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "cuda/common/storage.cuh"

namespace pyconv::cuda {

// Of four axes, the first with neighbouring elements; steps in elements.
struct TensorBox {
    const void* data;
    std::int64_t size[4], step[4];
    int box[4], stride[4];  // elements of a box; every so many of the tensor

    // Whether it can be described, beside its alignment: steps grow by whole factors.
    template <class T>
    bool is_regular() const {
        for (int i = 1; i < 4; ++i) {
            const std::int64_t bytes = step[i] * static_cast<std::int64_t>(sizeof(T));
            if (step[i] <= 0 || bytes % 16 != 0 || bytes >= std::int64_t{1} << 40) return false;
            if (size[i] <= 0 || size[i] > INT32_MAX || stride[i] < 1 || stride[i] > 8) return false;
            if (i == 1 ? step[i] < size[0] : step[i] % step[i - 1] != 0) return false;
        }
        return true;
    }
};

// The driver's function, found through the runtime: nothing is linked to the driver.
inline auto encode_function() {
    static const auto function = [] {
        void* found = nullptr;
        cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 12050
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault,
                                         &result);
#else
        cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &result);
#endif
        cudaGetLastError();
        if (result != cudaDriverEntryPointSuccess) found = nullptr;
        return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found);
    }();
    return function;
}

// Copies of float as TF32: the device may round as it copies; where it doesn't (as the emulator),
// the product cuts off what TF32 lacks, less than 2^-10 of a factor.
template <class T>
inline constexpr CUtensorMapDataType kTensorType = CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
template <>
inline constexpr CUtensorMapDataType kTensorType<half> = CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
template <>
inline constexpr CUtensorMapDataType kTensorType<bfloat16> = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;

// Boxes' lines are 128 bytes, permuted; zeros outside.
template <class T>
CUtensorMap make_tensor_map(const TensorBox& t) {
    cuuint64_t size[4], step[3];
    cuuint32_t box[4], stride[4];
    for (int i = 0; i < 4; ++i) {
        size[i] = static_cast<cuuint64_t>(t.size[i]);
        if (i > 0) step[i - 1] = static_cast<cuuint64_t>(t.step[i]) * sizeof(T);
        // Elements that the box spans.
        box[i] = static_cast<cuuint32_t>((t.box[i] - 1) * t.stride[i] + 1);
        stride[i] = static_cast<cuuint32_t>(t.stride[i]);
    }
    CUtensorMap map;
    const CUresult result =
        encode_function()(&map, kTensorType<T>, 4, const_cast<void*>(t.data), size, step, box,
                          stride, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                          CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS) {
        throw std::runtime_error("cuTensorMapEncodeTiled refused a tensor: error " +
                                 std::to_string(static_cast<int>(result)));
    }
    return map;
}

}  // namespace pyconv::cuda
