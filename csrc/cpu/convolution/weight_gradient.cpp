#include "cpu/convolution/weight_gradient.h"

#include <algorithm>
#include <cstring>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/convolution/few_channels.h"
#include "cpu/dense/pack.h"
#include "cpu/dense/panels.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// Copies `count` <= 14 neighbouring elements to rows of `pitch`.
template <class T>
inline void copy_short(const T* src, std::int64_t count, T* dst) {
    for (std::int64_t i = 0; i < count; ++i) dst[i] = src[i];
}

template <class T>
class WeightGradient {
  public:
    WeightGradient(const DenseKernels<T>& kernels, const ConvolutionProblem& p, const T* dy,
                   const T* x, T* dw, bool runs)
        : kernels_(kernels),
          p_(p),
          dy_(dy),
          x_(x),
          dw_(dw),
          runs_(runs),
          panels_(kernels, p.group_out()),
          tap_rows_(runs ? p.kernel_height : p.taps()),
          strips_(runs ? p.kernel_width * p.in_channels : p.group_in(), panels_.tallest(kernels)) {
        width_ = (p.out_width - 1) * p.stride_width + (p.kernel_width - 1) * p.dilation_width + 1;
        // Strided columns are sorted by phase, so that the pixels of a tap are neighbours.
        phase_width_ = runs ? 0 : (width_ + p.stride_width - 1) / p.stride_width;
        row_pixels_ = runs ? width_ : phase_width_ * p.stride_width;
        pitch_ = runs ? p.in_channels : strips_.size(0);
        // A block: whole output rows of one image, or several whole images.
        const std::int64_t plane = p.out_height * p.out_width;
        images_ =
            std::clamp<std::int64_t>(tuning::gradient_pixels / std::max<std::int64_t>(plane, 1), 1,
                                     std::max<std::int64_t>(p.batch, 1));
        rows_ = images_ > 1 ? p.out_height
                            : std::clamp<std::int64_t>(
                                  (tuning::gradient_pixels + p.out_width - 1) / p.out_width, 1,
                                  p.out_height);
        in_rows_ = (rows_ - 1) * p.stride_height + (p.kernel_height - 1) * p.dilation_height + 1;
    }

    void run() {
        const std::int64_t outputs = p_.taps() * p_.group_in() * p_.out_channels;
        if (p_.outputs() == 0) {
            std::fill(dw_, dw_ + outputs, T(0));
            return;
        }
        Scratch scratch;
        const std::int64_t pixels = images_ * rows_ * p_.out_width;
        plane_ = in_rows_ * row_pixels_ * pitch_;  // of one image and strip
        // 16 elements apart, so that the strips don't begin in the same sets of the cache.
        strip_step_ = runs_ ? 0 : images_ * plane_ + 16;
        T* const x_packed =
            scratch.take<T>((runs_ ? images_ * plane_ : strips_.count() * strip_step_) + 16);
        T* const dy_packed = scratch.take<T>(panels_.size(pixels));
        std::int32_t* const offsets = scratch.take<std::int32_t>(pixels);
        std::int64_t* const tap_offsets = scratch.take<std::int64_t>(tap_rows_);
        for (std::int64_t tap = 0; tap < tap_rows_; ++tap) tap_offsets[tap] = tap_offset(tap);

        for (std::int64_t group = 0; group < p_.groups; ++group) {
            bool first = true;
            for (std::int64_t n = 0; n < p_.batch; n += images_) {
                const std::int64_t images = std::min(images_, p_.batch - n);
                for (std::int64_t y = 0; y < p_.out_height; y += rows_) {
                    const std::int64_t rows = std::min(rows_, p_.out_height - y);
                    pack_block(group, n, images, y, rows, x_packed, dy_packed);
                    fill_offsets(images, rows, offsets);
                    multiply_block(group, images * rows * p_.out_width, x_packed, dy_packed,
                                   offsets, tap_offsets, first);
                    first = false;
                }
            }
        }
    }

  private:
    // Where input column j of a padded row stands.
    std::int64_t column_place(std::int64_t j) const {
        return runs_ ? j : j % p_.stride_width * phase_width_ + j / p_.stride_width;
    }
    std::int64_t tap_offset(std::int64_t tap) const {
        if (runs_) return tap * p_.dilation_height * row_pixels_ * pitch_;
        const std::int64_t r = tap / p_.kernel_width;
        const std::int64_t s = tap % p_.kernel_width;
        return (r * p_.dilation_height * row_pixels_ + column_place(s * p_.dilation_width)) *
               pitch_;
    }
    void fill_offsets(std::int64_t images, std::int64_t rows, std::int32_t* offsets) const {
        const std::int64_t step = (runs_ ? p_.stride_width : 1) * pitch_;
        for (std::int64_t n = 0; n < images; ++n) {
            for (std::int64_t oy = 0; oy < rows; ++oy) {
                const std::int64_t row = n * plane_ + oy * p_.stride_height * row_pixels_ * pitch_;
                for (std::int64_t ox = 0; ox < p_.out_width; ++ox) {
                    *offsets++ = static_cast<std::int32_t>(row + ox * step);
                }
            }
        }
    }

    void pack_block(std::int64_t group, std::int64_t n, std::int64_t images, std::int64_t y,
                    std::int64_t rows, T* x_packed, T* dy_packed) {
        const std::int64_t in_rows =
            (rows - 1) * p_.stride_height + (p_.kernel_height - 1) * p_.dilation_height + 1;
        const std::int64_t y0 = y * p_.stride_height - p_.pad_top;
        const std::int64_t image_size = p_.in_height * p_.in_width * p_.in_channels;
        const std::int64_t pixels = images * rows * p_.out_width;
        const double work = (static_cast<double>(images * in_rows * row_pixels_) * pitch_ *
                                 (runs_ ? 1 : strips_.count()) +
                             static_cast<double>(pixels) * p_.group_out()) /
                            2e3;
        // One task copies a row of the input, for all strips, or a panel of dy.
        const std::int64_t input_tasks = images * in_rows;
        parallel_for(input_tasks + panels_.count(), work, [&](std::int64_t task) {
            if (task < input_tasks) {
                const std::int64_t image = task / in_rows;
                const std::int64_t row = task % in_rows;
                const T* from = x_ + (n + image) * image_size;
                T* to = x_packed + image * plane_ + row * row_pixels_ * pitch_;
                if (runs_) {
                    copy_padded_rows(from, p_.in_height, p_.in_width, p_.in_channels, y0 + row, 1,
                                     -p_.pad_left, width_, to);
                } else {
                    pack_row(from + group * p_.group_in(), y0 + row, to);
                }
            } else {
                const std::int64_t panel = task - input_tasks;
                const T* from = dy_ + ((n * p_.out_height + y) * p_.out_width) * p_.out_channels +
                                group * p_.group_out() + panels_.first(panel);
                pack(from, p_.out_channels, std::int64_t{1}, pixels, panels_.valid(panel),
                     panels_.width(panel), dy_packed + panels_.offset(panel, pixels));
            }
        });
    }

    // One row of one image: channels cut into strips, columns in their places, padding zero.
    void pack_row(const T* image, std::int64_t y, T* to) {
        const bool inside = y >= 0 && y < p_.in_height;
        for (std::int64_t strip = 0; strip < strips_.count(); ++strip) {
            T* const dst = to + strip * strip_step_;
            const std::int64_t channels = strips_.size(strip);
            const T* from = image + y * p_.in_width * p_.in_channels + strips_.begin(strip);
            for (std::int64_t j = 0; j < width_; ++j) {
                T* pixel = dst + column_place(j) * pitch_;
                const std::int64_t ix = j - p_.pad_left;
                if (inside && ix >= 0 && ix < p_.in_width) {
                    copy_short(from + ix * p_.in_channels, channels, pixel);
                } else {
                    std::fill(pixel, pixel + channels, T(0));
                }
            }
        }
    }

    void multiply_block(std::int64_t group, std::int64_t pixels, const T* x_packed,
                        const T* dy_packed, const std::int32_t* offsets,
                        const std::int64_t* tap_offsets, bool first) {
        Epilogue<T> epilogue;
        epilogue.accumulate = !first;
        const std::int64_t cells = panels_.count() * tap_rows_;
        const double work = 2.0 * static_cast<double>(pixels) * p_.group_out() * p_.group_in() *
                            p_.taps() / tuning::flops_per_microsecond;
        parallel_for(cells, work, [&](std::int64_t cell) {
            const std::int64_t panel = cell / tap_rows_;
            const std::int64_t tap = cell % tap_rows_;
            const int vectors = panels_.vectors(panel);
            const std::int64_t tap_channels =
                runs_ ? p_.kernel_width * p_.in_channels : p_.group_in();
            OuterTile<T> tile;
            tile.a_step = 0;
            tile.offset = offsets;
            tile.depth = pixels;
            tile.b = dy_packed + panels_.offset(panel, pixels);
            tile.b_step = panels_.width(panel);
            tile.c_step = p_.out_channels;
            tile.last = panels_.last(panel);
            for (std::int64_t strip = 0; strip < strips_.count(); ++strip) {
                const std::int64_t channel = strips_.begin(strip);
                tile.a = x_packed + tap_offsets[tap] + (runs_ ? channel : strip * strip_step_);
                tile.c = dw_ + (tap * tap_channels + channel) * p_.out_channels +
                         group * p_.group_out() + panels_.first(panel);
                kernels_.outer[vectors][strips_.size(strip)](tile, epilogue);
            }
        });
    }

    const DenseKernels<T>& kernels_;
    const ConvolutionProblem& p_;
    const T* dy_;
    const T* x_;
    T* dw_;
    bool runs_;
    Panels<T> panels_;
    std::int64_t tap_rows_;  // taps, or rows of the kernel
    EvenCut strips_;         // of the channels, or of a run
    std::int64_t width_ = 0, phase_width_ = 0, row_pixels_ = 0, pitch_ = 0;
    std::int64_t images_ = 0, rows_ = 0, in_rows_ = 0, plane_ = 0, strip_step_ = 0;
};

}  // namespace

template <class T>
void weight_gradient(const DenseKernels<T>& kernels, const ConvolutionProblem& problem, const T* dy,
                     const T* x, T* dw, bool runs) {
    WeightGradient<T>(kernels, problem, dy, x, dw, runs).run();
}

template void weight_gradient<float>(const DenseKernels<float>&, const ConvolutionProblem&,
                                     const float*, const float*, float*, bool);
template void weight_gradient<double>(const DenseKernels<double>&, const ConvolutionProblem&,
                                      const double*, const double*, double*, bool);

}  // namespace pyconv
