// Groups whose outputs fill one or two vectors: the channels of a group are copied, a strip of rows
// at a time, so that they lie side by side. In the image a pixel of a group is a line or two, as
// far apart as all channels are, which falls into few sets of L1 and is no stream that the hardware
// follows. Several groups, a team, are taken one after the other, so that what comes next is
// brought into L2 in longer pieces.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/convolution/grouped.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// The copy of a group's strip stays in L1. What a strip and the next one read and write stays in L2
// beside the weights of a team; a gradient's sums are loaded and stored for each strip, so its
// strips are longer.
constexpr std::int64_t kCopyBytes = 32 << 10;
constexpr std::int64_t kStripBytes = 256 << 10;
constexpr std::int64_t kGradientStripBytes = 1 << 20;
constexpr std::int64_t kTeamWeightBytes = 320 << 10;
// The least that a team takes of a pixel: shorter pieces come as slowly as single lines.
constexpr std::int64_t kPieceBytes = 512;
constexpr std::int64_t kGradientPieceBytes = 2048;
// Partial sums of dw, for ranges of images.
constexpr std::int64_t kPartialBytes = 2 << 20;

// The image that is copied.
template <class T>
struct Source {
    const T* data;
    std::int64_t image, row, pixel;  // in elements
    std::int64_t height, width, depth;
};

// Columns and rows of the copy: column j of it is image column left + j, at place j / phases of
// phase j % phases.
struct CopyShape {
    std::int64_t left, columns, phases, phase_columns, chunks;

    CopyShape(std::int64_t first, std::int64_t last, std::int64_t step, std::int64_t depth)
        : left(first),
          columns(last - first + 1),
          phases(step),
          phase_columns((columns + step - 1) / step),
          chunks((depth + kWideChunk - 1) / kWideChunk) {}
    std::int64_t row() const { return phases * phase_columns * kWideChunk; }
    std::int64_t place(std::int64_t column) const {
        return (column % phases * phase_columns + column / phases) * kWideChunk;
    }
};

template <class T>
void copy_rows(const Source<T>& from, const T* image, const CopyShape& shape, std::int64_t top,
               std::int64_t rows, T* copy, std::int64_t chunk_step) {
    for (std::int64_t chunk = 0; chunk < shape.chunks; ++chunk) {
        T* to = copy + chunk * chunk_step;
        const std::int64_t first = chunk * kWideChunk;
        const std::int64_t channels = std::min<std::int64_t>(kWideChunk, from.depth - first);
        for (std::int64_t r = 0; r < rows; ++r) {
            const std::int64_t y = top + r;
            if (y < 0 || y >= from.height) {
                std::fill(to, to + shape.row(), T(0));
                to += shape.row();
                continue;
            }
            const T* const row = image + y * from.row + first;
            for (std::int64_t phase = 0; phase < shape.phases; ++phase) {
                const std::int64_t start = shape.left + phase;  // the column of place 0
                const std::int64_t begin = std::clamp<std::int64_t>(
                    (shape.phases - 1 - start) / shape.phases, 0, shape.phase_columns);
                const std::int64_t end =
                    std::clamp<std::int64_t>((from.width - start + shape.phases - 1) / shape.phases,
                                             begin, shape.phase_columns);
                std::fill(to, to + begin * kWideChunk, T(0));
                const T* pixel = row + (start + begin * shape.phases) * from.pixel;
                const std::int64_t step = shape.phases * from.pixel;
                T* place = to + begin * kWideChunk;
                std::int64_t i = begin;
                if (channels <= 4) {  // four in one move; the last pixel may end the image
                    for (; i < end - 1; ++i, pixel += step, place += kWideChunk) {
                        std::memcpy(place, pixel, 4 * sizeof(T));
                    }
                }
                for (; i < end; ++i, pixel += step, place += kWideChunk) {
                    if (channels == kWideChunk) {
                        std::memcpy(place, pixel, kWideChunk * sizeof(T));
                    } else {
                        std::copy(pixel, pixel + channels, place);
                        std::fill(place + channels, place + kWideChunk, T(0));
                    }
                }
                to += shape.phase_columns * kWideChunk;
                std::fill(place, to, T(0));
            }
        }
    }
}

// The taps as runs of neighbours in the copy, from the top down.
std::vector<WideRun> runs_of(std::vector<Tap> taps, const CopyShape& shape, std::int64_t top) {
    std::sort(taps.begin(), taps.end(), [&](const Tap& a, const Tap& b) {
        return a.y != b.y ? a.y < b.y
                          : shape.place(a.x - shape.left) < shape.place(b.x - shape.left);
    });
    std::vector<WideRun> runs;
    std::int64_t next = -1;
    for (const Tap& tap : taps) {
        const std::int64_t place = shape.place(tap.x - shape.left);
        if (runs.empty() || runs.back().y != tap.y || place != next ||
            runs.back().taps == kMaxWideTaps) {
            runs.push_back({(tap.y - top) * shape.row() + place, 0, {}, tap.y});
        }
        WideRun& run = runs.back();
        run.tap[run.taps++] = tap.weight;
        next = place + kWideChunk;
    }
    return runs;
}

// Those whose rows lie inside the image: neighbours in the list.
struct Live {
    const WideRun* run;
    std::int64_t count;
};
Live live_runs(const std::vector<WideRun>& runs, std::int64_t y, std::int64_t height) {
    const WideRun* begin = runs.data();
    const WideRun* end = begin + runs.size();
    while (begin < end && y + begin->y < 0) ++begin;
    while (begin < end && y + (end - 1)->y >= height) --end;
    return {begin, end - begin};
}

// Some channels of some rows of an image, in parts.
class Region {
  public:
    Region() = default;
    template <class T>
    Region(const Source<T>& from, std::int64_t image, std::int64_t top, std::int64_t rows,
           std::int64_t channel, std::int64_t channels, std::int64_t parts) {
        constexpr std::int64_t item = sizeof(T);
        const std::int64_t begin = std::clamp<std::int64_t>(top, 0, from.height);
        const std::int64_t end = std::clamp<std::int64_t>(top + rows, begin, from.height);
        ahead_.at = reinterpret_cast<const char*>(from.data + image * from.image +
                                                  begin * from.row + channel);
        pieces_ = (end - begin) * from.width;
        ahead_.bytes = channels * item;
        ahead_.step = from.pixel * item;
        if (channels == from.pixel) {  // one piece, by lines
            pieces_ = pieces_ * ahead_.bytes / 64;
            ahead_.bytes = ahead_.step = 64;
        }
        per_part_ = static_cast<int>((pieces_ + parts - 1) / std::max<std::int64_t>(1, parts));
    }

    // For the next `parts`.
    WideAhead take(std::int64_t parts) {
        WideAhead next = ahead_;
        next.count = pieces_ >= parts * per_part_ ? per_part_ : 0;
        ahead_.at += parts * per_part_ * ahead_.step;
        pieces_ -= parts * per_part_;
        return next;
    }

  private:
    WideAhead ahead_{};
    std::int64_t pieces_ = 0;
    int per_part_ = 0;
};

// Groups of a team: at least `piece` bytes of a pixel of `channels` each, more where there are
// tasks for all threads, as long as their weights stay in L2.
std::int64_t team_size(std::int64_t groups, std::int64_t weight_bytes, std::int64_t channel_bytes,
                       std::int64_t piece, std::int64_t cells) {
    const std::int64_t least = (piece + channel_bytes - 1) / channel_bytes;
    const std::int64_t wanted = std::max(least, groups * cells / (2 * tuning::tasks));
    const std::int64_t most = kTeamWeightBytes / std::max<std::int64_t>(weight_bytes, 1);
    return std::clamp<std::int64_t>(std::min(wanted, most), 1, groups);
}

}  // namespace

std::string wide_refuses(const ConvolutionProblem& p, Isa isa) {
    const WideKernels<float>& kernels = wide_kernels<float>(isa);
    if (kernels.lanes == 0) return "not with this instruction set";
    for (const std::int64_t channels : {p.group_in(), p.group_out()}) {
        if (channels < 8 || channels > 32) return "8 to 32 channels a group";
        if ((channels + kernels.lanes - 1) / kernels.lanes == 3) return "no three vectors";
    }
    return "";
}

template <class T>
void run_wide(const WideKernels<T>& kernels, const DenseKernels<T>& dense,
              const std::vector<IndirectProblem<T>>& phases) {
    const IndirectProblem<T>& p = phases[0];
    // Of all phases: the columns and rows that they reach, for grid position 0 and the last one.
    std::int64_t left = 0, right = 0, top = 0, bottom = 0, grid_height = 0;
    double outputs = 0;
    bool any = false;
    for (const IndirectProblem<T>& q : phases) {
        grid_height = std::max(grid_height, q.grid_height);
        outputs +=
            static_cast<double>(q.grid_height * q.grid_width) * static_cast<double>(q.taps.size());
        for (const Tap& tap : q.taps) {
            const std::int64_t last = (q.grid_width - 1) * p.step_x + tap.x;
            left = any ? std::min(left, tap.x) : tap.x;
            right = any ? std::max(right, last) : last;
            top = any ? std::min(top, tap.y) : tap.y;
            bottom = any ? std::max(bottom, tap.y) : tap.y;
            any = true;
        }
    }
    const CopyShape shape(left, right, p.step_x, p.depth);
    const Source<T> from{p.in, p.in_image, p.in_row, p.in_pixel, p.in_height, p.in_width, p.depth};
    std::vector<std::vector<WideRun>> runs;
    for (const IndirectProblem<T>& q : phases) runs.push_back(runs_of(q.taps, shape, top));
    constexpr std::int64_t item = sizeof(T);
    // Rows of results, those that a strip reads and those that the next one reads besides.
    const auto all_phases = static_cast<std::int64_t>(phases.size());
    const Panels<T> panels(dense, p.columns);
    const std::int64_t per_group = panels.size(p.packed_taps * p.depth);
    const std::int64_t in_bytes = 2 * p.step_y * p.in_width * p.in_pixel * item;
    const std::int64_t out_bytes = all_phases * p.grid_width * p.groups * p.columns * item;
    const EvenCut strips(
        grid_height, std::max<std::int64_t>(
                         1, std::min(kCopyBytes / (p.step_y * shape.row() * shape.chunks * item),
                                     kStripBytes / (in_bytes + out_bytes))));
    const std::int64_t copied = (strips.size(0) - 1) * p.step_y + bottom - top + 1;
    const std::int64_t blocks = p.batch * strips.count();
    const EvenCut teams(p.groups,
                        team_size(p.groups, per_group * item, p.depth * item, kPieceBytes, blocks));
    const bool dense_out = phases.size() == 1 && p.out_pixel == p.groups * p.columns;
    const Source<T> results{p.out,         p.out_image,  p.out_row, p.out_pixel,
                            p.grid_height, p.grid_width, p.columns};
    const double flops =
        2.0 * static_cast<double>(p.batch * p.groups * p.columns * p.depth) * outputs;
    const std::int64_t chunk = copied * shape.row();
    parallel_for(
        teams.count() * blocks, flops / tuning::flops_per_microsecond, [&](std::int64_t task) {
            const std::int64_t team = task / blocks;
            const std::int64_t block = task % blocks;
            const std::int64_t y0 = strips.begin(block % strips.count());
            const std::int64_t y1 = y0 + strips.size(block % strips.count());
            const std::int64_t image = block / strips.count();
            const std::int64_t first = y0 * p.step_y + top;  // input row
            const std::int64_t begin = teams.begin(team);
            const std::int64_t end = begin + teams.size(team);
            Scratch scratch;
            T* const copy = scratch.take<T>(chunk * shape.chunks);
            WideTile<T> tile{};
            tile.chunk = chunk;
            tile.depth = p.depth;
            // What the next strip of this thread reads and writes, a part with each run.
            std::int64_t calls = 0;
            for (std::int64_t panel = 0; panel < panels.count(); ++panel) {
                const EvenCut tiles(p.grid_width, kernels.max_pixels[panels.vectors(panel)]);
                for (const std::vector<WideRun>& list : runs) {
                    calls += (end - begin) * (y1 - y0) * tiles.count() *
                             static_cast<std::int64_t>(list.size());
                }
            }
            Region in_region, out_region;
            const std::int64_t later = block + thread_count();
            if (later < blocks) {
                const std::int64_t next = strips.begin(later % strips.count());
                // Rows that both strips read are there already.
                const std::int64_t shared =
                    later == block + 1 && next > 0 ? copied - strips.size(0) * p.step_y : 0;
                in_region =
                    Region(from, later / strips.count(), next * p.step_y + top + shared,
                           copied - shared, begin * p.depth, (end - begin) * p.depth, calls);
                if (dense_out) {
                    out_region = Region(results, later / strips.count(), next, strips.size(0),
                                        begin * p.columns, (end - begin) * p.columns, calls);
                }
            }
            for (std::int64_t group = begin; group < end; ++group) {
                copy_rows(from, p.in + image * p.in_image + group * p.depth, shape, first,
                          (y1 - y0 - 1) * p.step_y + bottom - top + 1, copy, chunk);
                for (std::size_t f = 0; f < phases.size(); ++f) {
                    const IndirectProblem<T>& q = phases[f];
                    for (std::int64_t panel = 0; panel < panels.count(); ++panel) {
                        const int vectors = panels.vectors(panel);
                        const std::int64_t column = group * p.columns + panels.first(panel);
                        const EvenCut tiles(q.grid_width, kernels.max_pixels[vectors]);
                        Epilogue<T> e = q.epilogue;
                        if (e.bias) e.bias += column;
                        tile.weight = p.packed + group * per_group +
                                      panels.offset(panel, p.packed_taps * p.depth);
                        tile.weight_tap = p.depth * panels.width(panel);
                        tile.out_pixel = q.out_pixel;
                        tile.last = panels.last(panel);
                        for (std::int64_t y = y0; y < std::min(y1, q.grid_height); ++y) {
                            // Runs that lie wholly in the padding are left out.
                            const Live live = live_runs(runs[f], y * p.step_y, p.in_height);
                            tile.run = live.run;
                            tile.runs = live.count;
                            const T* const in = copy + (y - y0) * p.step_y * shape.row();
                            T* const out = q.out + image * q.out_image + y * q.out_row + column;
                            for (std::int64_t t = 0; t < tiles.count(); ++t) {
                                tile.x_ahead = in_region.take(live.count);
                                tile.out_ahead = out_region.take(live.count);
                                tile.in = in + tiles.begin(t) * kWideChunk;
                                tile.out = out + tiles.begin(t) * q.out_pixel;
                                kernels.tile[vectors][tiles.size(t)](tile, e);
                            }
                        }
                    }
                }
            }
        });
}

template <class T>
void wide_backward_weight(const WideKernels<T>& kernels, const ConvolutionProblem& p, const T* dy,
                          const T* x, T* dw) {
    const std::int64_t depth = p.group_in();
    const std::int64_t columns = p.group_out();
    if (p.outputs() == 0) {
        std::fill(dw, dw + p.taps() * depth * p.out_channels, T(0));
        return;
    }
    std::vector<Tap> taps;
    for (std::int64_t r = 0; r < p.kernel_height; ++r) {
        for (std::int64_t s = 0; s < p.kernel_width; ++s) {
            taps.push_back({r * p.dilation_height - p.pad_top, s * p.dilation_width - p.pad_left,
                            static_cast<std::int32_t>(r * p.kernel_width + s)});
        }
    }
    const std::int64_t in_row = p.in_width * p.in_channels;
    const std::int64_t dy_row = p.out_width * p.out_channels;
    const Source<T> images{x,           p.in_height * in_row, in_row, p.in_channels,
                           p.in_height, p.in_width,           depth};
    const Source<T> gradients{dy,           p.out_height * dy_row, dy_row, p.out_channels,
                              p.out_height, p.out_width,           columns};
    const std::int64_t top = -p.pad_top;
    const CopyShape shape(
        -p.pad_left,
        (p.out_width - 1) * p.stride_width - p.pad_left + (p.kernel_width - 1) * p.dilation_width,
        p.stride_width, depth);
    const CopyShape dy_shape(0, p.out_width - 1, 1, columns);
    const std::vector<WideRun> runs = runs_of(taps, shape, top);
    constexpr std::int64_t item = sizeof(T);
    const EvenCut strips(
        p.out_height,
        std::max<std::int64_t>(
            1, std::min(kCopyBytes / ((p.stride_height * shape.row() * shape.chunks +
                                       dy_shape.row() * dy_shape.chunks) *
                                      item),
                        kGradientStripBytes / (2 * (p.stride_height * in_row + dy_row) * item))));
    const std::int64_t rows = strips.size(0);
    const std::int64_t copied =
        (rows - 1) * p.stride_height + (p.kernel_height - 1) * p.dilation_height + 1;
    const std::int64_t chunk = copied * shape.row();
    const std::int64_t dy_chunk = rows * dy_shape.row();
    // [group][vector of outputs][tap][channel][lane]
    const std::int64_t vectors = (columns + kernels.lanes - 1) / kernels.lanes;
    const std::int64_t tap_size = shape.chunks * kWideChunk * kernels.lanes;
    const std::int64_t per_group = vectors * p.taps() * tap_size;
    const std::int64_t size = p.groups * per_group;

    // Ranges of images are summed apart, and added in their order.
    const std::int64_t affordable =
        std::clamp<std::int64_t>(kPartialBytes / (size * item), 1, tuning::tasks);
    const EvenCut ranges(p.batch, (p.batch + affordable - 1) / affordable);
    const EvenCut teams(p.groups,
                        team_size(p.groups, per_group * item, std::min(depth, columns) * item,
                                  kGradientPieceBytes, ranges.count()));
    Scratch scratch;
    T* const partial = scratch.take<T>(ranges.count() * size);
    std::fill(partial, partial + ranges.count() * size, T(0));
    struct Visit {
        std::int64_t image, y0, y1;
    };
    const auto sum_group = [&](const T* copy, const T* dy_copy, const Visit& visit, T* sums,
                               Region& x_region, Region& dy_region) {
        WideGradient<T> g{};
        g.in_row = p.stride_height * shape.row();
        g.dy_row = dy_shape.row();
        g.columns = p.out_width;
        g.pixel = kWideChunk;
        for (const WideRun& run : runs) {
            // The output rows for which the run lies inside the image.
            const std::int64_t begin = std::clamp<std::int64_t>(
                (-run.y + p.stride_height - 1) / p.stride_height, visit.y0, visit.y1);
            const std::int64_t end = std::clamp<std::int64_t>(
                (p.in_height - 1 - run.y + p.stride_height) / p.stride_height, begin, visit.y1);
            g.rows = end - begin;
            if (g.rows == 0) continue;
            const std::int64_t channels = kernels.gradient_channels[run.taps];
            for (std::int64_t v = 0; v < vectors; ++v) {
                const std::int64_t lane = v * kernels.lanes;
                g.dy = dy_copy + lane / kWideChunk * dy_chunk + lane % kWideChunk +
                       (begin - visit.y0) * g.dy_row;
                for (std::int64_t k = 0; k < depth; k += channels) {
                    g.in = copy + k / kWideChunk * chunk + k % kWideChunk + run.in +
                           (begin - visit.y0) * g.in_row;
                    for (int s = 0; s < run.taps; ++s) {
                        g.sums[s] =
                            sums + (v * p.taps() + run.tap[s]) * tap_size + k * kernels.lanes;
                    }
                    g.x_ahead = x_region.take(g.rows);
                    g.dy_ahead = dy_region.take(g.rows);
                    kernels.gradient[run.taps](g);
                }
            }
        }
    };
    parallel_for(
        teams.count() * ranges.count(), p.flops() / tuning::flops_per_microsecond,
        [&](std::int64_t task) {
            const std::int64_t team = task / ranges.count();
            const std::int64_t range = task % ranges.count();
            const std::int64_t begin = teams.begin(team);
            const std::int64_t end = begin + teams.size(team);
            Scratch local;
            T* const copy = local.take<T>(chunk * shape.chunks);
            T* const dy_copy = local.take<T>(dy_chunk * dy_shape.chunks);
            std::vector<Visit> visits;
            const std::int64_t last = ranges.begin(range) + ranges.size(range);
            for (std::int64_t n = ranges.begin(range); n < last; ++n) {
                for (std::int64_t i = 0; i < strips.count(); ++i) {
                    visits.push_back({n, strips.begin(i), strips.begin(i) + strips.size(i)});
                }
            }
            for (std::size_t i = 0; i < visits.size(); ++i) {
                const Visit& visit = visits[i];
                const std::int64_t seen = copied - (rows - visit.y1 + visit.y0) * p.stride_height;
                // The next visit, a part with each row that is summed.
                Region x_region, dy_region;
                if (i + 1 < visits.size()) {
                    const Visit& next = visits[i + 1];
                    const std::int64_t shared = next.y0 > 0 ? copied - rows * p.stride_height : 0;
                    std::int64_t parts = 0;
                    for (const WideRun& run : runs) {
                        const std::int64_t channels = kernels.gradient_channels[run.taps];
                        parts += (end - begin) * vectors * ((depth + channels - 1) / channels) *
                                 (visit.y1 - visit.y0);
                    }
                    x_region = Region(images, next.image, next.y0 * p.stride_height + top + shared,
                                      copied - shared, begin * depth, (end - begin) * depth, parts);
                    dy_region = Region(gradients, next.image, next.y0, rows, begin * columns,
                                       (end - begin) * columns, parts);
                }
                for (std::int64_t group = begin; group < end; ++group) {
                    copy_rows(images, x + visit.image * images.image + group * depth, shape,
                              visit.y0 * p.stride_height + top, seen, copy, chunk);
                    copy_rows(gradients, dy + visit.image * gradients.image + group * columns,
                              dy_shape, visit.y0, visit.y1 - visit.y0, dy_copy, dy_chunk);
                    sum_group(copy, dy_copy, visit, partial + range * size + group * per_group,
                              x_region, dy_region);
                }
            }
        });
    for (std::int64_t range = 1; range < ranges.count(); ++range) {
        const T* const more = partial + range * size;
        for (std::int64_t i = 0; i < size; ++i) partial[i] += more[i];
    }
    for (std::int64_t group = 0; group < p.groups; ++group) {
        for (std::int64_t v = 0; v < vectors; ++v) {
            const std::int64_t lanes =
                std::min<std::int64_t>(kernels.lanes, columns - v * kernels.lanes);
            for (std::int64_t tap = 0; tap < p.taps(); ++tap) {
                const T* from = partial + group * per_group + (v * p.taps() + tap) * tap_size;
                T* to = dw + tap * depth * p.out_channels + group * columns + v * kernels.lanes;
                for (std::int64_t k = 0; k < depth;
                     ++k, from += kernels.lanes, to += p.out_channels) {
                    std::copy(from, from + lanes, to);
                }
            }
        }
    }
}

#define PYCONV_INSTANTIATE(T)                                                               \
    template void run_wide<T>(const WideKernels<T>&, const DenseKernels<T>&,                \
                              const std::vector<IndirectProblem<T>>&);                      \
    template void wide_backward_weight<T>(const WideKernels<T>&, const ConvolutionProblem&, \
                                          const T*, const T*, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
