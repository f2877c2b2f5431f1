#include "cuda/common/sums.cuh"
#include "cuda/convolution/depthwise.cuh"

namespace pyconv::cuda {

namespace {

constexpr int kWeightThreads = 512;  // of a block, at most

// How the rows of dy are shared among blocks, by the problem alone. A block is `packs` wide;
// `streams` of its threads go through the rows of its part side by side, each with `taps` threads
// for the rows of the kernel.
struct RowSharing {
    int rows, packs, taps, streams, parts, each;

    RowSharing(const ConvolutionProblem& p, std::int64_t pixel_packs, int most_packs, int taps,
               std::int64_t layers, std::int64_t item_size)
        : rows(checked_int("rows of the output", p.batch * p.out_height)),
          packs(packs_of_block(pixel_packs, most_packs)),
          taps(taps) {
        streams = std::max(1, kWeightThreads / (packs * taps));
        constexpr std::int64_t kWanted = 216;  // blocks: two for each multiprocessor of an A100
        const std::int64_t blocks = divide_up(pixel_packs, packs) * layers;
        // Writing and reading the parts should be a tenth of reading the images, where that is
        // much.
        const std::int64_t pixels =
            p.batch * (p.in_height * p.in_width + p.out_height * p.out_width);
        const std::int64_t light = std::max<std::int64_t>(1, pixels * item_size / (80 * p.taps()));
        const std::int64_t wanted = std::min(
            {divide_up(kWanted, blocks), divide_up(rows, streams), light, std::int64_t{1024}});
        each = static_cast<int>(divide_up(rows, std::max<std::int64_t>(1, wanted)));
        parts = static_cast<int>(divide_up(rows, each));
    }
    PYCONV_HOST_DEVICE int threads() const { return packs * taps * streams; }
};

// Element `at` of the gradient: of the result where there is one part, else of the block's.
template <class T>
__device__ void store_sum(float sum, int parts, std::int64_t size, std::int64_t at, T* dw,
                          float* partial) {
    if (parts == 1) {
        dw[at] = narrow<T>(sum);
    } else {
        partial[blockIdx.x * size + at] = sum;
    }
}

// A thread has one row of the kernel and a pack of channels; some outputs of a row at a time meet
// the inputs that they see, each of which is loaded once.
template <int kKernel, int kStride, int kLanes, class T>
__global__ void __launch_bounds__(kWeightThreads)
    backward_weight_kernel(RowSharing share, DepthwiseAxis rows, DepthwiseAxis columns,
                           FastDivider height, int channels, const T* dy, const T* x, T* dw,
                           float* partial) {
    constexpr int kRun = kRunOf<kKernel, kLanes>;
    __shared__ BlockSums<kLanes, kWeightThreads> sums;
    const int thread = static_cast<int>(threadIdx.x), width = share.packs * kKernel;
    const int pack = static_cast<int>(blockIdx.y) * share.packs + thread % share.packs;
    const int r = thread / share.packs % kKernel, stream = thread / width;
    const int channel = pack * kLanes;
    const bool active = channel < channels;

    float sum[kKernel][kLanes] = {};
    const int end = min((static_cast<int>(blockIdx.x) + 1) * share.each, share.rows);
    for (int i = static_cast<int>(blockIdx.x) * share.each + stream; active && i < end;
         i += share.streams) {
        int out_row;
        const int image = height.divide(i, out_row);
        const int row = out_row * kStride - rows.before + r;
        if (!rows.holds(row)) continue;
        const T* const gradients =
            dy + static_cast<std::int64_t>(i) * columns.outputs * channels + channel;
        const T* const cells =
            x + (static_cast<std::int64_t>(image) * rows.size + row) * columns.size * channels +
            channel;
        for (int first = 0; first < columns.outputs; first += kRun) {
            float gradient[kRun][kLanes];
#pragma unroll
            for (int o = 0; o < kRun; ++o) {
                load_inside(columns.makes(first + o), gradients, first + o, channels, gradient[o]);
            }
            const int left = first * kStride - columns.before;
#pragma unroll
            for (int j = 0; j < (kRun - 1) * kStride + kKernel; ++j) {
                float cell[kLanes];
                load_inside(columns.holds(left + j), cells, left + j, channels, cell);
#pragma unroll
                for (int o = 0; o < kRun; ++o) {
                    const int s = j - o * kStride;
                    if (s >= 0 && s < kKernel && columns.makes(first + o)) {
                        multiply_add(cell, gradient[o], sum[s]);
                    }
                }
            }
        }
    }
    const int first = static_cast<int>(blockIdx.y) * share.packs * kLanes;
    const int across = share.packs * kLanes;  // elements of a tap
#pragma unroll
    for (int s = 0; s < kKernel; ++s) {
        __syncthreads();
        sums.put(thread, sum[s]);
        sums.add_rows(thread, width, share.streams);
        for (int e = thread; e < across * kKernel; e += share.threads()) {
            const int row = e / across, c = first + e % across;
            if (c >= channels) continue;
            store_sum(sums.element(e), share.parts,
                      static_cast<std::int64_t>(kKernel) * kKernel * channels,
                      static_cast<std::int64_t>(row * kKernel + s) * channels + c, dw, partial);
        }
    }
}

// Any kernel, stride and dilation: a block has one tap, and its streams neighbouring outputs.
template <int kLanes, class T>
__global__ void __launch_bounds__(kWeightThreads)
    any_backward_weight_kernel(RowSharing share, DepthwiseAxis rows, DepthwiseAxis columns,
                               FastDivider height, int channels, const T* dy, const T* x, T* dw,
                               float* partial) {
    __shared__ BlockSums<kLanes, kWeightThreads> sums;
    const int thread = static_cast<int>(threadIdx.x), tap = static_cast<int>(blockIdx.z);
    const int pack = static_cast<int>(blockIdx.y) * share.packs + thread % share.packs;
    const int r = tap / columns.kernel, s = tap % columns.kernel, stream = thread / share.packs;
    const int channel = pack * kLanes;
    const bool active = channel < channels;

    float sum[kLanes] = {};
    const int begin = static_cast<int>(blockIdx.x) * share.each;
    const int end = min(begin + share.each, share.rows);
    const int step_rows = share.streams / columns.outputs, step = share.streams % columns.outputs;
    int i = begin + stream / columns.outputs, column = stream % columns.outputs;
    while (active && i < end) {
        int out_row;
        const int image = height.divide(i, out_row);
        const int at_row = out_row * rows.stride - rows.before + r * rows.dilation;
        const int at_column = column * columns.stride - columns.before + s * columns.dilation;
        if (rows.holds(at_row) && columns.holds(at_column)) {
            float gradient[kLanes], cell[kLanes];
            load_floats(
                dy + (static_cast<std::int64_t>(i) * columns.outputs + column) * channels + channel,
                gradient);
            load_floats(
                x +
                    ((static_cast<std::int64_t>(image) * rows.size + at_row) * columns.size +
                     at_column) *
                        channels +
                    channel,
                cell);
            multiply_add(cell, gradient, sum);
        }
        i += step_rows;
        column += step;
        if (column >= columns.outputs) {
            column -= columns.outputs;
            ++i;
        }
    }
    sums.put(thread, sum);
    sums.add_rows(thread, share.packs, share.streams);
    const int first = static_cast<int>(blockIdx.y) * share.packs * kLanes;
    const int count = min(share.packs * kLanes, channels - first);
    for (int e = thread; e < count; e += share.threads()) {
        store_sum(sums.element(e), share.parts, static_cast<std::int64_t>(gridDim.z) * channels,
                  static_cast<std::int64_t>(tap) * channels + first + e, dw, partial);
    }
}

template <class T>
__global__ void add_weight_parts_kernel(const float* partial, int parts, int size, T* dw) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < size) dw[i] = narrow<T>(add_parts_of(partial + i, parts, size));
}

}  // namespace

template <class T>
void depthwise_backward_weight(const ConvolutionProblem& p, const T* dy, const T* x, T* dw,
                               const Allocate& allocate, cudaStream_t stream) {
    const std::int64_t channels = p.in_channels, size = p.taps() * channels;
    if (size == 0) return;
    const std::string problem = describe_depthwise("backward weight", p);
    if (p.outputs() == 0) {
        cudaMemsetAsync(dw, 0, static_cast<std::size_t>(size) * sizeof(T), stream);
        return check_launch("depthwise", problem);
    }
    const bool whole_packs = in_packs<T>(channels);
    const DepthwiseAxis rows = rows_of(p), columns = columns_of(p);
    const FastDivider height(p.out_height);
    const int elements = checked_int("elements of the weight", size);
    with_lanes<T>(whole_packs, [&](auto lanes) {
        constexpr int kLanes = decltype(lanes)::value;
        with_shape(p, whole_packs, [&](auto kernel, [[maybe_unused]] auto step) {
            constexpr bool kOwn = kernel > 0 && kLanes > 1;
            constexpr int kTaps = kOwn ? decltype(kernel)::value : 1;
            const std::int64_t layers = kOwn ? 1 : p.taps();
            const RowSharing share(p, channels / kLanes, kLanes > 1 ? 8 : 32, kTaps, layers,
                                   sizeof(T));
            float* partial = nullptr;
            if (share.parts > 1) {
                partial = static_cast<float*>(
                    allocate(share.parts * size * static_cast<std::int64_t>(sizeof(float))));
            }
            const dim3 grid(static_cast<unsigned>(share.parts),
                            static_cast<unsigned>(divide_up(channels / kLanes, share.packs)),
                            static_cast<unsigned>(layers));
            if constexpr (kOwn) {
                backward_weight_kernel<kernel, step, kLanes><<<grid, share.threads(), 0, stream>>>(
                    share, rows, columns, height, static_cast<int>(channels), dy, x, dw, partial);
            } else {
                any_backward_weight_kernel<kLanes><<<grid, share.threads(), 0, stream>>>(
                    share, rows, columns, height, static_cast<int>(channels), dy, x, dw, partial);
            }
            check_launch("depthwise", problem);
            if (share.parts == 1) return;
            add_weight_parts_kernel<<<static_cast<unsigned>(divide_up(size, 128)), 128, 0,
                                      stream>>>(partial, share.parts, elements, dw);
            check_launch("add_weight_parts", problem);
        });
    });
}

#define PYCONV_INSTANTIATE(T)                                                                     \
    template void depthwise_backward_weight<T>(const ConvolutionProblem&, const T*, const T*, T*, \
                                               const Allocate&, cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)

}  // namespace pyconv::cuda
