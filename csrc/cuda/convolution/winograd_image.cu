// The transform of the image.
#include "cuda/convolution/winograd_tiles.cuh"
#include "cuda/convolution/winograd_transforms.cuh"

namespace pyconv::cuda {

namespace {

// A thread transforms one column of a tile, then one row; lanes along the channels.
template <int kTile, int kLanes>
__global__ void __launch_bounds__(kWinogradItems* kTile)
    winograd_image_kernel(const float* image, WinogradTiles tiles, WinogradPart part,
                          float* planes) {
    __shared__ Pack<float, kLanes> half[kTile][kTile][kWinogradItems];
    const int lane = static_cast<int>(threadIdx.x), own = static_cast<int>(threadIdx.y);
    const int item = static_cast<int>(blockIdx.x) * kWinogradItems + lane;
    int pack;
    const int tile = part.packs.divide(item, pack);
    const int channel = pack * kLanes;
    const auto transform = [](auto& d, auto& to) {
        winograd_input(d);
#pragma unroll
        for (int i = 0; i < kTile; ++i) to[i] = d[i];
    };

    float d[kTile][kLanes] = {};
    if (item < part.items && channel < part.channels) {
        const WinogradTiles::Place at = tiles.place(part.first + tile);
        const int x = at.column.image + own * tiles.columns.dilation;
        const bool across = tiles.columns.holds(x);
#pragma unroll
        for (int i = 0; i < kTile; ++i) {
            const int y = at.row.image + i * tiles.rows.dilation;
            if (!across || !tiles.rows.holds(y)) continue;
            load_floats(image + (tiles.image_pixel(at.image, y) + x) * part.channels + channel,
                        d[i]);
        }
    }
    each_lane(d, d, transform);
#pragma unroll
    for (int i = 0; i < kTile; ++i) store_floats(half[i][own][lane].value, d[i]);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kTile; ++j) load_floats(half[own][j][lane].value, d[j]);
    if (item >= part.items) return;
    each_lane(d, d, transform);
    float* to = planes + own * kTile * part.plane + static_cast<std::int64_t>(item) * kLanes;
#pragma unroll
    for (int j = 0; j < kTile; ++j) store_plane(to + j * part.plane, d[j]);
}

}  // namespace

void winograd_image(const WinogradCall& call, const float* image, std::int64_t channels,
                    float* planes) {
    with_winograd_tile(call.out, [&](auto tile, auto) {
        with_lanes<float>(in_packs<float>(channels), [&](auto lanes) {
            const WinogradPart part(call.first, call.count, channels, lanes);
            winograd_image_kernel<tile, lanes>
                <<<part.blocks(), dim3(kWinogradItems, tile), 0, call.stream>>>(image, call.tiles,
                                                                                part, planes);
            check_launch("winograd_image", call.problem);
        });
    });
}

}  // namespace pyconv::cuda
