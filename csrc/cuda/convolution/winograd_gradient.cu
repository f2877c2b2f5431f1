// The weight gradient by Winograd's algorithm: F(3x3, m x m) on the same tiles and points, dy in
// the place of the filter. The outer products of all tiles are summed before one transform back.
#include "cuda/convolution/winograd_tiles.cuh"
#include "cuda/convolution/winograd_transforms.cuh"

namespace pyconv::cuda {

namespace {

constexpr int kResultThreads = 128;

// dw = A^T M A; a thread has one pack of columns of one input channel.
template <int kTile, int kLanes>
__global__ void __launch_bounds__(kResultThreads)
    winograd_weight_result_kernel(const float* planes, int rows, int columns, FastDivider packs,
                                  int items, std::int64_t plane, float* dw) {
    const int item = static_cast<int>(blockIdx.x) * kResultThreads + static_cast<int>(threadIdx.x);
    if (item >= items) return;
    int pack;
    const int row = packs.divide(item, pack);
    const int column = pack * kLanes;
    if (column >= columns) return;
    const auto transform = [](auto& m, auto& y) { winograd_output(m, y); };

    const float* from = planes + static_cast<std::int64_t>(item) * kLanes;
    float half[kTile][3][kLanes];
#pragma unroll
    for (int j = 0; j < kTile; ++j) {
        float m[kTile][kLanes];
#pragma unroll
        for (int i = 0; i < kTile; ++i) load_floats(from + (i * kTile + j) * plane, m[i]);
        each_lane(m, half[j], transform);
    }
    const std::int64_t tap = static_cast<std::int64_t>(rows) * columns;
    float* const to = dw + static_cast<std::int64_t>(row) * columns + column;
#pragma unroll
    for (int r = 0; r < 3; ++r) {
        float m[kTile][kLanes], y[3][kLanes];
#pragma unroll
        for (int j = 0; j < kTile; ++j) {
#pragma unroll
            for (int lane = 0; lane < kLanes; ++lane) m[j][lane] = half[j][r][lane];
        }
        each_lane(m, y, transform);
#pragma unroll
        for (int s = 0; s < 3; ++s) store_floats(to + (r * 3 + s) * tap, y[s]);
    }
}

void transform_weight_back(int out, const ConvolutionProblem& p, const float* planes,
                           const std::string& problem, float* dw, cudaStream_t stream) {
    with_winograd_tile(out, [&](auto tile, auto) {
        with_lanes<float>(in_packs<float>(p.out_channels), [&](auto lanes) {
            const std::int64_t columns = winograd_padded(p.out_channels);
            const int items =
                checked_int("elements of the weight", p.in_channels * columns / lanes);
            winograd_weight_result_kernel<tile, lanes>
                <<<static_cast<unsigned>(divide_up(items, kResultThreads)), kResultThreads, 0,
                   stream>>>(planes, static_cast<int>(p.in_channels),
                             static_cast<int>(p.out_channels), FastDivider(columns / lanes), items,
                             winograd_padded(p.in_channels) * columns, dw);
            check_launch("winograd_weight_result", problem);
        });
    });
}

}  // namespace

void winograd_backward_weight(int out, const ConvolutionProblem& p, const float* dy, const float* x,
                              float* dw, const Allocate& allocate, cudaStream_t stream) {
    const WinogradTiles tiles(p, false, out);
    if (tiles.count == 0) {
        const std::int64_t size = p.taps() * p.in_channels * p.out_channels;
        cudaMemsetAsync(dw, 0, static_cast<std::size_t>(size) * sizeof(float), stream);
        return;
    }
    const std::string problem = describe_winograd("backward weight", out, p);
    const int elements = (out + 2) * (out + 2);
    const std::int64_t rows = winograd_padded(p.in_channels);
    const std::int64_t columns = winograd_padded(p.out_channels);
    float* const sums = winograd_planes(elements, rows * columns, allocate);
    const Allocate partial = reused(allocate);
    float *image = nullptr, *gradient = nullptr;  // of the first part, the largest, for all
    each_part(tiles.count, elements, rows, columns, [&](int first, int count) {
        if (!image) image = winograd_planes(elements, count * rows, allocate);
        if (!gradient) gradient = winograd_planes(elements, count * columns, allocate);
        const WinogradCall call{tiles, out, first, count, problem, stream};
        winograd_image(call, x, p.in_channels, image);
        winograd_gradient(call, dy, p.out_channels, gradient);
        const Taps<SimtProduct, 4> taps{image, static_cast<int>(rows), count,
                                        winograd_window(count, rows),
                                        static_cast<int>(count * rows)};
        const Columns<SimtProduct, 4> matrix{gradient, static_cast<int>(columns), count,
                                             static_cast<int>(columns / 4),
                                             static_cast<int>(count * columns)};
        ProductTask<float> task = winograd_products(problem, elements, static_cast<int>(rows),
                                                    columns, count, sums, partial, stream);
        if (first > 0) task.epilogue.residual = sums;  // in the order of the parts
        SimtProduct::run(taps, matrix, task);
    });
    transform_weight_back(out, p, sums, problem, dw, stream);
}

}  // namespace pyconv::cuda
