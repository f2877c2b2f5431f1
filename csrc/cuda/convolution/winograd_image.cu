// The transform of the image, B^T d B, and in the weight gradient that of dy, which stands in the
// place of the filter: G dy G^T of tiles of as many pixels as a result has.
#include "cuda/convolution/winograd_tiles.cuh"
#include "cuda/convolution/winograd_transforms.cuh"

namespace pyconv::cuda {

namespace {

// A thread transforms one column of a tile, then one row; lanes along the channels. kSize: pixels
// of a tile's side, kTile of an image, fewer of a gradient.
template <int kTile, int kSize, int kLanes>
__global__ void __launch_bounds__(kWinogradItems* kTile)
    winograd_image_kernel(const float* image, WinogradTiles tiles, WinogradPart part,
                          float* planes) {
    constexpr bool kGradient = kSize < kTile;
    __shared__ Pack<float, kLanes> half[kTile][kSize][kWinogradItems];
    const int lane = static_cast<int>(threadIdx.x), own = static_cast<int>(threadIdx.y);
    const int item = static_cast<int>(blockIdx.x) * kWinogradItems + lane;
    int pack;
    const int tile = part.packs.divide(item, pack);
    const int channel = pack * kLanes;
    const auto transform = [](auto& d, auto& to) {
        if constexpr (kGradient) {
            winograd_filter(d, to);
        } else {
            winograd_input(d);
#pragma unroll
            for (int i = 0; i < kTile; ++i) to[i] = d[i];
        }
    };

    float d[kSize][kLanes] = {}, u[kTile][kLanes];
    if (own < kSize) {
        if (item < part.items && channel < part.channels) {
            const WinogradTiles::Place at = tiles.place(part.first + tile);
            const int x =
                (kGradient ? at.column.result : at.column.image) + own * tiles.columns.dilation;
#pragma unroll
            for (int i = 0; i < kSize; ++i) {
                const int y = (kGradient ? at.row.result : at.row.image) + i * tiles.rows.dilation;
                if (!tiles.columns.holds<kGradient>(x) || !tiles.rows.holds<kGradient>(y)) continue;
                const std::int64_t row =
                    kGradient ? tiles.result_pixel(at.image, y) : tiles.image_pixel(at.image, y);
                load_floats(image + (row + x) * part.channels + channel, d[i]);
            }
        }
        each_lane(d, u, transform);
#pragma unroll
        for (int i = 0; i < kTile; ++i) store_floats(half[i][own][lane].value, u[i]);
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kSize; ++j) load_floats(half[own][j][lane].value, d[j]);
    if (item >= part.items) return;
    each_lane(d, u, transform);
    float* to = planes + own * kTile * part.plane + static_cast<std::int64_t>(item) * kLanes;
#pragma unroll
    for (int j = 0; j < kTile; ++j) store_plane(to + j * part.plane, u[j]);
}

template <bool kGradient>
void transform(const WinogradCall& call, const float* image, std::int64_t channels, float* planes) {
    with_winograd_tile(call.out, [&](auto tile, auto out) {
        with_lanes<float>(in_packs<float>(channels), [&](auto lanes) {
            constexpr int kSize = kGradient ? out : tile;
            const WinogradPart part(call.first, call.count, channels, lanes);
            winograd_image_kernel<tile, kSize, lanes>
                <<<part.blocks(), dim3(kWinogradItems, tile), 0, call.stream>>>(image, call.tiles,
                                                                                part, planes);
            check_launch(kGradient ? "winograd_gradient" : "winograd_image", call.problem);
        });
    });
}

}  // namespace

void winograd_image(const WinogradCall& call, const float* image, std::int64_t channels,
                    float* planes) {
    transform<false>(call, image, channels, planes);
}

void winograd_gradient(const WinogradCall& call, const float* dy, std::int64_t channels,
                       float* planes) {
    transform<true>(call, dy, channels, planes);
}

}  // namespace pyconv::cuda
