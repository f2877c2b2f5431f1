// Channels-last images in another size, or framed; in any storage type, sums in float.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pyconv::cuda {

// Sizes of x and y; a scale is the factor between them, 0 where the sizes give it.
struct UpsampleProblem {
    std::int64_t images, channels, height, width, out_height, out_width;
    double row_scale, column_scale;
    bool linear, align_corners;
};
template <class T>
void upsample(const UpsampleProblem& p, const T* x, T* y, cudaStream_t stream);
template <class T>
void upsample_backward(const UpsampleProblem& p, const T* dy, T* dx, cudaStream_t stream);

// Sizes of x; zeros, or the image mirrored about its edge cells.
struct PaddingProblem {
    std::int64_t images, channels, height, width, top, bottom, left, right;
    bool reflect;
};
template <class T>
void pad(const PaddingProblem& p, const T* x, T* y, cudaStream_t stream);
template <class T>
void pad_backward(const PaddingProblem& p, const T* dy, T* dx, cudaStream_t stream);

}  // namespace pyconv::cuda
