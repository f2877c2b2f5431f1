#include "cpu/convolution/depthwise.h"

#include <algorithm>
#include <utility>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/convolution/depthwise_channels.h"
#include "cpu/dense/panels.h"
#include "cpu/past_caches.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// Sources and results of this size did not stay in L3 together, measured.
constexpr std::int64_t kKeptTogether = 52 << 20;

// Vectors of channels that a row of blocks takes at a time: pieces of half a KB of a pixel are
// streams to the hardware, and two columns and rows of them stay in L1 for the next block.
constexpr std::int64_t kChunk = 8;

// Only where a vector is a line: parts of one would go to memory by themselves.
template <class T>
bool lines_past_caches(const DepthwiseKernels<T>& kernels, const T* result, std::int64_t rows,
                       std::int64_t row) {
    return kernels.lanes * sizeof(T) == kAlignment && goes_past_caches(result, rows, row);
}

// Output rows of a task: about 16 tasks for an image, of two rows at least.
EvenCut strips_of(const ConvolutionProblem& p) {
    const std::int64_t rows = std::max<std::int64_t>(
        2, (p.batch * p.out_height + tuning::tasks * 2 - 1) / (tuning::tasks * 2));
    return EvenCut(p.out_height,
                   std::min(rows + rows % 2, std::max<std::int64_t>(p.out_height, 1)));
}

}  // namespace

template <class T>
std::int64_t depthwise_weight_size(const DepthwiseKernels<T>& kernels,
                                   const ConvolutionProblem& p) {
    return p.taps() * rounded(p.out_channels, kernels.lanes);
}

template <class T>
void pack_depthwise(const DepthwiseKernels<T>& kernels, const ConvolutionProblem& p,
                    const WeightView<T>& w, T* packed) {
    const std::int64_t step = rounded(p.out_channels, kernels.lanes);
    for (std::int64_t tap = 0; tap < p.taps(); ++tap) {
        const T* from = w.data + tap / p.kernel_width * w.row + tap % p.kernel_width * w.column;
        T* to = packed + tap * step;
        for (std::int64_t c = 0; c < p.out_channels; ++c) to[c] = from[c * w.out];
        std::fill(to + p.out_channels, to + step, T(0));
    }
}

template <class T>
void depthwise_strip(const DepthwiseKernels<T>& kernels, const ConvolutionProblem& p,
                     const T* image, const T* packed, std::int64_t begin, std::int64_t end, T* out,
                     const Epilogue<T>& e, const DepthwiseMemory<T>& memory) {
    const std::int64_t channels = p.in_channels;
    const std::int64_t step = rounded(channels, kernels.lanes);
    const std::int64_t in_row = p.in_width * channels;
    const std::int64_t out_row = p.out_width * channels;
    const auto slid = p.kernel_height == p.kernel_width &&
                              (p.kernel_height == 3 || p.kernel_height == 5) &&
                              p.dilation_height == 1 && p.dilation_width == 1 &&
                              p.stride_height == p.stride_width && p.stride_height <= 2
                          ? kernels.rows[p.kernel_height][p.stride_height]
                          : nullptr;
    const Interior inner =
        slid ? interior(p.in_width, p.out_width, p.pad_left, p.kernel_width, p.stride_width, 1)
             : Interior{0, 0};
    Scratch scratch;
    T* const zeros = scratch.take<T>(in_row);
    if (begin * p.stride_height < p.pad_top ||
        (end - 1) * p.stride_height - p.pad_top + p.kernel_height > p.in_height) {
        std::fill(zeros, zeros + in_row, T(0));
    }
    const T** in = scratch.take<const T*>(p.taps());
    const T** weight = scratch.take<const T*>(p.taps());

    const auto pixel = [&](std::int64_t oy, std::int64_t ox) {
        int taps = 0;
        for (std::int64_t r = 0; r < p.kernel_height; ++r) {
            const std::int64_t iy = oy * p.stride_height - p.pad_top + r * p.dilation_height;
            if (iy < 0 || iy >= p.in_height) continue;
            for (std::int64_t s = 0; s < p.kernel_width; ++s) {
                const std::int64_t ix = ox * p.stride_width - p.pad_left + s * p.dilation_width;
                if (ix < 0 || ix >= p.in_width) continue;
                in[taps] = image + iy * in_row + ix * channels;
                weight[taps++] = packed + (r * p.kernel_width + s) * step;
            }
        }
        kernels.pixel({in, weight, taps, channels, out + (oy - begin) * out_row + ox * channels,
                       e.bias, e.activation, e.slope});
    };

    const std::int64_t chunk = kChunk * kernels.lanes;
    const T* rows_in[8];
    T* rows_out[kMaxDepthwiseRows];
    for (std::int64_t oy = begin; oy < end;) {
        const int rows = slid ? static_cast<int>(std::min<std::int64_t>(2, end - oy)) : 1;
        if (inner.end > inner.begin) {
            const std::int64_t top = oy * p.stride_height - p.pad_top;
            const std::int64_t left = inner.begin * p.stride_width - p.pad_left;
            const std::int64_t height = p.kernel_height + p.stride_height * (rows - 1);
            // What the next rows read besides.
            const T* const next = image + std::max<std::int64_t>(0, top + height) * in_row;
            const std::int64_t next_size =
                std::clamp<std::int64_t>(memory.in_end - next, 0, rows * p.stride_height * in_row);
            const T* const next_out = out + (oy - begin + rows) * out_row;
            const std::int64_t next_out_size =
                memory.out_end
                    ? std::clamp<std::int64_t>(memory.out_end - next_out, 0, rows * out_row)
                    : 0;
            for (std::int64_t y = 0; y < height; ++y) {
                const bool inside = top + y >= 0 && top + y < p.in_height;
                rows_in[y] = (inside ? image + (top + y) * in_row : zeros) + left * channels;
            }
            for (int r = 0; r < rows; ++r) {
                rows_out[r] = out + (oy - begin + r) * out_row + inner.begin * channels;
            }
            slid[rows]({rows_in, channels, packed, step, rows_out, channels,
                        inner.end - inner.begin, channels, chunk, e.bias, e.activation, e.slope,
                        memory.past_caches,
                        next_size > 0 ? reinterpret_cast<const char*>(next) : nullptr,
                        next_out_size > 0 ? reinterpret_cast<const char*>(next_out) : nullptr});
        }
        for (int r = 0; r < rows; ++r) {
            for (std::int64_t ox = 0; ox < inner.begin; ++ox) pixel(oy + r, ox);
            for (std::int64_t ox = inner.end; ox < p.out_width; ++ox) pixel(oy + r, ox);
        }
        oy += rows;
    }
}

template <class T>
void depthwise_forward(const DepthwiseKernels<T>& kernels, const ConvolutionProblem& problem,
                       const T* x, const T* packed, T* y, const Epilogue<T>& epilogue) {
    if (problem.outputs() == 0) return;
    Scratch scratch;
    ConvolutionProblem p = problem;
    if (p.out_channels != p.in_channels) {
        x = repeat_channels(x, p.batch * p.in_height * p.in_width, p.in_channels,
                            p.out_channels / p.in_channels, scratch);
        p = with_repeated_channels(p);
    }
    const EvenCut strips = strips_of(p);
    const std::int64_t image_size = p.in_height * p.in_width * p.in_channels;
    const std::int64_t out_size = p.outputs() * p.out_channels;
    constexpr std::int64_t item = sizeof(T);
    // Brought into the caches before they are written, large results go past them only where x and
    // they don't fit there together.
    const bool large = out_size * item >= tuning::past_caches;
    const bool past_caches =
        (p.batch * image_size + out_size) * item >= kKeptTogether &&
        lines_past_caches(kernels, y, p.outputs(), p.out_channels) &&
        (epilogue.activation == Activation::none || epilogue.activation == Activation::relu ||
         epilogue.activation == Activation::relu6);
    const DepthwiseMemory<T> memory{x + p.batch * image_size,
                                    large && !past_caches ? y + out_size : nullptr, past_caches};
    parallel_for(p.batch * strips.count(), p.flops() / kDepthwiseSpeed, [&](std::int64_t task) {
        const std::int64_t image = task / strips.count();
        const std::int64_t strip = task % strips.count();
        const std::int64_t begin = strips.begin(strip);
        depthwise_strip(
            kernels, p, x + image * image_size, packed, begin, begin + strips.size(strip),
            y + (image * p.out_height + begin) * p.out_width * p.out_channels, epilogue, memory);
    });
}

// Backward data with a stride, a pair of input rows at a time where the stride is 2: every input
// pixel gathers the dy pixels whose windows hold it.
template <class T>
void spread(const DepthwiseKernels<T>& kernels, const ConvolutionProblem& p, const T* dy,
            const T* packed, T* dx, const Epilogue<T>& e) {
    const std::int64_t channels = p.in_channels;
    const std::int64_t step = rounded(channels, kernels.lanes);
    const std::int64_t size = p.kernel_height;
    const auto blocks = size == p.kernel_width && (size == 3 || size == 5) &&
                                p.stride_height == 2 && p.stride_width == 2 &&
                                p.dilation_height == 1 && p.dilation_width == 1
                            ? kernels.spread[size]
                            : nullptr;
    // Blocks (m, k) lie at rows 2 m - pad_top and columns 2 k - pad_left. Inner ones lie inside the
    // image in columns, and so do the dy pixels k - reach ... k.
    const std::int64_t reach = (size - 1) / 2;
    const std::int64_t k0 = std::max(reach, (p.pad_left + 1) / 2);
    const std::int64_t k1 = std::min(p.out_width, (p.in_width + p.pad_left) / 2);
    const std::int64_t m0 = blocks ? p.pad_top / 2 : 0;
    const std::int64_t m1 = blocks ? (p.in_height + p.pad_top + 1) / 2 : p.in_height;
    Scratch scratch;
    const std::int64_t dy_row = p.out_width * channels;
    T* const zeros = scratch.take<T>(dy_row);
    std::fill(zeros, zeros + dy_row, T(0));
    const T* const dy_end = dy + p.batch * p.out_height * dy_row;
    // Past the caches results took from half to twice the time, by what ran before: not here.
    constexpr bool past_caches = false;
    parallel_for(p.batch * (m1 - m0), p.flops() / kDepthwiseSpeed, [&](std::int64_t task) {
        const std::int64_t m = m0 + task % (m1 - m0);
        const T* const dy_image = dy + task / (m1 - m0) * p.out_height * dy_row;
        T* const image = dx + task / (m1 - m0) * p.in_height * p.in_width * channels;
        Scratch local;
        const T** in = local.take<const T*>(p.taps());
        const T** w = local.take<const T*>(p.taps());
        const auto pixel = [&](std::int64_t iy, std::int64_t ix) {
            int taps = 0;
            for (std::int64_t r = 0; r < p.kernel_height; ++r) {
                const std::int64_t y = iy + p.pad_top - r * p.dilation_height;
                if (y < 0 || y % p.stride_height || y / p.stride_height >= p.out_height) continue;
                for (std::int64_t s = 0; s < p.kernel_width; ++s) {
                    const std::int64_t x = ix + p.pad_left - s * p.dilation_width;
                    if (x < 0 || x % p.stride_width || x / p.stride_width >= p.out_width) continue;
                    in[taps] =
                        dy_image + y / p.stride_height * dy_row + x / p.stride_width * channels;
                    w[taps++] = packed + (r * p.kernel_width + s) * step;
                }
            }
            kernels.pixel({in, w, taps, channels, image + (iy * p.in_width + ix) * channels, e.bias,
                           e.activation, e.slope});
        };
        if (!blocks) {
            for (std::int64_t ix = 0; ix < p.in_width; ++ix) pixel(m, ix);
            return;
        }
        const std::int64_t top = 2 * m - p.pad_top;
        const std::int64_t left = 2 * k0 - p.pad_left;
        const std::int64_t right = k1 > k0 ? 2 * k1 - p.pad_left : left;
        if (k1 > k0) {
            // A row of the block that lies outside the image goes nowhere.
            T* const nowhere = local.take<T>((right - left) * channels);
            const T* rows[3];
            for (std::int64_t j = 0; j <= reach; ++j) {
                const bool inside = m - j >= 0 && m - j < p.out_height;
                rows[j] = (inside ? dy_image + (m - j) * dy_row : zeros) + k0 * channels;
            }
            T* out[2];
            for (std::int64_t r = 0; r < 2; ++r) {
                const bool inside = top + r >= 0 && top + r < p.in_height;
                out[r] = inside ? image + ((top + r) * p.in_width + left) * channels : nowhere;
            }
            const T* const next = dy_image + (m + 1) * dy_row + k0 * channels;
            blocks({rows, packed, step, out, k1 - k0, channels, e.bias, e.activation, e.slope,
                    past_caches, ahead_of(kernels, next, dy_end - next, 0, channels)});
        }
        for (std::int64_t iy = std::max<std::int64_t>(top, 0); iy < std::min(top + 2, p.in_height);
             ++iy) {
            for (std::int64_t ix = 0; ix < std::min(std::max<std::int64_t>(left, 0), p.in_width);
                 ++ix) {
                pixel(iy, ix);
            }
            for (std::int64_t ix = std::max<std::int64_t>(right, 0); ix < p.in_width; ++ix) {
                pixel(iy, ix);
            }
        }
    });
}

template <class T>
void depthwise_backward_input(const DepthwiseKernels<T>& kernels, const ConvolutionProblem& problem,
                              const T* dy, const WeightView<T>& weight, T* dx,
                              const Epilogue<T>& epilogue) {
    const std::int64_t pixels = problem.batch * problem.in_height * problem.in_width;
    if (pixels == 0 || problem.in_channels == 0) return;
    Scratch scratch;
    ConvolutionProblem p = problem;
    T* sums = dx;
    Epilogue<T> e = epilogue;
    const std::int64_t multiplier = p.out_channels / p.in_channels;
    if (multiplier != 1) {
        p = with_repeated_channels(p);
        sums = scratch.take<T>(pixels * p.in_channels);
        e = Epilogue<T>{};
    }
    T* const packed = scratch.take<T>(depthwise_weight_size(kernels, p));
    if (p.stride_height == 1 && p.stride_width == 1) {
        // The convolution of dy with the turned kernel.
        ConvolutionProblem q = p;
        std::swap(q.in_height, q.out_height);
        std::swap(q.in_width, q.out_width);
        const std::int64_t reach_y = p.dilation_height * (p.kernel_height - 1);
        const std::int64_t reach_x = p.dilation_width * (p.kernel_width - 1);
        q.pad_top = reach_y - p.pad_top;
        q.pad_left = reach_x - p.pad_left;
        q.pad_bottom = q.out_height + reach_y - q.in_height - q.pad_top;
        q.pad_right = q.out_width + reach_x - q.in_width - q.pad_left;
        WeightView<T> turned = weight;
        turned.data += (p.kernel_height - 1) * weight.row + (p.kernel_width - 1) * weight.column;
        turned.row = -weight.row;
        turned.column = -weight.column;
        pack_depthwise(kernels, q, turned, packed);
        depthwise_forward(kernels, q, dy, packed, sums, e);
    } else {
        pack_depthwise(kernels, p, weight, packed);
        spread(kernels, p, dy, static_cast<const T*>(packed), sums, e);
    }
    if (multiplier != 1) {
        // The sum over the copies of a channel, then the epilogue, as a pixel with unit weights.
        const std::int64_t channels = problem.in_channels;
        T* const ones = scratch.take<T>(rounded(channels, kernels.lanes));
        std::fill(ones, ones + rounded(channels, kernels.lanes), T(1));
        T* const row = scratch.take<T>(rounded(channels, kernels.lanes));
        for (std::int64_t i = 0; i < pixels; ++i) {
            for (std::int64_t c = 0; c < channels; ++c) {
                T sum = 0;
                for (std::int64_t m = 0; m < multiplier; ++m) {
                    sum += sums[(i * channels + c) * multiplier + m];
                }
                row[c] = sum;
            }
            const T* one_row = row;
            const T* one_weight = ones;
            kernels.pixel({&one_row, &one_weight, 1, channels, dx + i * channels, epilogue.bias,
                           epilogue.activation, epilogue.slope});
        }
    }
}

#define PYCONV_INSTANTIATE(T)                                                                 \
    template std::int64_t depthwise_weight_size<T>(const DepthwiseKernels<T>&,                \
                                                   const ConvolutionProblem&);                \
    template void pack_depthwise<T>(const DepthwiseKernels<T>&, const ConvolutionProblem&,    \
                                    const WeightView<T>&, T*);                                \
    template void depthwise_strip<T>(const DepthwiseKernels<T>&, const ConvolutionProblem&,   \
                                     const T*, const T*, std::int64_t, std::int64_t, T*,      \
                                     const Epilogue<T>&, const DepthwiseMemory<T>&);          \
    template void depthwise_forward<T>(const DepthwiseKernels<T>&, const ConvolutionProblem&, \
                                       const T*, const T*, T*, const Epilogue<T>&);           \
    template void depthwise_backward_input<T>(const DepthwiseKernels<T>&,                     \
                                              const ConvolutionProblem&, const T*,            \
                                              const WeightView<T>&, T*, const Epilogue<T>&);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
