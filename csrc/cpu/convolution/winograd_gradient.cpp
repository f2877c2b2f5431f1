// The weight gradient by Winograd's algorithm: tiles of the image and of dy are transformed, summed
// over the tiles as outer products, element by element, and transformed back once.
#include <algorithm>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/convolution/winograd.h"
#include "cpu/convolution/winograd_tiles.h"
#include "cpu/dense/panels.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

template <class T>
void winograd_backward_weight(const DenseKernels<T>& dense, const WinogradKernels<T>& kernels,
                              int variant, const ConvolutionProblem& p, const T* dy, const T* x,
                              T* dw) {
    const WinogradProblem<T> problem =
        winograd_forward_problem(variant, p, x, WeightView<T>{}, static_cast<T*>(nullptr));
    const WinogradTiles<T> tiles(problem);
    const auto& kernel = kernels.variants[variant];
    const std::int64_t size = p.taps() * p.in_channels * p.out_channels;
    if (tiles.count() == 0) {
        std::fill(dw, dw + size, T(0));
        return;
    }
    const std::int64_t side = kWinogradVariants[variant].tile();
    const std::int64_t elements = side * side;
    const Panels<T> panels(dense, p.out_channels);
    const EvenCut strips(p.in_channels, panels.tallest(dense));
    const EvenCut blocks(tiles.count(),
                         tuning::winograd_gradient_tiles(p.in_channels, p.out_channels));
    // Where all tiles are at hand, a panel and some strips at a time, whose sums stay in L2: they
    // are `elements` times as many numbers as dw has for each tap.
    const bool at_hand = blocks.count() == 1;
    const EvenCut groups(panels.count(), at_hand ? 1 : panels.count());
    const std::int64_t strip_bytes = elements * strips.size(0) * panels.width(panels.count() - 1) *
                                     static_cast<std::int64_t>(sizeof(T));
    const EvenCut bands(
        strips.count(),
        at_hand ? std::max<std::int64_t>(1, tuning::winograd_gradient_bytes / strip_bytes)
                : strips.count());

    Scratch scratch;
    const std::int64_t x_pitch = winograd_pitch(p.in_channels);
    const std::int64_t x_plane = blocks.size(0) * x_pitch + kWinogradGap;
    const std::int64_t dy_pitch = winograd_pitch(panels.padded_columns());
    const std::int64_t dy_plane = blocks.size(0) * dy_pitch + kWinogradGap;
    const std::int64_t sum_pitch = groups.size(0) * 2 * dense.lanes + dense.lanes;
    const std::int64_t band_channels = std::min(p.in_channels, bands.size(0) * strips.size(0));
    const std::int64_t sum_plane = band_channels * sum_pitch + kWinogradGap;
    T* const v = scratch.take<T>(elements * x_plane);
    T* const u = scratch.take<T>(elements * dy_plane);
    T* const sums = scratch.take<T>(elements * sum_plane);

    const auto transform = [&](std::int64_t block) {
        const EvenCut shares(blocks.size(block), 8);
        const double work = static_cast<double>(elements * blocks.size(block)) *
                            static_cast<double>(x_pitch + dy_pitch) / 4e3;
        parallel_for(shares.count(), work, [&](std::int64_t share) {
            for (std::int64_t i = shares.begin(share); i < shares.begin(share) + shares.size(share);
                 ++i) {
                const WinogradPlace at = tiles.place(blocks.begin(block) + i);
                kernel.input(tiles.input(at, x, v + i * x_pitch, x_plane));
                const WinogradRect rect = tiles.output(at);
                kernel.gradient_tile({dy + rect.offset, rect.row, rect.pixel, 0, rect.rows, 0,
                                      rect.columns, p.out_channels, u + i * dy_pitch, dy_plane});
            }
        });
    };
    const auto multiply = [&](std::int64_t block, std::int64_t panel0, std::int64_t count,
                              std::int64_t strip0, std::int64_t strip_count) {
        Epilogue<T> epilogue;
        epilogue.accumulate = block > 0;
        const double work =
            2.0 * static_cast<double>(elements * blocks.size(block)) *
            static_cast<double>(strip_count * strips.size(0) * count * panels.width(panel0)) /
            tuning::flops_per_microsecond;
        parallel_for(elements * count, work, [&](std::int64_t task) {
            const std::int64_t element = task / count;
            const std::int64_t panel = panel0 + task % count;
            const std::int64_t column = panels.first(panel);
            OuterTile<T> tile{};
            tile.depth = blocks.size(block);
            tile.a_step = x_pitch;
            tile.b = u + element * dy_plane + column;
            tile.b_step = dy_pitch;
            tile.c_step = sum_pitch;
            tile.last = dense.lanes;
            for (std::int64_t strip = strip0; strip < strip0 + strip_count; ++strip) {
                const std::int64_t channel = strips.begin(strip);
                tile.a = v + element * x_plane + channel;
                tile.c = sums + element * sum_plane + (channel - strips.begin(strip0)) * sum_pitch +
                         column - panels.first(panel0);
                dense.outer[panels.vectors(panel)][strips.size(strip)](tile, epilogue);
            }
        });
    };
    for (std::int64_t pass = 0; pass < groups.count() * bands.count(); ++pass) {
        const std::int64_t group = pass / bands.count();
        const std::int64_t band = pass % bands.count();
        const std::int64_t panel0 = groups.begin(group);
        const std::int64_t last = panel0 + groups.size(group) - 1;
        const std::int64_t strip0 = bands.begin(band);
        for (std::int64_t block = 0; block < blocks.count(); ++block) {
            if (pass == 0) transform(block);
            multiply(block, panel0, groups.size(group), strip0, bands.size(band));
        }
        const std::int64_t final = strip0 + bands.size(band) - 1;
        const std::int64_t channel0 = strips.begin(strip0);
        const std::int64_t channels = strips.begin(final) + strips.size(final) - channel0;
        const std::int64_t column = panels.first(panel0);
        const std::int64_t columns = panels.first(last) + panels.valid(last) - column;
        const std::int64_t step = p.in_channels * p.out_channels;
        const double work = static_cast<double>(elements * channels * columns) / 4e3;
        parallel_for(channels, work, [&](std::int64_t channel) {
            kernel.gradient_result({sums + channel * sum_pitch, sum_plane,
                                    dw + (channel0 + channel) * p.out_channels + column,
                                    p.kernel_width * step, step, 0, 0, columns, nullptr});
        });
    }
}

#define PYCONV_INSTANTIATE(T)                                                                     \
    template void winograd_backward_weight<T>(const DenseKernels<T>&, const WinogradKernels<T>&,  \
                                              int, const ConvolutionProblem&, const T*, const T*, \
                                              T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
