// The weight gradient of depthwise convolutions.
#include <algorithm>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/convolution/depthwise.h"
#include "cpu/convolution/depthwise_channels.h"
#include "cpu/dense/panels.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// Rows that one call of a gradient kernel sums at most.
constexpr std::int64_t kVisitRows = 16;
// What they read at most: twice that stays in L2.
constexpr std::int64_t kVisitBytes = 192 << 10;

}  // namespace

template <class T>
void depthwise_backward_weight(const DepthwiseKernels<T>& kernels,
                               const ConvolutionProblem& problem, const T* dy, const T* x, T* dw) {
    Scratch scratch;
    ConvolutionProblem p = problem;
    if (p.outputs() == 0) {
        std::fill(dw, dw + p.taps() * p.out_channels, T(0));
        return;
    }
    if (p.out_channels != p.in_channels) {
        x = repeat_channels(x, p.batch * p.in_height * p.in_width, p.in_channels,
                            p.out_channels / p.in_channels, scratch);
        p = with_repeated_channels(p);
    }
    const std::int64_t channels = p.in_channels;
    const std::int64_t step = rounded(channels, kernels.lanes);
    const auto slid = p.kernel_height == p.kernel_width &&
                              (p.kernel_height == 3 || p.kernel_height == 5) &&
                              p.dilation_height == 1 && p.dilation_width == 1 &&
                              p.stride_height == p.stride_width && p.stride_height <= 2
                          ? kernels.gradient[p.kernel_height][p.stride_height]
                          : nullptr;
    const Interior inner =
        slid ? interior(p.in_width, p.out_width, p.pad_left, p.kernel_width, p.stride_width, 1)
             : Interior{0, 0};
    // Partial sums over a fixed number of row ranges, added in their order.
    const EvenCut ranges(
        p.batch * p.out_height,
        std::max<std::int64_t>(1, (p.batch * p.out_height + tuning::tasks - 1) / tuning::tasks));
    const std::int64_t size = p.taps() * step;
    T* const partial = scratch.take<T>(ranges.count() * size);
    const std::int64_t in_row = p.in_width * channels;
    T* const zeros = scratch.take<T>(in_row);
    std::fill(zeros, zeros + in_row, T(0));
    // As many rows as keep the sums in registers for long, but in L1, and in L2 with the next ones.
    const std::int64_t row_bytes =
        (p.stride_height * in_row + p.out_width * channels) * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t most_rows = std::clamp<std::int64_t>(
        std::min(256 / p.out_width, kVisitBytes / std::max<std::int64_t>(1, row_bytes)), 1,
        kVisitRows);
    const auto visit_rows = [&](std::int64_t row, std::int64_t end) {
        return std::min({most_rows, end - row, p.out_height - row % p.out_height});
    };
    // What the windows of a row read besides those of the row before it.
    const T* const x_end = x + p.batch * p.in_height * in_row;
    const auto x_of = [&](std::int64_t row) {
        const std::int64_t oy = row % p.out_height;
        const std::int64_t top =
            oy == 0 ? 0 : oy * p.stride_height - p.pad_top + p.kernel_height - p.stride_height;
        return x +
               (row / p.out_height * p.in_height + std::clamp<std::int64_t>(top, 0, p.in_height)) *
                   in_row;
    };
    parallel_for(ranges.count(), p.flops() / kDepthwiseSpeed, [&](std::int64_t range) {
        Scratch local;
        T* const sums = partial + range * size;
        std::fill(sums, sums + size, T(0));
        const T** in = local.take<const T*>(
            std::max(p.taps(), kVisitRows * p.stride_height + p.kernel_height));
        T** to = local.take<T*>(p.taps());
        const std::int64_t first = ranges.begin(range);
        const std::int64_t end = first + ranges.size(range);
        for (std::int64_t row = first; row < end;) {
            const std::int64_t oy = row % p.out_height;
            const T* image = x + row / p.out_height * p.in_height * in_row;
            const T* dy_row = dy + row * p.out_width * channels;
            const std::int64_t top = oy * p.stride_height - p.pad_top;
            if (slid) {
                const std::int64_t rows = visit_rows(row, end);
                const std::int64_t next =
                    row + rows < end || range + thread_count() >= ranges.count()
                        ? row + rows
                        : ranges.begin(range + thread_count());
                const std::int64_t next_rows =
                    next < p.batch * p.out_height ? visit_rows(next, p.batch * p.out_height) : 0;
                const T* const next_x = x_of(next);
                const std::int64_t x_size =
                    std::min(next_rows * p.stride_height * in_row, x_end - next_x);
                const T* const next_dy = dy + next * p.out_width * channels;
                const std::int64_t dy_size = next_rows * p.out_width * channels;
                const std::int64_t in_rows = (rows - 1) * p.stride_height + p.kernel_height;
                for (std::int64_t c = 0; c < channels; c += kernels.lanes) {
                    for (std::int64_t r = 0; r < in_rows; ++r) {
                        const bool inside = top + r >= 0 && top + r < p.in_height;
                        in[r] = (inside ? image + (top + r) * in_row : zeros) + c;
                    }
                    slid({in, channels, p.in_width, p.pad_left, dy_row + c, channels,
                          p.out_width * channels, sums + c, step, rows, p.out_width, inner.begin,
                          inner.end,
                          static_cast<int>(std::min<std::int64_t>(kernels.lanes, channels - c)),
                          ahead_of(kernels, next_x, x_size, c, channels),
                          ahead_of(kernels, next_dy, dy_size, c, channels)});
                }
                row += rows;
                continue;
            }
            for (std::int64_t ox = 0; ox < p.out_width; ++ox) {
                int taps = 0;
                for (std::int64_t r = 0; r < p.kernel_height; ++r) {
                    const std::int64_t iy = top + r * p.dilation_height;
                    if (iy < 0 || iy >= p.in_height) continue;
                    for (std::int64_t s = 0; s < p.kernel_width; ++s) {
                        const std::int64_t ix =
                            ox * p.stride_width - p.pad_left + s * p.dilation_width;
                        if (ix < 0 || ix >= p.in_width) continue;
                        in[taps] = image + iy * in_row + ix * channels;
                        to[taps++] = sums + (r * p.kernel_width + s) * step;
                    }
                }
                kernels.gradient_pixel(in, to, taps, dy_row + ox * channels, channels);
            }
            ++row;
        }
    });
    for (std::int64_t tap = 0; tap < p.taps(); ++tap) {
        for (std::int64_t c = 0; c < channels; ++c) {
            T sum = 0;
            for (std::int64_t range = 0; range < ranges.count(); ++range) {
                sum += partial[range * size + tap * step + c];
            }
            dw[tap * channels + c] = sum;
        }
    }
}

#define PYCONV_INSTANTIATE(T)                                              \
    template void depthwise_backward_weight<T>(const DepthwiseKernels<T>&, \
                                               const ConvolutionProblem&, const T*, const T*, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
