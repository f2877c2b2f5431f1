// The transforms of the weight and of the result, and the passes that give images.
#include "cuda/common/epilogue.cuh"
#include "cuda/convolution/winograd_tiles.cuh"
#include "cuda/convolution/winograd_transforms.cuh"

namespace pyconv::cuda {

namespace {

constexpr int kWeightThreads = 128;

// planes = G g G^T, [element][input channel][output channel]; a thread has one pack of columns.
template <int kTile, int kLanes>
__global__ void __launch_bounds__(kWeightThreads)
    winograd_weight_kernel(const float* weight, int rows, int columns, FastDivider packs, int items,
                           bool turned, std::int64_t plane, float* planes) {
    const int item = static_cast<int>(blockIdx.x) * kWeightThreads + static_cast<int>(threadIdx.x);
    if (item >= items) return;
    int pack;
    const int row = packs.divide(item, pack);
    const int column = pack * kLanes;
    const std::int64_t tap = static_cast<std::int64_t>(rows) * columns;
    const float* from = weight + static_cast<std::int64_t>(row) * columns + column;
    const bool inside = row < rows && column < columns;

    float half[3][kTile][kLanes];
#pragma unroll
    for (int s = 0; s < 3; ++s) {
        float g[3][kLanes] = {};
#pragma unroll
        for (int r = 0; r < 3; ++r) {
            const int at = turned ? 8 - (r * 3 + s) : r * 3 + s;
            if (inside) load_floats(from + at * tap, g[r]);
        }
        each_lane(g, half[s], [](auto& x, auto& u) { winograd_filter(x, u); });
    }
    float* to = planes + static_cast<std::int64_t>(item) * kLanes;
#pragma unroll
    for (int i = 0; i < kTile; ++i) {
        float g[3][kLanes], u[kTile][kLanes];
#pragma unroll
        for (int s = 0; s < 3; ++s) {
#pragma unroll
            for (int lane = 0; lane < kLanes; ++lane) g[s][lane] = half[s][i][lane];
        }
        each_lane(g, u, [](auto& x, auto& y) { winograd_filter(x, y); });
#pragma unroll
        for (int j = 0; j < kTile; ++j) store_plane(to + (i * kTile + j) * plane, u[j]);
    }
}

// result = A^T M A through the epilogue; a thread transforms one column of a tile, then one row.
template <int kTile, int kOut, int kLanes, bool kAnyActivation>
__global__ void __launch_bounds__(kWinogradItems* kTile)
    winograd_result_kernel(const float* planes, WinogradTiles tiles, WinogradPart part,
                           Epilogue<float> epilogue, PiecewiseLinear linear, float* result) {
    __shared__ Pack<float, kLanes> half[kOut][kTile][kWinogradItems];
    const int lane = static_cast<int>(threadIdx.x), own = static_cast<int>(threadIdx.y);
    const int item = static_cast<int>(blockIdx.x) * kWinogradItems + lane;
    const auto transform = [](auto& m, auto& y) { winograd_output(m, y); };

    float m[kTile][kLanes] = {}, y[kOut][kLanes];
    if (item < part.items) {
        const float* from = planes + own * part.plane + static_cast<std::int64_t>(item) * kLanes;
#pragma unroll
        for (int i = 0; i < kTile; ++i) load_floats(from + i * kTile * part.plane, m[i]);
    }
    each_lane(m, y, transform);
#pragma unroll
    for (int i = 0; i < kOut; ++i) store_floats(half[i][own][lane].value, y[i]);
    __syncthreads();

    int pack;
    const int tile = part.packs.divide(item, pack);
    const int channel = pack * kLanes;
    if (own >= kOut || item >= part.items || channel >= part.channels) return;
    const WinogradTiles::Place at = tiles.place(part.first + tile);
    const int row = at.row.result + own * tiles.rows.dilation;
    if (row >= tiles.rows.outputs) return;
#pragma unroll
    for (int j = 0; j < kTile; ++j) load_floats(half[own][j][lane].value, m[j]);
    each_lane(m, y, transform);
    float bias[kLanes] = {};
    if (epilogue.bias) load_floats(epilogue.bias + channel, bias);
#pragma unroll
    for (int j = 0; j < kOut; ++j) {
        const int column = at.column.result + j * tiles.columns.dilation;
        if (column >= tiles.columns.outputs) break;
        const std::int64_t offset =
            (tiles.result_pixel(at.image, row) + column) * part.channels + channel;
        float residual[kLanes] = {};
        if (epilogue.residual) load_floats(epilogue.residual + offset, residual);
#pragma unroll
        for (int i = 0; i < kLanes; ++i) {
            float value = y[j][i] + bias[i];
            if (epilogue.residual) value = fmaf(epilogue.residual_scale, residual[i], value);
            y[j][i] = kAnyActivation ? activate(epilogue.activation, value, epilogue.slope)
                                     : linear(value);
        }
        store_floats(result + offset, y[j]);
    }
}

void transform_weight(int out, const ConvolutionProblem& p, const float* weight, bool turned,
                      const std::string& problem, float* planes, cudaStream_t stream) {
    with_winograd_tile(out, [&](auto tile, auto) {
        with_lanes<float>(in_packs<float>(p.out_channels), [&](auto lanes) {
            const FastDivider packs(winograd_padded(p.out_channels) / lanes);
            const std::int64_t rows = winograd_padded(p.in_channels);
            const int items = checked_int("elements of the weight", rows * packs.divisor);
            winograd_weight_kernel<tile, lanes>
                <<<static_cast<unsigned>(divide_up(items, kWeightThreads)), kWeightThreads, 0,
                   stream>>>(weight, static_cast<int>(p.in_channels),
                             static_cast<int>(p.out_channels), packs, items, turned,
                             std::int64_t{items} * lanes, planes);
            check_launch("winograd_weight", problem);
        });
    });
}

void transform_result(const WinogradCall& call, const float* planes, std::int64_t channels,
                      const Epilogue<float>& e, float* result) {
    const auto launch = [&](auto tile, auto out, auto any) {
        const bool packs = in_packs<float>(channels);
        with_lanes<float>(packs, [&](auto lanes) {
            const WinogradPart part(call.first, call.count, channels, lanes);
            winograd_result_kernel<tile, out, lanes, any>
                <<<part.blocks(), dim3(kWinogradItems, tile), 0, call.stream>>>(
                    planes, call.tiles, part, e, PiecewiseLinear(e.activation, e.slope), result);
            check_launch("winograd_result", call.problem);
        });
    };
    with_winograd_tile(call.out, [&](auto tile, auto out) {
        is_piecewise_linear(e.activation) ? launch(tile, out, std::false_type{})
                                          : launch(tile, out, std::true_type{});
    });
}

// multiply(planes of the image, tiles, task): with the planes of the weight.
template <class F>
void convolve(const WinogradTiles& tiles, int out, const std::string& problem, const float* image,
              std::int64_t in_channels, float* result, std::int64_t out_channels,
              const Epilogue<float>& epilogue, const Allocate& allocate, cudaStream_t stream,
              F&& multiply) {
    const int elements = (out + 2) * (out + 2);
    const std::int64_t depth = winograd_padded(in_channels);
    const std::int64_t columns = winograd_padded(out_channels);
    const Allocate sums = reused(allocate);
    float *from = nullptr, *to = nullptr;  // of the first part, the largest, for all
    each_part(tiles.count, elements, depth, columns, [&](int first, int count) {
        if (!from) from = winograd_planes(elements, count * depth, allocate);
        if (!to) to = winograd_planes(elements, count * columns, allocate);
        const WinogradCall call{tiles, out, first, count, problem, stream};
        winograd_image(call, image, in_channels, from);
        const Pixels<SimtProduct, 4> pixels{from, count, static_cast<int>(depth),
                                            winograd_window(count, depth),
                                            static_cast<int>(count * depth)};
        multiply(pixels,
                 winograd_products(problem, elements, count, columns, depth, to, sums, stream));
        transform_result(call, to, out_channels, epilogue, result);
    });
}

}  // namespace

void winograd_forward(int out, const ConvolutionProblem& p, const float* x, const float* weight,
                      float* y, const Epilogue<float>& epilogue, const Allocate& allocate,
                      cudaStream_t stream) {
    const WinogradTiles tiles(p, false, out);
    if (tiles.count == 0) return;
    const std::string problem = describe_winograd("forward", out, p);
    const std::int64_t depth = winograd_padded(p.in_channels);
    const std::int64_t columns = winograd_padded(p.out_channels);
    float* const planes = winograd_planes((out + 2) * (out + 2), depth * columns, allocate);
    transform_weight(out, p, weight, false, problem, planes, stream);
    const Columns<SimtProduct, 4> matrix{planes, static_cast<int>(columns), static_cast<int>(depth),
                                         static_cast<int>(columns / 4),
                                         static_cast<int>(depth * columns)};
    convolve(tiles, out, problem, x, p.in_channels, y, p.out_channels, epilogue, allocate, stream,
             [&](const auto& pixels, const auto& task) { SimtProduct::run(pixels, matrix, task); });
}

// The weight turned, its transformed planes transposed: they are read along the sum.
void winograd_backward_input(int out, const ConvolutionProblem& p, const float* dy,
                             const float* weight, float* dx, const Epilogue<float>& epilogue,
                             const Allocate& allocate, cudaStream_t stream) {
    const WinogradTiles tiles(p, true, out);
    if (tiles.count == 0) return;
    const std::string problem = describe_winograd("backward data", out, p);
    const std::int64_t depth = winograd_padded(p.out_channels);
    const std::int64_t columns = winograd_padded(p.in_channels);
    float* const planes = winograd_planes((out + 2) * (out + 2), depth * columns, allocate);
    transform_weight(out, p, weight, true, problem, planes, stream);
    Weights<SimtProduct, 4> matrix{};
    matrix.data = planes;
    matrix.rows = static_cast<int>(columns);
    matrix.depth = static_cast<int>(depth);
    matrix.channels = FastDivider(depth);
    matrix.pitch = static_cast<int>(depth / 4);
    matrix.group_step = static_cast<int>(depth * columns);
    convolve(tiles, out, problem, dy, p.out_channels, dx, p.in_channels, epilogue, allocate, stream,
             [&](const auto& pixels, const auto& task) { SimtProduct::run(pixels, matrix, task); });
}

}  // namespace pyconv::cuda
