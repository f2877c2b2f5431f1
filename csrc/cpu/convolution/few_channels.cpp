#include "cpu/convolution/few_channels.h"

#include <algorithm>
#include <cstring>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dense/pack.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// Output rows whose patches make `blocks` blocks of the usual size.
std::int64_t rows_per_task(std::int64_t width, std::int64_t height, int lanes, int blocks) {
    const std::int64_t wanted = (blocks * tuning::convolution_pixels(lanes) + width - 1) / width;
    return std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(height, 1));
}

}  // namespace

template <class T>
void copy_padded_rows(const T* image, std::int64_t height, std::int64_t in_width,
                      std::int64_t channels, std::int64_t y0, std::int64_t rows, std::int64_t x0,
                      std::int64_t width, T* dst) {
    const std::int64_t first = std::clamp<std::int64_t>(-x0, 0, width);
    const std::int64_t end = std::clamp<std::int64_t>(in_width - x0, first, width);
    for (std::int64_t r = 0; r < rows; ++r) {
        T* row = dst + r * width * channels;
        const std::int64_t y = y0 + r;
        if (y < 0 || y >= height) {
            std::fill(row, row + width * channels, T(0));
            continue;
        }
        std::fill(row, row + first * channels, T(0));
        if (end > first) {
            std::memcpy(row + first * channels, image + (y * in_width + x0 + first) * channels,
                        (end - first) * channels * sizeof(T));
        }
        std::fill(row + end * channels, row + width * channels, T(0));
    }
}

template <class T>
void few_channels_forward(const DenseKernels<T>& kernels, const ConvolutionProblem& p, const T* x,
                          const T* packed, T* y, const Epilogue<T>& epilogue) {
    if (p.outputs() == 0) return;
    const std::int64_t channels = p.in_channels;
    const std::int64_t width =
        (p.out_width - 1) * p.stride_width + p.kernel_width;  // dilation is 1 along a row
    const std::int64_t run = p.kernel_width * channels;
    const EvenCut strips(p.out_height, rows_per_task(p.out_width, p.out_height, kernels.lanes, 4));
    const Panels<T> panels(kernels, p.out_channels);
    std::vector<Tap> taps;
    for (std::int64_t r = 0; r < p.kernel_height; ++r) {
        taps.push_back({0, 0, static_cast<std::int32_t>(r)});
    }
    parallel_for(
        p.batch * strips.count(), p.flops() / tuning::flops_per_microsecond,
        [&](std::int64_t task) {
            const std::int64_t image = task / strips.count();
            const std::int64_t strip = task % strips.count();
            const std::int64_t rows = strips.size(strip);
            const std::int64_t y0 = strips.begin(strip);
            const std::int64_t in_rows =
                (rows - 1) * p.stride_height + (p.kernel_height - 1) * p.dilation_height + 1;
            Scratch local;
            T* const padded = local.take<T>(in_rows * width * channels);
            copy_padded_rows(x + image * p.in_height * p.in_width * channels, p.in_height,
                             p.in_width, channels, y0 * p.stride_height - p.pad_top, in_rows,
                             -p.pad_left, width, padded);
            const std::int64_t count = rows * p.out_width;
            const T** a = local.take<const T*>(p.kernel_height * count);
            T** c = local.take<T*>(count);
            T* const to = y + (image * p.out_height + y0) * p.out_width * p.out_channels;
            for (std::int64_t i = 0; i < count; ++i) c[i] = to + i * p.out_channels;
            for (std::int64_t r = 0; r < p.kernel_height; ++r) {
                for (std::int64_t oy = 0; oy < rows; ++oy) {
                    const T* row =
                        padded + (oy * p.stride_height + r * p.dilation_height) * width * channels;
                    const T** pointers = a + r * count + oy * p.out_width;
                    for (std::int64_t ox = 0; ox < p.out_width; ++ox) {
                        pointers[ox] = row + ox * p.stride_width * channels;
                    }
                }
            }
            RowBlock<T> block{
                a,      count,           c,      count, taps.data(), p.kernel_height, run,
                packed, p.kernel_height, nullptr};
            // Much is written and little read: it is the results of the next strip that are brought
            // into L2.
            const std::int64_t later = task + thread_count();
            if (later < p.batch * strips.count()) {
                const std::int64_t row = strips.begin(later % strips.count());
                block.next = y + (later / strips.count() * p.out_height + row) * p.out_width *
                                     p.out_channels;
                block.next_bytes = strips.size(later % strips.count()) * p.out_width *
                                   p.out_channels * static_cast<std::int64_t>(sizeof(T));
            }
            multiply_rows(kernels, block, panels, 0, panels.count(), epilogue);
        });
}

namespace {

// By fours and twos: of few elements, the rest is most of the time.
template <class T>
void add_run(const T* __restrict from, T* __restrict to, std::int64_t count) {
    std::int64_t i = 0;
    for (; i + 4 <= count; i += 4) {
        for (int u = 0; u < 4; ++u) to[i + u] += from[i + u];
    }
    if (i + 2 <= count) {
        for (int u = 0; u < 2; ++u) to[i + u] += from[i + u];
        i += 2;
    }
    if (i < count) to[i] += from[i];
}

}  // namespace

template <class T>
std::int64_t patches_size(const DenseKernels<T>& kernels, const ConvolutionProblem& p) {
    return Panels<T>(kernels, p.taps() * p.in_channels).size(p.out_channels);
}

template <class T>
void pack_patches(const DenseKernels<T>& kernels, const ConvolutionProblem& p,
                  const WeightView<T>& w, T* packed) {
    const std::int64_t columns = p.taps() * p.in_channels;
    const Panels<T> panels(kernels, columns);
    Scratch scratch;
    T* const matrix = scratch.take<T>(p.out_channels * columns);
    for (std::int64_t k = 0; k < p.out_channels; ++k) {
        T* row = matrix + k * columns;
        for (std::int64_t r = 0; r < p.kernel_height; ++r) {
            for (std::int64_t s = 0; s < p.kernel_width; ++s) {
                for (std::int64_t c = 0; c < p.in_channels; ++c) {
                    *row++ = w.data[k * w.out + c * w.in + r * w.row + s * w.column];
                }
            }
        }
    }
    for (std::int64_t panel = 0; panel < panels.count(); ++panel) {
        pack(matrix + panels.first(panel), columns, std::int64_t{1}, p.out_channels,
             panels.valid(panel), panels.width(panel),
             packed + panels.offset(panel, p.out_channels));
    }
}

template <class T>
void few_channels_backward_input(const DenseKernels<T>& kernels, const ConvolutionProblem& p,
                                 const T* dy, const T* packed, T* dx, const Epilogue<T>& epilogue) {
    const std::int64_t channels = p.in_channels;
    const std::int64_t columns = p.taps() * channels;
    const std::int64_t run = p.kernel_width * channels;
    const Panels<T> panels(kernels, columns);
    const std::int64_t width = (p.out_width - 1) * p.stride_width + p.kernel_width;
    // A task owns a strip of input rows and computes the patches of every output row that reaches
    // into it: some twice, but no two tasks add to one row, and the order of the sums is fixed.
    const std::int64_t strip_rows = std::max<std::int64_t>(
        rows_per_task(p.in_width, p.in_height, kernels.lanes, 2), 4 * p.kernel_height);
    const EvenCut strips(p.in_height, strip_rows);
    const Tap one{0, 0, 0};
    parallel_for(
        p.batch * strips.count(), p.flops() / tuning::flops_per_microsecond,
        [&](std::int64_t task) {
            const std::int64_t image = task / strips.count();
            const std::int64_t strip = task % strips.count();
            const std::int64_t y0 = strips.begin(strip);
            const std::int64_t rows = strips.size(strip);
            Scratch local;
            T* const sums = local.take<T>(rows * width * channels);
            std::fill(sums, sums + rows * width * channels, T(0));
            T* const patches = local.take<T>(p.out_width * panels.padded_columns());
            const T** a = local.take<const T*>(p.out_width);
            T** c = local.take<T*>(p.out_width);
            const std::int64_t step = panels.padded_columns();
            for (std::int64_t i = 0; i < p.out_width; ++i) c[i] = patches + i * step;
            const std::int64_t span = p.dilation_height * (p.kernel_height - 1);
            for (std::int64_t oy = 0; oy < p.out_height; ++oy) {
                const std::int64_t top = oy * p.stride_height - p.pad_top - y0;
                if (top + span < 0 || top >= rows) continue;
                const T* from = dy + (image * p.out_height + oy) * p.out_width * p.out_channels;
                for (std::int64_t i = 0; i < p.out_width; ++i) a[i] = from + i * p.out_channels;
                const RowBlock<T> block{a,      0, c,      p.out_width, &one, 1, p.out_channels,
                                        packed, 1, nullptr};
                multiply_rows(kernels, block, panels, 0, panels.count(), Epilogue<T>{});
                // Runs of neighbouring pixels overlap. Adding every lap-th pixel in turn keeps a
                // run from waiting for the stores of the one before.
                const std::int64_t lap = (p.kernel_width + p.stride_width - 1) / p.stride_width;
                for (std::int64_t r = 0; r < p.kernel_height; ++r) {
                    const std::int64_t y = top + r * p.dilation_height;
                    if (y < 0 || y >= rows) continue;
                    T* const row = sums + y * width * channels;
                    for (std::int64_t first = 0; first < lap; ++first) {
                        for (std::int64_t ox = first; ox < p.out_width; ox += lap) {
                            add_run(patches + ox * step + r * run,
                                    row + ox * p.stride_width * channels, run);
                        }
                    }
                }
            }
            // Without the padding, and through the epilogue.
            const std::int64_t inside = std::clamp<std::int64_t>(width - p.pad_left, 0, p.in_width);
            for (std::int64_t y = 0; y < rows; ++y) {
                T* to = dx + (image * p.in_height + y0 + y) * p.in_width * channels;
                if (inside > 0) {
                    std::memcpy(to, sums + (y * width + p.pad_left) * channels,
                                inside * channels * sizeof(T));
                }
                std::fill(to + inside * channels, to + p.in_width * channels, T(0));
            }
            alignas(64) T pixel[64] = {};
            if (epilogue.bias || epilogue.activation != Activation::none) {
                T* to = dx + (image * p.in_height + y0) * p.in_width * channels;
                for (std::int64_t i = 0; i < rows * p.in_width; ++i, to += channels) {
                    std::copy(to, to + channels, pixel);
                    for (std::int64_t j = 0; j < channels; j += kernels.lanes) {
                        Epilogue<T> e = epilogue;
                        if (e.bias) e.bias += j;
                        const int last =
                            static_cast<int>(std::min<std::int64_t>(kernels.lanes, channels - j));
                        kernels.finish_row(pixel + j, to + j, 1, last, e);
                    }
                }
            }
        });
}

#define PYCONV_INSTANTIATE(T)                                                                      \
    template void copy_padded_rows<T>(const T*, std::int64_t, std::int64_t, std::int64_t,          \
                                      std::int64_t, std::int64_t, std::int64_t, std::int64_t, T*); \
    template void few_channels_forward<T>(const DenseKernels<T>&, const ConvolutionProblem&,       \
                                          const T*, const T*, T*, const Epilogue<T>&);             \
    template void few_channels_backward_input<T>(const DenseKernels<T>&,                           \
                                                 const ConvolutionProblem&, const T*, const T*,    \
                                                 T*, const Epilogue<T>&);                          \
    template std::int64_t patches_size<T>(const DenseKernels<T>&, const ConvolutionProblem&);      \
    template void pack_patches<T>(const DenseKernels<T>&, const ConvolutionProblem&,               \
                                  const WeightView<T>&, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
