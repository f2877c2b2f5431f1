#include "cuda/pooling/gather.cuh"
#include "cuda/resample/axes.h"
#include "cuda/resample/resample.h"

namespace pyconv::cuda {

namespace {

// The gather, for rows and columns whose positions are of one kind.
template <template <class> class Axis, class T>
void resize(const char* name, const UpsampleProblem& p, const T* from, T* to, cudaStream_t stream) {
    const auto exact = [&](std::int64_t size, std::int64_t outputs, double scale) {
        return p.linear ? exact_linear(size, outputs, scale, p.align_corners)
                        : exact_nearest(size, outputs, scale);
    };
    const auto run = [&](const auto& rows, const auto& columns) {
        using Positions = std::decay_t<decltype(rows)>;
        gather(name, p.images, p.channels, Axis<Positions>(p.height, p.out_height, rows),
               Axis<Positions>(p.width, p.out_width, columns), from, to, stream);
    };
    const auto rows = exact(p.height, p.out_height, p.row_scale);
    const auto columns = exact(p.width, p.out_width, p.column_scale);
    if (rows && columns) return run(*rows, *columns);
    run(ScaledPositions(p.height, p.row_scale, p.linear),
        ScaledPositions(p.width, p.column_scale, p.linear));
}

}  // namespace

template <class T>
void upsample(const UpsampleProblem& p, const T* x, T* y, cudaStream_t stream) {
    p.linear ? resize<LinearAxis>("upsample2d", p, x, y, stream)
             : resize<NearestAxis>("upsample2d", p, x, y, stream);
}

template <class T>
void upsample_backward(const UpsampleProblem& p, const T* dy, T* dx, cudaStream_t stream) {
    p.linear ? resize<LinearGradient>("upsample2d_backward", p, dy, dx, stream)
             : resize<NearestGradient>("upsample2d_backward", p, dy, dx, stream);
}

#define PYCONV_INSTANTIATE(T)                                                      \
    template void upsample<T>(const UpsampleProblem&, const T*, T*, cudaStream_t); \
    template void upsample_backward<T>(const UpsampleProblem&, const T*, T*, cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)

}  // namespace pyconv::cuda
