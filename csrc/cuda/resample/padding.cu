#include "cuda/pooling/gather.cuh"
#include "cuda/resample/axes.h"
#include "cuda/resample/resample.h"

namespace pyconv::cuda {

template <class T>
void pad(const PaddingProblem& p, const T* x, T* y, cudaStream_t stream) {
    const PaddingAxis rows(p.height, p.top, p.bottom, p.reflect);
    const PaddingAxis columns(p.width, p.left, p.right, p.reflect);
    gather("pad2d", p.images, p.channels, rows, columns, x, y, stream);
}

template <class T>
void pad_backward(const PaddingProblem& p, const T* dy, T* dx, cudaStream_t stream) {
    const PaddingGradient rows(p.height, p.top, p.bottom, p.reflect);
    const PaddingGradient columns(p.width, p.left, p.right, p.reflect);
    gather("pad2d_backward", p.images, p.channels, rows, columns, dy, dx, stream);
}

#define PYCONV_INSTANTIATE(T)                                                \
    template void pad<T>(const PaddingProblem&, const T*, T*, cudaStream_t); \
    template void pad_backward<T>(const PaddingProblem&, const T*, T*, cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)

}  // namespace pyconv::cuda
