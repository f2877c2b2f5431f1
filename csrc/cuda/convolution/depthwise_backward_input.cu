#include "cuda/convolution/depthwise.cuh"

namespace pyconv::cuda {

namespace {

// A run of cells of a row at a time, the first at a multiple of the stride in the padded image:
// cell first + j and tap s meet dy at a column that is the same for all threads but for its start,
// (first + before) / stride + (j - s) / stride, where that is whole.
template <int kKernel, int kStride, int kLanes, class T>
__global__ void __launch_bounds__(kDepthwiseThreads)
    backward_input_kernel(ImagePacks packs, DepthwiseAxis rows, DepthwiseAxis columns, const T* dy,
                          const T* weight, T* dx, DepthwiseFinish<false, T> finish) {
    constexpr int kRun = kRunOf<kKernel, kLanes>;
    static_assert(kRun % kStride == 0, "a run starts at a multiple of the stride");
    const int index = static_cast<int>(blockIdx.x * kDepthwiseThreads + threadIdx.x);
    if (index >= packs.count) return;
    const auto at = packs.place(index);
    const int channels = packs.channels, channel = at.pack * kLanes;
    const int first = at.column * kRun - columns.before % kStride;
    dy += static_cast<std::int64_t>(at.image) * rows.outputs * columns.outputs * channels + channel;
    weight += channel;
    float sum[kRun][kLanes] = {};
    const int padded_row = at.row + rows.before, start = (first + columns.before) / kStride;
    for (int r = padded_row % kStride; r < kKernel; r += kStride) {
        const int row = (padded_row - r) / kStride;  // a multiple
        if (padded_row < r || row >= rows.outputs) continue;
        float w[kKernel][kLanes];
#pragma unroll
        for (int s = 0; s < kKernel; ++s) load_floats(weight + (r * kKernel + s) * channels, w[s]);
        const T* const line = dy + static_cast<std::int64_t>(row) * columns.outputs * channels;
#pragma unroll
        for (int d = -((kKernel - 1) / kStride); d <= (kRun - 1) / kStride; ++d) {
            float gradient[kLanes];
            load_inside(columns.makes(start + d), line, start + d, channels, gradient);
#pragma unroll
            for (int j = 0; j < kRun; ++j) {
                const int s = j - d * kStride;
                if (s >= 0 && s < kKernel) multiply_add(gradient, w[s], sum[j]);
            }
        }
    }
    const std::int64_t line =
        (static_cast<std::int64_t>(at.image) * rows.size + at.row) * columns.size * channels;
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
        if (!columns.holds(first + j)) continue;
        finish.store(dx, line + static_cast<std::int64_t>(first + j) * channels + channel, channel,
                     sum[j]);
    }
}

// Any kernel, stride and dilation: a cell looks for the outputs that its taps meet.
template <int kLanes, bool kAnyActivation, class T>
__global__ void __launch_bounds__(kDepthwiseThreads)
    any_backward_input_kernel(ImagePacks packs, DepthwiseAxis rows, DepthwiseAxis columns,
                              const T* dy, const T* weight, T* dx,
                              DepthwiseFinish<kAnyActivation, T> finish) {
    const int index = static_cast<int>(blockIdx.x * kDepthwiseThreads + threadIdx.x);
    if (index >= packs.count) return;
    const auto at = packs.place(index);
    const int channels = packs.channels, channel = at.pack * kLanes;
    dy += static_cast<std::int64_t>(at.image) * rows.outputs * columns.outputs * channels + channel;
    weight += channel;
    float sum[kLanes] = {};
    for (int r = 0; r < rows.kernel; ++r) {
        int between;
        const int padded_row = at.row + rows.before - r * rows.dilation;
        if (padded_row < 0) break;
        const int row = rows.stride.divide(padded_row, between);
        if (between != 0 || row >= rows.outputs) continue;
        const T* const line = dy + static_cast<std::int64_t>(row) * columns.outputs * channels;
        for (int s = 0; s < columns.kernel; ++s) {
            const int padded_column = at.column + columns.before - s * columns.dilation;
            if (padded_column < 0) break;
            const int column = columns.stride.divide(padded_column, between);
            if (between != 0 || column >= columns.outputs) continue;
            float w[kLanes], gradient[kLanes];
            load_floats(weight + static_cast<std::int64_t>(r * columns.kernel + s) * channels, w);
            load_floats(line + static_cast<std::int64_t>(column) * channels, gradient);
            multiply_add(gradient, w, sum);
        }
    }
    finish.store(dx, static_cast<std::int64_t>(index) * kLanes, channel, sum);
}

}  // namespace

template <class T>
void depthwise_backward_input(const ConvolutionProblem& p, const T* dy, const T* weight, T* dx,
                              const Epilogue<T>& epilogue, cudaStream_t stream) {
    const bool whole_packs = in_packs<T>(p.in_channels);
    const bool simple = is_piecewise_linear(epilogue.activation);
    const DepthwiseAxis rows = rows_of(p), columns = columns_of(p);
    // kernel(packs, blocks), for `across` threads along a row.
    const auto launch = [&](auto lanes, std::int64_t across, const auto& kernel) {
        const ImagePacks packs(p.batch, p.in_height, across, p.in_channels, lanes);
        if (packs.count == 0) return;
        kernel(packs, static_cast<unsigned>(divide_up(packs.count, kDepthwiseThreads)));
        check_launch("depthwise", describe_depthwise("backward data", p));
    };
    with_lanes<T>(whole_packs, [&](auto lanes) {
        constexpr int kLanes = decltype(lanes)::value;
        const auto any = [&](const auto& finish) {
            launch(lanes, p.in_width, [&](const ImagePacks& packs, unsigned blocks) {
                any_backward_input_kernel<kLanes><<<blocks, kDepthwiseThreads, 0, stream>>>(
                    packs, rows, columns, dy, weight, dx, finish);
            });
        };
        if (!simple) return any(DepthwiseFinish<true, T>(epilogue));
        with_shape(p, whole_packs, [&](auto kernel, [[maybe_unused]] auto step) {
            const DepthwiseFinish<false, T> finish(epilogue);
            constexpr int kKernel = decltype(kernel)::value;
            if constexpr (kKernel > 0 && kLanes > 1) {
                const std::int64_t runs =
                    divide_up(p.in_width + p.pad_left % p.stride_width, kRunOf<kKernel, kLanes>);
                launch(lanes, runs, [&](const ImagePacks& packs, unsigned blocks) {
                    backward_input_kernel<kKernel, decltype(step)::value, kLanes>
                        <<<blocks, kDepthwiseThreads, 0, stream>>>(packs, rows, columns, dy, weight,
                                                                   dx, finish);
                });
            } else {
                any(finish);
            }
        });
    });
}

#define PYCONV_INSTANTIATE(T)                                                                    \
    template void depthwise_backward_input<T>(const ConvolutionProblem&, const T*, const T*, T*, \
                                              const Epilogue<T>&, cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)

}  // namespace pyconv::cuda
