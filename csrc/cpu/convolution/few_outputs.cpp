#include "cpu/convolution/few_outputs.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dense/panels.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// Vectors may read this much beyond a row.
constexpr std::int64_t kSlack = kMaxFewOutputsLanes;

// Some input rows of one image, with their padding: [channel][row][phase of the stride][pixel].
template <class T>
class Planes {
  public:
    // `slack`: what is read beyond a row is zero, not the next row.
    Planes(const ConvolutionProblem& p, std::int64_t out_rows, bool slack)
        : p_(p),
          rows_((out_rows - 1) * p.stride_height + (p.kernel_height - 1) * p.dilation_height + 1),
          phase_(p.out_width + ((p.kernel_width - 1) * p.dilation_width) / p.stride_width +
                 (slack ? kSlack : 0)),
          row_(phase_ * p.stride_width) {}

    std::int64_t size() const { return p_.in_channels * rows_ * row_ + kSlack; }
    std::int64_t taps() const { return p_.taps() * p_.in_channels; }
    // From one output row to the next.
    std::int64_t step() const { return p_.stride_height * row_; }

    // The rows that the output rows [y0, y0 + out_rows) see.
    void fill(const T* image, std::int64_t y0, std::int64_t out_rows, T* planes) const {
        const std::int64_t rows =
            (out_rows - 1) * p_.stride_height + (p_.kernel_height - 1) * p_.dilation_height + 1;
        const std::int64_t top = y0 * p_.stride_height - p_.pad_top;
        std::fill(planes, planes + size(), T(0));
        const std::int64_t end = std::min(rows, p_.in_height - top);
        for (std::int64_t r = std::max<std::int64_t>(0, -top); r < end; ++r) {
            const T* const from = image + (top + r) * p_.in_width * p_.in_channels;
            for (std::int64_t phase = 0; phase < p_.stride_width; ++phase) {
                fill_phase(from, phase - p_.pad_left, planes + r * row_ + phase * phase_);
            }
        }
    }

    // Where each tap of each channel begins for the first of the output rows.
    void point(const T* planes, const T** in) const {
        for (std::int64_t r = 0; r < p_.kernel_height; ++r) {
            for (std::int64_t s = 0; s < p_.kernel_width; ++s) {
                const std::int64_t x = s * p_.dilation_width;
                for (std::int64_t c = 0; c < p_.in_channels; ++c) {
                    *in++ = planes + (c * rows_ + r * p_.dilation_height) * row_ +
                            x % p_.stride_width * phase_ + x / p_.stride_width;
                }
            }
        }
    }

  private:
    // The columns start, start + stride, ... of an image row, each channel into its plane.
    void fill_phase(const T* row, std::int64_t start, T* to) const {
        const std::int64_t stride = p_.stride_width;
        const std::int64_t channels = p_.in_channels;
        const std::int64_t plane = rows_ * row_;
        const std::int64_t begin =
            std::min(phase_, start >= 0 ? 0 : (-start + stride - 1) / stride);
        const std::int64_t end = std::clamp<std::int64_t>(
            start >= p_.in_width ? 0 : (p_.in_width - 1 - start) / stride + 1, begin, phase_);
        const T* from = row + (start + begin * stride) * channels;
        const std::int64_t step = stride * channels;
        if (step == 1) {
            std::copy(from, from + (end - begin), to + begin);
            return;
        }
        for (std::int64_t j = begin; j < end; ++j, from += step) {
            T* place = to + j;
            for (std::int64_t c = 0; c < channels; ++c, place += plane) *place = from[c];
        }
    }

    const ConvolutionProblem& p_;
    std::int64_t rows_, phase_, row_;
};

// Output rows of a strip: a few hundred pixels, so that the planes stay in L1 or L2.
EvenCut cut_rows(const ConvolutionProblem& p) {
    return EvenCut(p.out_height,
                   std::max<std::int64_t>(1, tuning::few_outputs_pixels / p.out_width));
}

// Rows of pixels of kOut channels, plane by plane; the rest of a row of `width` is zero.
template <int kOut, class T>
void turn_rows(const T* from, std::int64_t rows, std::int64_t pixels, std::int64_t plane,
               std::int64_t width, T* to) {
    for (std::int64_t r = 0; r < rows; ++r, to += width) {
        for (std::int64_t j = 0; j < pixels; ++j, from += kOut) {
            for (int k = 0; k < kOut; ++k) to[k * plane + j] = from[k];
        }
        for (int k = 0; k < kOut; ++k) {
            for (std::int64_t j = pixels; j < width; ++j) to[k * plane + j] = T(0);
        }
    }
}

template <class T, int... kMinusOne>
auto turns(std::integer_sequence<int, kMinusOne...>) {
    using Turn = void (*)(const T*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, T*);
    return std::array<Turn, sizeof...(kMinusOne)>{turn_rows<kMinusOne + 1, T>...};
}

}  // namespace

std::int64_t few_outputs_weight_size(const ConvolutionProblem& p) {
    return p.taps() * p.in_channels * p.out_channels;
}

template <class T>
void pack_few_outputs(const ConvolutionProblem& p, const WeightView<T>& w, T* packed) {
    for (std::int64_t r = 0; r < p.kernel_height; ++r) {
        for (std::int64_t s = 0; s < p.kernel_width; ++s) {
            for (std::int64_t c = 0; c < p.in_channels; ++c) {
                const T* from = w.data + c * w.in + r * w.row + s * w.column;
                for (std::int64_t k = 0; k < p.out_channels; ++k) *packed++ = from[k * w.out];
            }
        }
    }
}

template <class T>
void few_outputs_forward(const FewOutputsKernels<T>& kernels, const ConvolutionProblem& p,
                         const T* x, const T* packed, T* y, const Epilogue<T>& epilogue) {
    if (p.outputs() == 0) return;
    const EvenCut strips = cut_rows(p);
    const Planes<T> planes(p, strips.size(0), false);
    const std::int64_t row_taps = p.kernel_width * p.in_channels;
    parallel_for(p.batch * strips.count(), 2 * p.flops() / tuning::flops_per_microsecond,
                 [&](std::int64_t task) {
                     const std::int64_t image = task / strips.count();
                     const std::int64_t strip = task % strips.count();
                     const std::int64_t y0 = strips.begin(strip);
                     Scratch scratch;
                     T* const copy = scratch.take<T>(planes.size());
                     const T** const in = scratch.take<const T*>(planes.taps());
                     planes.fill(x + image * p.in_height * p.in_width * p.in_channels, y0,
                                 strips.size(strip), copy);
                     planes.point(copy, in);
                     FewOutputsRows<T> rows{};
                     rows.in_row = planes.step();
                     rows.out = y + (image * p.out_height + y0) * p.out_width * p.out_channels;
                     rows.pixels = p.out_width;
                     rows.bias = epilogue.bias;
                     rows.activation = epilogue.activation;
                     rows.slope = epilogue.slope;
                     // Some rows at a time, so that short ones, too, fill the vectors of a step;
                     // without the kernel rows that fall on padding for all.
                     const std::int64_t together = kernels.vectors[p.out_channels];
                     for (rows.begin = 0; rows.begin < strips.size(strip); rows.begin = rows.end) {
                         rows.end = std::min(rows.begin + together, strips.size(strip));
                         const std::int64_t top = (y0 + rows.begin) * p.stride_height - p.pad_top;
                         const std::int64_t bottom =
                             (y0 + rows.end - 1) * p.stride_height - p.pad_top;
                         std::int64_t first = 0, last = p.kernel_height;
                         while (first < last && bottom + first * p.dilation_height < 0) ++first;
                         while (last > first && top + (last - 1) * p.dilation_height >= p.in_height)
                             --last;
                         rows.in = in + first * row_taps;
                         rows.taps = (last - first) * row_taps;
                         rows.weight = packed + first * row_taps * p.out_channels;
                         kernels.rows[p.out_channels](rows);
                     }
                 });
}

template <class T>
void few_outputs_backward_input(const FewOutputsKernels<T>& kernels, const ConvolutionProblem& p,
                                const T* dy, const WeightView<T>& weight, T* dx,
                                const Epilogue<T>& epilogue) {
    ConvolutionProblem q = p;
    std::swap(q.in_channels, q.out_channels);
    std::swap(q.in_height, q.out_height);
    std::swap(q.in_width, q.out_width);
    q.pad_top = (p.kernel_height - 1) * p.dilation_height - p.pad_top;
    q.pad_left = (p.kernel_width - 1) * p.dilation_width - p.pad_left;
    const WeightView<T> turned{
        weight.data + (p.kernel_height - 1) * weight.row + (p.kernel_width - 1) * weight.column,
        weight.in, weight.out, -weight.row, -weight.column};
    Scratch scratch;
    T* const packed = scratch.take<T>(few_outputs_weight_size(q));
    pack_few_outputs(q, turned, packed);
    few_outputs_forward(kernels, q, dy, static_cast<const T*>(packed), dx, epilogue);
}

template <class T>
void few_outputs_backward_weight(const FewOutputsKernels<T>& kernels, const ConvolutionProblem& p,
                                 const T* dy, const T* x, T* dw) {
    const EvenCut strips = cut_rows(p);
    const Planes<T> planes(p, strips.size(0), true);
    const std::int64_t size = p.taps() * p.in_channels * p.out_channels;
    const std::int64_t width = (p.out_width + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
    const std::int64_t plane = strips.size(0) * width;
    const auto turn =
        turns<T>(std::make_integer_sequence<int, kMaxFewOutputs>())[p.out_channels - 1];
    // Ranges of strips are summed apart, and added in their order.
    const std::int64_t count = p.batch * strips.count();
    const EvenCut ranges(count,
                         std::max<std::int64_t>(1, (count + tuning::tasks - 1) / tuning::tasks));
    Scratch outer;
    T* const partial = outer.take<T>(ranges.count() * size);
    std::fill(partial, partial + ranges.count() * size, T(0));
    parallel_for(
        ranges.count(), 2 * p.flops() / tuning::flops_per_microsecond, [&](std::int64_t range) {
            Scratch scratch;
            T* const copy = scratch.take<T>(planes.size());
            T* const turned = scratch.take<T>(plane * p.out_channels);
            const T** const in = scratch.take<const T*>(planes.taps());
            planes.point(copy, in);
            for (std::int64_t i = ranges.begin(range); i < ranges.begin(range) + ranges.size(range);
                 ++i) {
                const std::int64_t image = i / strips.count();
                const std::int64_t y0 = strips.begin(i % strips.count());
                const std::int64_t rows = strips.size(i % strips.count());
                planes.fill(x + image * p.in_height * p.in_width * p.in_channels, y0, rows, copy);
                const T* from = dy + (image * p.out_height + y0) * p.out_width * p.out_channels;
                turn(from, rows, p.out_width, plane, width, turned);
                kernels.gradient[p.out_channels]({in, planes.taps(), planes.step(), turned, plane,
                                                  width, rows, width, partial + range * size});
            }
        });
    std::fill(dw, dw + size, T(0));
    for (std::int64_t range = 0; range < ranges.count(); ++range) {
        for (std::int64_t i = 0; i < size; ++i) dw[i] += partial[range * size + i];
    }
}

#define PYCONV_INSTANTIATE(T)                                                                    \
    template void pack_few_outputs<T>(const ConvolutionProblem&, const WeightView<T>&, T*);      \
    template void few_outputs_forward<T>(const FewOutputsKernels<T>&, const ConvolutionProblem&, \
                                         const T*, const T*, T*, const Epilogue<T>&);            \
    template void few_outputs_backward_input<T>(const FewOutputsKernels<T>&,                     \
                                                const ConvolutionProblem&, const T*,             \
                                                const WeightView<T>&, T*, const Epilogue<T>&);   \
    template void few_outputs_backward_weight<T>(                                                \
        const FewOutputsKernels<T>&, const ConvolutionProblem&, const T*, const T*, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
