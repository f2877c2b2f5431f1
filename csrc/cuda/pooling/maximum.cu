#include "cuda/common/packs.cuh"
#include "cuda/pooling/axes.h"
#include "cuda/pooling/pooling.h"

namespace pyconv::cuda {

namespace {

// The first of the largest cells in scan order; the first NaN wins over all.
template <int kLanes, class T, class Index>
__global__ void __launch_bounds__(kPackThreads)
    max_pool_kernel(ImagePacks packs, DevicePoolAxis rows, DevicePoolAxis columns, const T* x, T* y,
                    Index* index, bool relu) {
    const int self = static_cast<int>(blockIdx.x * kPackThreads + threadIdx.x);
    if (self >= packs.count) return;
    const auto at = packs.place(self);
    const auto down = pool_window(rows, at.row);
    const auto across = pool_window(columns, at.column);
    x += static_cast<std::int64_t>(at.image) * rows.size * columns.size * packs.channels +
         at.pack * kLanes;
    // Of nothing but -inf the first cell wins; a window that holds no cell has no winner.
    const bool any = down.begin < down.end && across.begin < across.end;
    const Index start = static_cast<Index>(down.start + down.begin * rows.dilation) * columns.size +
                        across.start + across.begin * columns.dilation;
    float best[kLanes];
    Index where[kLanes];
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
        best[i] = -INFINITY;
        where[i] = any ? start : -1;
    }
    for (int r = down.begin; r < down.end; ++r) {
        const Index row = static_cast<Index>(down.start + r * rows.dilation) * columns.size;
#pragma unroll 4
        for (int c = across.begin; c < across.end; ++c) {
            const Index cell = row + across.start + c * columns.dilation;
            float value[kLanes];
            load_floats(x + static_cast<std::int64_t>(cell) * packs.channels, value);
#pragma unroll
            for (int i = 0; i < kLanes; ++i) {
                if (!(value[i] <= best[i]) && best[i] == best[i]) {
                    best[i] = value[i];
                    where[i] = cell;
                }
            }
        }
    }
    if (relu) {
#pragma unroll
        for (int i = 0; i < kLanes; ++i) {
            if (best[i] <= 0) {
                best[i] = 0;
                where[i] = -1;
            }
        }
    }
    const std::int64_t to = static_cast<std::int64_t>(self) * kLanes;
    store_floats(y + to, best);
    if (!index) return;
    Pack<Index, kLanes> places;
#pragma unroll
    for (int i = 0; i < kLanes; ++i) places.value[i] = where[i];
    store_pack(index + to, places);
}

// A cell looks at the windows over it, in their order, and takes the dy of those that it won.
template <int kLanes, class T, class Index>
__global__ void __launch_bounds__(kPackThreads)
    max_pool_backward_kernel(ImagePacks packs, DevicePoolAxis rows, DevicePoolAxis columns,
                             const T* dy, const Index* index, T* dx) {
    const int self = static_cast<int>(blockIdx.x * kPackThreads + threadIdx.x);
    if (self >= packs.count) return;
    const auto at = packs.place(self);
    const auto down = windows_over(rows, at.row);
    const auto across = windows_over(columns, at.column);
    const Index cell = static_cast<Index>(at.row) * columns.size + at.column;
    const std::int64_t image =
        static_cast<std::int64_t>(at.image) * rows.outputs * columns.outputs * packs.channels +
        at.pack * kLanes;
    float sum[kLanes] = {};
    for (int r = down.begin; r < down.end; ++r) {
#pragma unroll 2
        for (int c = across.begin; c < across.end; ++c) {
            const std::int64_t from =
                image + (static_cast<std::int64_t>(r) * columns.outputs + c) * packs.channels;
            float gradient[kLanes];
            load_floats(dy + from, gradient);
            const Pack<Index, kLanes> won = load_pack<kLanes>(index + from);
#pragma unroll
            for (int i = 0; i < kLanes; ++i) {
                if (won.value[i] == cell) sum[i] += gradient[i];
            }
        }
    }
    store_floats(dx + static_cast<std::int64_t>(self) * kLanes, sum);
}

// f(lanes), by a constant: 16 bytes of indices, or one.
template <class Index, class F>
void with_index_lanes(std::int64_t channels, F&& f) {
    constexpr int kLanes = kPack<Index>;
    if (channels % kLanes == 0) {
        f(std::integral_constant<int, kLanes>{});
    } else {
        f(std::integral_constant<int, 1>{});
    }
}

std::string describe(const PoolProblem& p) {
    return describe_images(p.images, p.channels, p.rows.size, p.columns.size, p.rows.outputs,
                           p.columns.outputs);
}

}  // namespace

template <class T, class Index>
void max_pool(const PoolProblem& p, const T* x, T* y, Index* index, bool relu,
              cudaStream_t stream) {
    const DevicePoolAxis rows = device_axis(p.rows), columns = device_axis(p.columns);
    with_index_lanes<Index>(p.channels, [&](auto lanes) {
        const ImagePacks packs(p.images, rows.outputs, columns.outputs, p.channels, lanes);
        if (packs.count == 0) return;
        max_pool_kernel<lanes>
            <<<packs.blocks(), kPackThreads, 0, stream>>>(packs, rows, columns, x, y, index, relu);
        check_launch("max_pool", describe(p));
    });
}

template <class T, class Index>
void max_pool_backward(const PoolProblem& p, const T* dy, const Index* index, T* dx,
                       cudaStream_t stream) {
    const DevicePoolAxis rows = device_axis(p.rows), columns = device_axis(p.columns);
    with_index_lanes<Index>(p.channels, [&](auto lanes) {
        const ImagePacks packs(p.images, rows.size, columns.size, p.channels, lanes);
        if (packs.count == 0) return;
        max_pool_backward_kernel<lanes>
            <<<packs.blocks(), kPackThreads, 0, stream>>>(packs, rows, columns, dy, index, dx);
        check_launch("max_pool_backward", describe(p));
    });
}

#define PYCONV_INSTANTIATE(T, INDEX)                                                          \
    template void max_pool<T, INDEX>(const PoolProblem&, const T*, T*, INDEX*, bool,          \
                                     cudaStream_t);                                           \
    template void max_pool_backward<T, INDEX>(const PoolProblem&, const T*, const INDEX*, T*, \
                                              cudaStream_t);
PYCONV_INSTANTIATE(float, std::int32_t)
PYCONV_INSTANTIATE(float, std::int64_t)
PYCONV_INSTANTIATE(half, std::int32_t)
PYCONV_INSTANTIATE(half, std::int64_t)
PYCONV_INSTANTIATE(bfloat16, std::int32_t)
PYCONV_INSTANTIATE(bfloat16, std::int64_t)

}  // namespace pyconv::cuda
