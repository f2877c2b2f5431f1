// Pools of channels-last images, in any storage type; sums in float.
#pragma once

#include <cuda_runtime.h>

#include "core/pooling.h"
#include "cuda/common/launch.h"

namespace pyconv::cuda {

struct PoolProblem {
    std::int64_t images, channels;
    PoolAxis rows, columns;
};

// y = the largest cell of every window, and where it lies in its plane; -inf and -1 where there is
// none. With `relu` y = max(y, 0), and -1 where that is 0. `index` may be null; int32 or int64.
template <class T, class Index>
void max_pool(const PoolProblem& p, const T* x, T* y, Index* index, bool relu, cudaStream_t stream);

// dx = the sum of dy over the windows that a cell won.
template <class T, class Index>
void max_pool_backward(const PoolProblem& p, const T* dy, const Index* index, T* dx,
                       cudaStream_t stream);

// Sums of windows over the cells that count (padding among them with `include_padding`), or over
// `divisor` where that is not 0.
template <class T>
void avg_pool(const PoolProblem& p, bool include_padding, float divisor, const T* x, T* y,
              const Allocate& allocate, cudaStream_t stream);
template <class T>
void avg_pool_backward(const PoolProblem& p, bool include_padding, float divisor, const T* dy,
                       T* dx, cudaStream_t stream);

// Sizes before and after.
struct ResizeProblem {
    std::int64_t images, channels, height, width, out_height, out_width;
};
template <class T>
void adaptive_avg_pool(const ResizeProblem& p, const T* x, T* y, const Allocate& allocate,
                       cudaStream_t stream);
template <class T>
void adaptive_avg_pool_backward(const ResizeProblem& p, const T* dy, T* dx, cudaStream_t stream);

}  // namespace pyconv::cuda
