#include "cuda/pooling/axes.h"
#include "cuda/pooling/gather.cuh"
#include "cuda/pooling/pooling.h"
#include "cuda/pooling/reduce.cuh"

namespace pyconv::cuda {

namespace {

// `cells` of the largest window.
template <class T, class Axis>
void mean(const char* name, std::int64_t images, std::int64_t channels, const Axis& rows,
          const Axis& columns, std::int64_t cells, const T* x, T* y, const Allocate& allocate,
          cudaStream_t stream) {
    const std::int64_t outputs = images * rows.outputs * columns.outputs;
    if (outputs * channels == 0) return;
    if (is_shared<T>(outputs, channels, cells)) {
        reduce_windows(name, images, channels, rows, columns, cells, x, y, allocate, stream);
    } else {
        gather(name, images, channels, rows, columns, x, y, stream);
    }
}

// Cells of the longest adaptive window.
std::int64_t longest(std::int64_t size, std::int64_t outputs) {
    return size / outputs + (size % outputs == 0 ? 0 : 2);
}

// A divisor that is given holds for the window, not for each axis.
Divisor column_divisor(bool include_padding, float divisor) {
    return {include_padding, divisor == 0 ? 0.0f : 1.0f};
}

}  // namespace

template <class T>
void avg_pool(const PoolProblem& p, bool include_padding, float divisor, const T* x, T* y,
              const Allocate& allocate, cudaStream_t stream) {
    const WindowMeans rows(p.rows, {include_padding, divisor});
    const WindowMeans columns(p.columns, column_divisor(include_padding, divisor));
    const std::int64_t cells =
        std::min(p.rows.kernel, p.rows.size) * std::min(p.columns.kernel, p.columns.size);
    mean("avg_pool", p.images, p.channels, rows, columns, cells, x, y, allocate, stream);
}

template <class T>
void avg_pool_backward(const PoolProblem& p, bool include_padding, float divisor, const T* dy,
                       T* dx, cudaStream_t stream) {
    const WindowMeansGradient rows(p.rows, {include_padding, divisor});
    const WindowMeansGradient columns(p.columns, column_divisor(include_padding, divisor));
    gather("avg_pool_backward", p.images, p.channels, rows, columns, dy, dx, stream);
}

template <class T>
void adaptive_avg_pool(const ResizeProblem& p, const T* x, T* y, const Allocate& allocate,
                       cudaStream_t stream) {
    const AdaptiveMeans rows(p.height, p.out_height), columns(p.width, p.out_width);
    const std::int64_t cells = longest(p.height, p.out_height) * longest(p.width, p.out_width);
    mean("adaptive_avg_pool", p.images, p.channels, rows, columns, cells, x, y, allocate, stream);
}

template <class T>
void adaptive_avg_pool_backward(const ResizeProblem& p, const T* dy, T* dx, cudaStream_t stream) {
    const AdaptiveMeansGradient rows(p.height, p.out_height), columns(p.width, p.out_width);
    gather("adaptive_avg_pool_backward", p.images, p.channels, rows, columns, dy, dx, stream);
}

#define PYCONV_INSTANTIATE(T)                                                                 \
    template void avg_pool<T>(const PoolProblem&, bool, float, const T*, T*, const Allocate&, \
                              cudaStream_t);                                                  \
    template void avg_pool_backward<T>(const PoolProblem&, bool, float, const T*, T*,         \
                                       cudaStream_t);                                         \
    template void adaptive_avg_pool<T>(const ResizeProblem&, const T*, T*, const Allocate&,   \
                                       cudaStream_t);                                         \
    template void adaptive_avg_pool_backward<T>(const ResizeProblem&, const T*, T*, cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)

}  // namespace pyconv::cuda
