#include "cuda/convolution/depthwise.cuh"

namespace pyconv::cuda {

namespace {

// A run of outputs of a row at a time: an input that is loaded meets every tap that it has among
// them. 3x3 with stride 1: 18 packs of x for 36 products.
template <int kKernel, int kStride, int kLanes, class T>
__global__ void __launch_bounds__(kDepthwiseThreads)
    forward_kernel(ImagePacks packs, DepthwiseAxis rows, DepthwiseAxis columns, const T* x,
                   const T* weight, T* y, DepthwiseFinish<false, T> finish) {
    constexpr int kRun = kRunOf<kKernel, kLanes>;
    const int index = static_cast<int>(blockIdx.x * kDepthwiseThreads + threadIdx.x);
    if (index >= packs.count) return;
    const auto at = packs.place(index);
    const int channels = packs.channels, channel = at.pack * kLanes, first = at.column * kRun;
    x += static_cast<std::int64_t>(at.image) * rows.size * columns.size * channels + channel;
    weight += channel;
    float sum[kRun][kLanes] = {};
    for (int r = 0; r < kKernel; ++r) {
        const int row = at.row * kStride - rows.before + r;
        if (!rows.holds(row)) continue;
        float w[kKernel][kLanes];
#pragma unroll
        for (int s = 0; s < kKernel; ++s) load_floats(weight + (r * kKernel + s) * channels, w[s]);
        const int left = first * kStride - columns.before;
        const T* const line = x + static_cast<std::int64_t>(row) * columns.size * channels;
#pragma unroll
        for (int j = 0; j < (kRun - 1) * kStride + kKernel; ++j) {
            const int column = left + j;
            float cell[kLanes];
            load_inside(columns.holds(column), line, column, channels, cell);
#pragma unroll
            for (int o = 0; o < kRun; ++o) {
                const int s = j - o * kStride;
                if (s >= 0 && s < kKernel) multiply_add(cell, w[s], sum[o]);
            }
        }
    }
    const std::int64_t line =
        (static_cast<std::int64_t>(at.image) * rows.outputs + at.row) * columns.outputs * channels;
#pragma unroll
    for (int o = 0; o < kRun; ++o) {
        if (first + o >= columns.outputs) break;
        finish.store(y, line + static_cast<std::int64_t>(first + o) * channels + channel, channel,
                     sum[o]);
    }
}

// Any kernel, stride and dilation: the weight is loaded once for a run of outputs.
template <int kOutputs, int kLanes, bool kAnyActivation, class T>
__global__ void __launch_bounds__(kDepthwiseThreads, 4)
    any_forward_kernel(ImagePacks packs, DepthwiseAxis rows, DepthwiseAxis columns, const T* x,
                       const T* weight, T* y, DepthwiseFinish<kAnyActivation, T> finish) {
    const int index = static_cast<int>(blockIdx.x * kDepthwiseThreads + threadIdx.x);
    if (index >= packs.count) return;
    const auto at = packs.place(index);
    const int channels = packs.channels, channel = at.pack * kLanes, first = at.column * kOutputs;
    x += static_cast<std::int64_t>(at.image) * rows.size * columns.size * channels + channel;
    weight += channel;
    float sum[kOutputs][kLanes] = {};
    for (int r = 0; r < rows.kernel; ++r) {
        const int row = at.row * rows.stride - rows.before + r * rows.dilation;
        if (!rows.holds(row)) continue;
        const T* const line = x + static_cast<std::int64_t>(row) * columns.size * channels;
        for (int s = 0; s < columns.kernel; ++s) {
            float w[kLanes];
            load_floats(weight + static_cast<std::int64_t>(r * columns.kernel + s) * channels, w);
#pragma unroll
            for (int o = 0; o < kOutputs; ++o) {
                const int column =
                    (first + o) * columns.stride - columns.before + s * columns.dilation;
                float cell[kLanes];
                load_inside(columns.holds(column), line, column, channels, cell);
                multiply_add(cell, w, sum[o]);
            }
        }
    }
    const std::int64_t line =
        (static_cast<std::int64_t>(at.image) * rows.outputs + at.row) * columns.outputs * channels;
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
        if (first + o >= columns.outputs) break;
        finish.store(y, line + static_cast<std::int64_t>(first + o) * channels + channel, channel,
                     sum[o]);
    }
}

}  // namespace

template <class T>
void depthwise_forward(const ConvolutionProblem& p, const T* x, const T* weight, T* y,
                       const Epilogue<T>& epilogue, cudaStream_t stream) {
    const bool whole_packs = in_packs<T>(p.in_channels);
    const bool simple = is_piecewise_linear(epilogue.activation);
    const DepthwiseAxis rows = rows_of(p), columns = columns_of(p);
    // kernel(packs, blocks), for `outputs` of a row at a time.
    const auto launch = [&](auto lanes, std::int64_t outputs, const auto& kernel) {
        const ImagePacks packs(p.batch, p.out_height, divide_up(p.out_width, outputs),
                               p.in_channels, lanes);
        if (packs.count == 0) return;
        kernel(packs, static_cast<unsigned>(divide_up(packs.count, kDepthwiseThreads)));
        check_launch("depthwise", describe_depthwise("forward", p));
    };
    with_lanes<T>(whole_packs, [&](auto lanes) {
        constexpr int kLanes = decltype(lanes)::value, kSome = kLanes > 1 ? 4 : 1;
        if (!simple) {
            return launch(lanes, 1, [&](const ImagePacks& packs, unsigned blocks) {
                any_forward_kernel<1, kLanes><<<blocks, kDepthwiseThreads, 0, stream>>>(
                    packs, rows, columns, x, weight, y, DepthwiseFinish<true, T>(epilogue));
            });
        }
        with_shape(p, whole_packs, [&](auto kernel, [[maybe_unused]] auto step) {
            constexpr int kKernel = decltype(kernel)::value;
            constexpr bool kOwn = kKernel > 0 && kLanes > 1;
            launch(lanes, kOwn ? kRunOf<kKernel, kLanes> : kSome,
                   [&](const ImagePacks& packs, unsigned blocks) {
                       const DepthwiseFinish<false, T> finish(epilogue);
                       if constexpr (kOwn) {
                           forward_kernel<kKernel, decltype(step)::value, kLanes>
                               <<<blocks, kDepthwiseThreads, 0, stream>>>(packs, rows, columns, x,
                                                                          weight, y, finish);
                       } else {
                           any_forward_kernel<kSome, kLanes>
                               <<<blocks, kDepthwiseThreads, 0, stream>>>(packs, rows, columns, x,
                                                                          weight, y, finish);
                       }
                   });
        });
    });
}

#define PYCONV_INSTANTIATE(T)                                                             \
    template void depthwise_forward<T>(const ConvolutionProblem&, const T*, const T*, T*, \
                                       const Epilogue<T>&, cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)

}  // namespace pyconv::cuda
