#include "cuda/normalization/matrix.cuh"
#include "cuda/normalization/normalization.h"

namespace pyconv::cuda {

namespace {

// Sum, and sum of squared deviations from the mean, of what a thread, a block or an image sees.
// That of a whole is the sum of those of its parts and of n (mean - whole mean)^2 (Chan, Golub and
// LeVeque, 1979): a large mean does no harm.

// Of the values of one column, one by one (Welford, 1962). The mean on the way would do, but for
// its rounding.
struct Column {
    float sum = 0, mean = 0, squares = 0;

    __device__ void add(float x, float share) {  // one of n: share = 1 / n
        const float d = x - mean;
        sum += x;
        mean = fmaf(d, share, mean);
        squares = fmaf(d, x - mean, squares);
    }
    __device__ float deviations(int n, float center) const {
        const float between = mean - center;
        return n > 0 ? fmaf(static_cast<float>(n) * between, between, squares) : 0;
    }
};

// Of the pixels of a block, for each channel.
template <int N, class T>
__global__ void __launch_bounds__(kMatrixThreads, 3)
    statistics_kernel(const PixelMatrix m, const T* __restrict__ x, float* sums, float* squares) {
    __shared__ __align__(32) float shared[kMatrixThreads * N];
    const Place<N> p(m, false);
    x += p.image * p.elements + p.at;
    Column column[N];
    int n = 0;
#pragma unroll 4
    for (int r = p.begin; r < p.whole; ++r, x += p.step) {
        float values[N];
        load_floats(x, values);
        const float share = __frcp_rn(static_cast<float>(++n));
#pragma unroll
        for (int i = 0; i < N; ++i) column[i].add(values[i], share);
    }
    const std::int64_t left = p.rest ? p.elements - p.at - n * p.step : 0;
    float values[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < left) column[i].add(widen(x[i]), __frcp_rn(static_cast<float>(n + 1)));
        values[i] = column[i].sum;
    }
    const std::int64_t to = (p.image * m.blocks + p.block) * m.channels + p.first_channel;
    const auto add_up = [&](float* results) {
        store_columns(shared + p.column, values);
        add_joined(shared, p.width, m.joined);
        for (int c = static_cast<int>(threadIdx.x); c < p.width; c += blockDim.x) {
            results[to + c] = shared[c];
        }
    };
    add_up(sums);
    float mean[N];  // of every column, first of those that for_columns gives this thread
    const float pixels = static_cast<float>(p.pixels(m));
    int i = 0;
    for_columns(p, [&](int, int c) { mean[i++] = shared[c - p.first_channel] / pixels; });
    __syncthreads();
    i = 0;
    for_columns(p, [&](int c, int) { shared[c] = mean[i++]; });
    __syncthreads();
    load_columns(shared + p.column, mean);
#pragma unroll
    for (i = 0; i < N; ++i) values[i] = column[i].deviations(n + (i < left), mean[i]);
    __syncthreads();
    add_up(squares);
}

// Of an image, from those of its blocks.
__global__ void __launch_bounds__(1024)
    merge_kernel(const PixelMatrix m, const BlockSums s, const float* sums, const float* squares,
                 float* mean, float* var) {
    __shared__ float shared[1024];
    const int thread = static_cast<int>(threadIdx.x);
    const int part = thread / s.width;
    const int channel = static_cast<int>(blockIdx.y) * s.width + thread % s.width;
    const std::int64_t image = static_cast<std::int64_t>(blockIdx.x);
    const float pixels = static_cast<float>(m.pixels);
    const auto over_blocks = [&](auto term) {
        float sum = 0;
        if (channel < s.channels) {
            std::int64_t at = (image * m.blocks + part) * s.channels + channel;
#pragma unroll 4
            for (int b = part; b < m.blocks; b += s.parts, at += s.parts * s.channels) {
                sum += term(b, at);
            }
        }
        shared[thread] = sum;
        add_joined(shared, s.width, s.parts);
        return shared[thread % s.width] / pixels;
    };
    const float center = over_blocks([&](int, std::int64_t at) { return sums[at]; });
    __syncthreads();
    const float spread = over_blocks([&](int b, std::int64_t at) {
        const float n = static_cast<float>(Place<1>::pixels_of_block(m, b));
        const float between = sums[at] / n - center;
        return squares[at] + n * between * between;
    });
    if (part == 0 && channel < s.channels) {
        mean[image * s.channels + channel] = center;
        var[image * s.channels + channel] = spread;
    }
}

__global__ void move_kernel(int channels, float* running_mean, float* running_var,
                            const float* mean, const float* var, float keep, float share,
                            float scale) {
    const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= channels) return;
    running_mean[c] = running_mean[c] * keep + share * mean[c];
    running_var[c] = running_var[c] * keep + share * (var[c] * scale);
}

}  // namespace

template <class T>
void statistics(const NormalizationProblem& p, const T* x, float* mean, float* var,
                const Allocate& allocate, cudaStream_t stream) {
    if (p.images * p.channels == 0) return;
    with_packs<T>(p, [&](auto width) {
        constexpr int N = decltype(width)::value;
        const PixelMatrix m(p, N);
        const BlockSums merging(m.channels);
        float* const sums = static_cast<float*>(allocate(m.partial_sums() * 2 * sizeof(float)));
        float* const squares = sums + m.partial_sums();
        statistics_kernel<N><<<m.grid(), m.threads(N), 0, stream>>>(m, x, sums, squares);
        check_launch("statistics", m.describe());
        merge_kernel<<<merging.grid(p.images), merging.threads(), 0, stream>>>(m, merging, sums,
                                                                               squares, mean, var);
        check_launch("statistics", m.describe());
    });
}

void move_statistics(std::int64_t channels, float* running_mean, float* running_var,
                     const float* mean, const float* var, double momentum, double scale,
                     cudaStream_t stream) {
    if (channels == 0) return;
    move_kernel<<<static_cast<unsigned>(divide_up(channels, 256)), 256, 0, stream>>>(
        checked_int("channels", channels), running_mean, running_var, mean, var,
        static_cast<float>(1 - momentum), static_cast<float>(momentum), static_cast<float>(scale));
    check_launch("move_statistics", std::to_string(channels) + " channels");
}

#define PYCONV_INSTANTIATE(T)                                                          \
    template void statistics<T>(const NormalizationProblem&, const T*, float*, float*, \
                                const Allocate&, cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)
#undef PYCONV_INSTANTIATE

}  // namespace pyconv::cuda
