#include "cpu/convolution/weight_gradient.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/convolution/few_channels.h"
#include "cpu/dense/pack.h"
#include "cpu/dense/panels.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// The sum runs over blocks of pixels: whole output rows of one image, or several whole images. Of
// each block the panels of dy and the strips of x (14 channels or fewer) are packed, so that the
// tiles read both as they lie; a 1x1 convolution reads x, and where its panels are whole dy too, in
// place, unless the channels are very many.
//
// Where dw is small, ranges of blocks are summed on their own, each by one thread, and added in
// their order; where it is large, the threads share the tiles of a block.
template <class T>
class WeightGradient {
  public:
    WeightGradient(const DenseKernels<T>& kernels, const ConvolutionProblem& problem, const T* dy,
                   const T* x, T* dw, bool runs)
        : kernels_(kernels),
          p_(problem),
          dy_(dy),
          x_(x),
          dw_(dw),
          runs_(runs),
          flat_(!runs && p_.taps() == 1),
          panels_(kernels, p_.group_out()),
          tap_rows_(runs ? p_.kernel_height : p_.taps()),
          strips_(runs ? p_.kernel_width * p_.in_channels : p_.group_in(),
                  panels_.tallest(kernels)) {
        if (p_.outputs() == 0) return;
        if (flat_) {
            whole_ = p_.stride_height == 1 && p_.stride_width == 1 && p_.pad_top == 0 &&
                     p_.pad_left == 0 && p_.in_height == p_.out_height &&
                     p_.in_width == p_.out_width;
            dy_in_place_ = panels_.padded_columns() == p_.out_channels &&
                           p_.out_channels <= tuning::gradient_in_place;
            x_in_place_ = p_.in_channels < tuning::gradient_packs_input || p_.out_channels < 128;
            pitch_ = strips_.size(0);
            // Where dw is too large for L2 the visits cost the most: dy may pass by.
            const auto bytes = static_cast<std::int64_t>(sizeof(T));
            const bool large =
                p_.group_in() * p_.group_out() * bytes >= tuning::gradient_partial_bytes;
            const std::int64_t pixel = (p_.group_in() + (large ? 0 : p_.group_out())) * bytes;
            flat_pixels_ = std::clamp<std::int64_t>(tuning::gradient_block_bytes / pixel, 96,
                                                    tuning::gradient_pixels);
            strip_step_ = flat_pixels_ * pitch_ + 16;
            return;
        }
        width_ =
            (p_.out_width - 1) * p_.stride_width + (p_.kernel_width - 1) * p_.dilation_width + 1;
        // Strided columns are sorted by phase, so that the pixels of a tap are neighbours.
        phase_width_ = runs ? 0 : (width_ + p_.stride_width - 1) / p_.stride_width;
        row_pixels_ = runs ? width_ : phase_width_ * p_.stride_width;
        pitch_ = runs ? p_.in_channels : strips_.size(0);
        const std::int64_t plane = p_.out_height * p_.out_width;
        const std::int64_t most = tuning::gradient_pixels;
        images_ = std::clamp<std::int64_t>(most / plane, 1, std::max<std::int64_t>(p_.batch, 1));
        rows_ = images_ > 1 ? p_.out_height
                            : std::clamp<std::int64_t>((most + p_.out_width - 1) / p_.out_width, 1,
                                                       p_.out_height);
        in_rows_ = (rows_ - 1) * p_.stride_height + (p_.kernel_height - 1) * p_.dilation_height + 1;
        plane_ = in_rows_ * row_pixels_ * pitch_;  // of one image and strip
        // 16 elements apart, so that the strips don't begin in the same sets of the cache.
        strip_step_ = runs_ ? 0 : images_ * plane_ + 16;
    }

    void run() {
        const std::int64_t size = p_.taps() * p_.group_in() * p_.out_channels;
        if (p_.outputs() == 0) {
            std::fill(dw_, dw_ + size, T(0));
            return;
        }
        Scratch scratch;
        std::vector<Block> blocks;
        if (flat_) {
            if (!whole_) x_ = gather(scratch);
            const EvenCut cut(p_.outputs(), flat_pixels_);
            for (std::int64_t i = 0; i < cut.count(); ++i) {
                blocks.push_back({0, 1, 0, 1, cut.begin(i), cut.size(i)});
            }
        } else {
            for (std::int64_t n = 0; n < p_.batch; n += images_) {
                const std::int64_t images = std::min(images_, p_.batch - n);
                for (std::int64_t y = 0; y < p_.out_height; y += rows_) {
                    const std::int64_t rows = std::min(rows_, p_.out_height - y);
                    blocks.push_back({n, images, y, rows, 0, images * rows * p_.out_width});
                }
            }
        }
        const auto count = static_cast<std::int64_t>(blocks.size());
        const std::int64_t bytes = size * static_cast<std::int64_t>(sizeof(T));
        const std::int64_t affordable =
            std::clamp<std::int64_t>(tuning::gradient_partial_bytes / bytes, 1, tuning::tasks);
        const EvenCut ranges(count, (count + affordable - 1) / affordable);
        if (ranges.count() == 1) {
            sum_blocks(blocks.data(), count, dw_);
            return;
        }
        T* const partial = scratch.take<T>((ranges.count() - 1) * size);
        parallel_for(ranges.count(), p_.flops() / tuning::flops_per_microsecond,
                     [&](std::int64_t range) {
                         sum_blocks(blocks.data() + ranges.begin(range), ranges.size(range),
                                    range == 0 ? dw_ : partial + (range - 1) * size);
                     });
        for (std::int64_t range = 1; range < ranges.count(); ++range) {
            const T* from = partial + (range - 1) * size;
            for (std::int64_t i = 0; i < size; ++i) dw_[i] += from[i];
        }
    }

  private:
    struct Block {
        std::int64_t image, images, row, rows;
        std::int64_t pixel;  // the first, where all pixels are one row
        std::int64_t pixels;
    };
    // What one thread, or all of them together, need at a time.
    struct Workspace {
        T* x;
        T* dy;
        std::int32_t* offsets;
        std::int64_t* taps;
    };

    void sum_blocks(const Block* blocks, std::int64_t count, T* dw) {
        Scratch scratch;
        Workspace w{};
        const std::int64_t pixels = flat_ ? blocks[0].pixels : images_ * rows_ * p_.out_width;
        if (flat_ && !x_in_place_) w.x = scratch.take<T>(strips_.count() * strip_step_ + 16);
        if (!flat_) {
            w.x = scratch.take<T>((runs_ ? images_ * plane_ : strips_.count() * strip_step_) + 16);
            w.offsets = scratch.take<std::int32_t>(pixels);
            w.taps = scratch.take<std::int64_t>(tap_rows_);
            for (std::int64_t tap = 0; tap < tap_rows_; ++tap) w.taps[tap] = tap_offset(tap);
        }
        if (!dy_in_place_) w.dy = scratch.take<T>(panels_.size(pixels));
        for (std::int64_t group = 0; group < p_.groups; ++group) {
            for (std::int64_t i = 0; i < count; ++i) {
                pack_block(group, blocks[i], w);
                multiply_block(group, blocks[i], i + 1 < count ? &blocks[i + 1] : nullptr, w, dw,
                               i == 0);
            }
        }
    }

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
    void fill_offsets(const Block& block, std::int32_t* offsets) const {
        const std::int64_t step = (runs_ ? p_.stride_width : 1) * pitch_;
        for (std::int64_t n = 0; n < block.images; ++n) {
            for (std::int64_t oy = 0; oy < block.rows; ++oy) {
                const std::int64_t row = n * plane_ + oy * p_.stride_height * row_pixels_ * pitch_;
                for (std::int64_t ox = 0; ox < p_.out_width; ++ox) {
                    *offsets++ = static_cast<std::int32_t>(row + ox * step);
                }
            }
        }
    }

    // The input pixels that a 1x1 convolution with a stride sees.
    const T* gather(Scratch& scratch) const {
        const std::int64_t channels = p_.in_channels;
        T* const seen = scratch.take<T>(p_.outputs() * channels);
        parallel_for(
            p_.batch * p_.out_height, static_cast<double>(p_.outputs() * channels) / 2e3,
            [&](std::int64_t task) {
                const std::int64_t image = task / p_.out_height;
                const std::int64_t iy = task % p_.out_height * p_.stride_height - p_.pad_top;
                const T* const row = x_ + (image * p_.in_height + iy) * p_.in_width * channels;
                T* to = seen + task * p_.out_width * channels;
                for (std::int64_t ox = 0; ox < p_.out_width; ++ox, to += channels) {
                    const std::int64_t ix = ox * p_.stride_width - p_.pad_left;
                    if (iy < 0 || iy >= p_.in_height || ix < 0 || ix >= p_.in_width) {
                        std::fill(to, to + channels, T(0));
                    } else {
                        std::memcpy(to, row + ix * channels, channels * sizeof(T));
                    }
                }
            });
        return seen;
    }

    // Output rows of a block, of which there is one where its pixels are a row, or several images'.
    struct Rows {
        std::int64_t begin, end;
    };
    std::int64_t row_length(const Block& block) const {
        return flat_ || block.images > 1 ? block.pixels : p_.out_width;
    }
    // Those for which a tap is not in the padding above or below the image.
    Rows rows_seen(const Block& block, std::int64_t tap) const {
        if (flat_ || block.images > 1) return {0, 1};
        const std::int64_t r = runs_ ? tap : tap / p_.kernel_width;
        const std::int64_t y0 = block.row * p_.stride_height + r * p_.dilation_height - p_.pad_top;
        const std::int64_t s = p_.stride_height;
        const std::int64_t begin = y0 < 0 ? std::min((s - 1 - y0) / s, block.rows) : 0;
        const std::int64_t left = p_.in_height - y0;
        const std::int64_t end = left <= 0 ? 0 : std::min((left + s - 1) / s, block.rows);
        return {begin, std::max(begin, end)};
    }

    // What a block reads of the image, without its halo.
    const T* input_of(const Block& block) const {
        if (flat_) return x_ + block.pixel * p_.in_channels;
        const std::int64_t row = std::min(block.row * p_.stride_height, p_.in_height - 1);
        return x_ + (block.image * p_.in_height + row) * p_.in_width * p_.in_channels;
    }
    std::int64_t input_bytes(const Block& block) const {
        const auto pixel = p_.in_channels * static_cast<std::int64_t>(sizeof(T));
        if (flat_) return block.pixels * pixel;
        const std::int64_t rows =
            block.images > 1
                ? block.images * p_.in_height
                : std::min(block.rows * p_.stride_height,
                           p_.in_height - std::min(block.row * p_.stride_height, p_.in_height - 1));
        return rows * p_.in_width * pixel;
    }

    const T* dy_of(std::int64_t group, const Block& block) const {
        const std::int64_t pixel =
            (block.image * p_.out_height + block.row) * p_.out_width + block.pixel;
        return dy_ + pixel * p_.out_channels + group * p_.group_out();
    }

    void pack_block(std::int64_t group, const Block& block, const Workspace& w) {
        const std::int64_t in_rows =
            (block.rows - 1) * p_.stride_height + (p_.kernel_height - 1) * p_.dilation_height + 1;
        const std::int64_t y0 = block.row * p_.stride_height - p_.pad_top;
        const std::int64_t image_size = p_.in_height * p_.in_width * p_.in_channels;
        constexpr std::int64_t kChunk = 32;  // pixels of 1x1 layers that one task copies
        const std::int64_t input_tasks = !flat_        ? block.images * in_rows
                                         : x_in_place_ ? 0
                                                       : (block.pixels + kChunk - 1) / kChunk;
        const double work =
            (static_cast<double>(input_tasks * (flat_ ? kChunk : row_pixels_)) * pitch_ *
                 (runs_ ? 1 : strips_.count()) +
             (dy_in_place_ ? 0.0 : static_cast<double>(block.pixels) * p_.group_out())) /
            2e3;
        if (!flat_) fill_offsets(block, w.offsets);
        // One task copies a row of the input, for all strips, or a panel of dy.
        const std::int64_t panel_tasks = dy_in_place_ ? 0 : panels_.count();
        parallel_for(input_tasks + panel_tasks, work, [&](std::int64_t task) {
            if (flat_ && task < input_tasks) {
                pack_pixels(group, block, task * kChunk,
                            std::min((task + 1) * kChunk, block.pixels), w.x);
            } else if (task < input_tasks) {
                const std::int64_t image = task / in_rows;
                const std::int64_t row = task % in_rows;
                const T* from = x_ + (block.image + image) * image_size;
                T* to = w.x + image * plane_ + row * row_pixels_ * pitch_;
                if (runs_) {
                    copy_padded_rows(from, p_.in_height, p_.in_width, p_.in_channels, y0 + row, 1,
                                     -p_.pad_left, width_, to);
                } else {
                    pack_row(from, group * p_.group_in(), y0 + row, to);
                }
            } else {
                const std::int64_t panel = task - input_tasks;
                pack(dy_of(group, block) + panels_.first(panel), p_.out_channels, std::int64_t{1},
                     block.pixels, panels_.valid(panel), panels_.width(panel),
                     w.dy + panels_.offset(panel, block.pixels));
            }
        });
    }

    // Pixels of a 1x1 convolution, cut into strips.
    void pack_pixels(std::int64_t group, const Block& block, std::int64_t begin, std::int64_t end,
                     T* to) const {
        const T* const image = x_ + block.pixel * p_.in_channels + group * p_.group_in();
        for (std::int64_t strip = 0; strip < strips_.count(); ++strip) {
            const std::int64_t channel = strips_.begin(strip);
            const T* from = image + begin * p_.in_channels + channel;
            T* pixel = to + strip * strip_step_ + begin * pitch_;
            // 16 elements in one move, the surplus falling on the pixel that comes next.
            const bool wide = pitch_ > 8 && channel + 16 <= p_.group_in();
            for (std::int64_t i = begin; i < end; ++i, from += p_.in_channels, pixel += pitch_) {
                if (wide && i + 1 < end) {
                    std::memcpy(pixel, from, 16 * sizeof(T));
                } else {
                    for (std::int64_t j = 0; j < strips_.size(strip); ++j) pixel[j] = from[j];
                }
            }
        }
    }

    // One row of one image: channels cut into strips, columns in their places, padding zero.
    void pack_row(const T* image, std::int64_t first_channel, std::int64_t y, T* to) {
        const bool inside = y >= 0 && y < p_.in_height;
        const T* const row = image + y * p_.in_width * p_.in_channels;
        for (std::int64_t strip = 0; strip < strips_.count(); ++strip) {
            const std::int64_t channels = strips_.size(strip);
            const std::int64_t channel = first_channel + strips_.begin(strip);
            for (std::int64_t phase = 0; phase < p_.stride_width; ++phase) {
                T* pixel = to + strip * strip_step_ + phase * phase_width_ * pitch_;
                // 16 elements go in one move where those beyond the strip exist in the row, and
                // where they land on a pixel that is still to come.
                for (std::int64_t j = phase; j < width_; j += p_.stride_width, pixel += pitch_) {
                    const std::int64_t ix = j - p_.pad_left;
                    const bool last = j + p_.stride_width >= width_;
                    if (!inside || ix < 0 || ix >= p_.in_width) {
                        std::fill(pixel, pixel + channels, T(0));
                    } else if (!last && (p_.in_width - ix) * p_.in_channels - channel >= 16 &&
                               pitch_ > 8) {
                        std::memcpy(pixel, row + ix * p_.in_channels + channel, 16 * sizeof(T));
                    } else {
                        const T* from = row + ix * p_.in_channels + channel;
                        for (std::int64_t i = 0; i < channels; ++i) pixel[i] = from[i];
                    }
                }
            }
        }
    }

    void multiply_block(std::int64_t group, const Block& block, const Block* next,
                        const Workspace& w, T* dw, bool first) {
        Epilogue<T> epilogue;
        epilogue.accumulate = !first;
        // Cells: panels, taps and, where these are few, shares of the strips.
        const std::int64_t coarse = panels_.count() * tap_rows_;
        const EvenCut shares(strips_.count(),
                             std::max<std::int64_t>(1, strips_.count() * coarse / tuning::tasks));
        const double work = 2.0 * static_cast<double>(block.pixels) * p_.group_out() *
                            p_.group_in() * p_.taps() / tuning::flops_per_microsecond;
        // What the next block reads, x and then dy, each tile its part.
        const std::int64_t cells = coarse * shares.count();
        const bool whole_rows = p_.groups == 1 && next != nullptr;
        const auto* const next_x =
            reinterpret_cast<const char*>(whole_rows ? input_of(*next) : nullptr);
        const auto* const next_dy =
            reinterpret_cast<const char*>(whole_rows ? dy_of(0, *next) : nullptr);
        const std::int64_t x_bytes = whole_rows ? input_bytes(*next) : 0;
        const std::int64_t dy_bytes =
            whole_rows ? next->pixels * p_.out_channels * static_cast<std::int64_t>(sizeof(T)) : 0;
        const std::int64_t steps = coarse * strips_.count() * block.pixels;
        Ahead whole = spread_ahead(next_x, x_bytes + dy_bytes, steps);
        whole.step = std::max(whole.step, kLine / 2);  // rather none than a line many times
        const std::int64_t per_tile = block.pixels * whole.step;
        const auto ahead_of = [&](std::int64_t tile) -> Ahead {
            const std::int64_t begin = tile * per_tile;
            if (begin < x_bytes) return {next_x + begin, whole.step};
            const std::int64_t dy_begin = begin - (x_bytes + per_tile - 1) / per_tile * per_tile;
            return dy_begin < dy_bytes ? Ahead{next_dy + dy_begin, whole.step} : Ahead{};
        };
        parallel_for(cells, work, [&](std::int64_t cell) {
            const std::int64_t share = cell % shares.count();
            const std::int64_t tap = cell / shares.count() % tap_rows_;
            const std::int64_t panel = cell / shares.count() / tap_rows_;
            const int vectors = panels_.vectors(panel);
            const std::int64_t tap_channels =
                runs_ ? p_.kernel_width * p_.in_channels : p_.group_in();
            const Rows rows = rows_seen(block, tap);
            OuterTile<T> tile{};
            tile.depth = (rows.end - rows.begin) * row_length(block);
            const std::int64_t skipped = rows.begin * row_length(block);
            const std::int64_t tiles_before = (panel * tap_rows_ + tap) * strips_.count();
            if (dy_in_place_) {
                tile.b = dy_of(group, block) + panels_.first(panel);
                tile.b_step = p_.out_channels;
            } else {
                tile.b = w.dy + panels_.offset(panel, block.pixels);
                tile.b_step = panels_.width(panel);
            }
            tile.b += skipped * tile.b_step;
            tile.c_step = p_.out_channels;
            tile.last = panels_.last(panel);
            for (std::int64_t strip = shares.begin(share);
                 strip < shares.begin(share) + shares.size(share); ++strip) {
                const std::int64_t channel = strips_.begin(strip);
                if (flat_ && !x_in_place_) {
                    tile.a = w.x + strip * strip_step_;
                    tile.a_step = pitch_;
                } else if (flat_) {
                    tile.a = x_ + block.pixel * p_.in_channels + group * p_.group_in() + channel;
                    tile.a_step = p_.in_channels;
                } else {
                    tile.a = w.x + w.taps[tap] + (runs_ ? channel : strip * strip_step_);
                    tile.offset = w.offsets + skipped;
                }
                tile.c = dw + (tap * tap_channels + channel) * p_.out_channels +
                         group * p_.group_out() + panels_.first(panel);
                if (whole.at) tile.ahead = ahead_of(tiles_before + strip);
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
    bool flat_;
    bool whole_ = false;                             // a 1x1 convolution that sees every pixel once
    bool dy_in_place_ = false, x_in_place_ = false;  // of 1x1 layers
    std::int64_t flat_pixels_ = 0;
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
