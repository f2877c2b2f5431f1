#include <cmath>
#include <string>

#include "cuda/common/index.h"
#include "cuda/common/launch.h"
#include "cuda/common/storage.cuh"
#include "cuda/dropout/dropout.h"
#include "cuda/dropout/philox.cuh"

namespace pyconv::cuda {

namespace {

constexpr int kThreads = 256;

// Entry i takes word i % 4 of the counter i / 4, and is kept where its upper 24 bits, as a
// fraction, are at least p.
struct Dropping {
    std::uint64_t seed;
    std::uint32_t threshold;
    float scale;

    Dropping(std::uint64_t seed_, double p)
        : seed(seed_),
          threshold(static_cast<std::uint32_t>(std::ceil(std::ldexp(p, 24)))),
          scale(static_cast<float>(p < 1 ? 1 / (1 - p) : 0)) {}
    __device__ bool keeps(std::uint32_t word) const { return (word >> 8) >= threshold; }
};

template <class T>
__device__ T scaled(T x, bool keep, float scale) {
    const float value = widen(x) * scale;  // whether it is kept or not: loads stay together
    return narrow<T>(keep ? value : 0.0f);
}

// Memory in the order of the random numbers: a thread for each counter.
template <class T>
__global__ void __launch_bounds__(kThreads)
    flat_kernel(Dropping dropping, std::int64_t n, const T* x, T* y, bool* mask) {
    const std::int64_t counter = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    const std::int64_t first = 4 * counter;
    if (first >= n) return;
    const Words words = philox(static_cast<std::uint64_t>(counter), dropping.seed);
    if (first + 4 <= n) {
        Pack<T, 4> values = load_pack<4>(x + first);
        Pack<bool, 4> keep;
        for (int i = 0; i < 4; ++i) {
            keep.value[i] = dropping.keeps(words.value[i]);
            values.value[i] = scaled(values.value[i], keep.value[i], dropping.scale);
        }
        store_pack(y + first, values);
        store_pack(mask + first, keep);
        return;
    }
    for (int i = 0; i < 4 && first + i < n; ++i) {
        const bool keep = dropping.keeps(words.value[i]);
        y[first + i] = scaled(x[first + i], keep, dropping.scale);
        mask[first + i] = keep;
    }
}

// Channels-last memory: the channels along the lanes, a thread for each counter that a plane of one
// channel has a part in.
template <class T>
__global__ void __launch_bounds__(kThreads)
    images_kernel(Dropping dropping, DropoutShape s, const T* x, T* y, bool* mask) {
    const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
    if (channel >= s.channels) return;
    const std::int64_t counters = s.pixels / 4 + 2;  // at most, in a plane
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    const std::int64_t image = row / counters;
    if (image >= s.images) return;
    const std::int64_t start = (image * s.channels + channel) * s.pixels;
    const std::int64_t counter = start / 4 + row % counters;
    if (4 * counter >= start + s.pixels) return;
    const Words words = philox(static_cast<std::uint64_t>(counter), dropping.seed);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const std::int64_t pixel = 4 * counter + i - start;
        if (pixel < 0 || pixel >= s.pixels) continue;
        const std::int64_t at = (image * s.pixels + pixel) * s.channels + channel;
        const bool keep = dropping.keeps(words.value[i]);
        y[at] = scaled(x[at], keep, dropping.scale);
        mask[at] = keep;
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(float scale, std::int64_t n, const T* dy, const bool* mask, T* dx) {
    const std::int64_t first = 4 * (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x);
    if (first + 4 <= n) {
        Pack<T, 4> values = load_pack<4>(dy + first);
        const Pack<bool, 4> keep = load_pack<4>(mask + first);
        for (int i = 0; i < 4; ++i) values.value[i] = scaled(values.value[i], keep.value[i], scale);
        store_pack(dx + first, values);
        return;
    }
    for (std::int64_t i = first; i < n && i < first + 4; ++i) dx[i] = scaled(dy[i], mask[i], scale);
}

unsigned blocks_of(std::int64_t n) {
    return static_cast<unsigned>(checked_int("elements / 1024", divide_up(n, 4 * kThreads)));
}

}  // namespace

template <class T>
void dropout(const DropoutShape& s, double p, std::uint64_t seed, const T* x, T* y, bool* mask,
             cudaStream_t stream) {
    const std::int64_t n = s.images * s.channels * s.pixels;
    if (n == 0) return;
    const Dropping dropping(seed, p);
    if (s.channels == 1 || s.pixels == 1) {
        flat_kernel<T><<<blocks_of(n), kThreads, 0, stream>>>(dropping, n, x, y, mask);
    } else {
        int across = 32;
        while (across < kThreads && across < s.channels) across *= 2;
        const std::int64_t rows = s.images * (s.pixels / 4 + 2);
        const dim3 block(static_cast<unsigned>(across), static_cast<unsigned>(kThreads / across));
        const dim3 grid(static_cast<unsigned>(checked_int("pixels / 4", divide_up(rows, block.y))),
                        static_cast<unsigned>(divide_up(s.channels, across)));
        images_kernel<T><<<grid, block, 0, stream>>>(dropping, s, x, y, mask);
    }
    check_launch("dropout", std::to_string(n) + " elements");
}

template <class T>
void dropout_backward(std::int64_t n, double p, const T* dy, const bool* mask, T* dx,
                      cudaStream_t stream) {
    if (n == 0) return;
    backward_kernel<T>
        <<<blocks_of(n), kThreads, 0, stream>>>(Dropping(0, p).scale, n, dy, mask, dx);
    check_launch("dropout_backward", std::to_string(n) + " elements");
}

#define PYCONV_INSTANTIATE(T)                                                                 \
    template void dropout<T>(const DropoutShape&, double, std::uint64_t, const T*, T*, bool*, \
                             cudaStream_t);                                                   \
    template void dropout_backward<T>(std::int64_t, double, const T*, const bool*, T*,        \
                                      cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)
#undef PYCONV_INSTANTIATE

}  // namespace pyconv::cuda
