#include "cpu/convolution/grouped.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// A group's lane (A, B, r), and what rotation `turn` of it adds to.
struct GroupShape {
    std::int64_t in, out, side, lanes;

    GroupShape(std::int64_t group_in, std::int64_t group_out)
        : in(group_in),
          out(group_out),
          side(std::gcd(group_in, group_out)),
          lanes(group_in / side * group_out) {}
    std::int64_t input(std::int64_t lane) const { return lane / out * side + lane % side; }
    std::int64_t output(std::int64_t lane, std::int64_t turn) const {
        return lane % out / side * side + (lane % side + turn) % side;
    }
};

GroupLanes lanes_of(std::int64_t vector_lanes, const GroupShape& s) {
    GroupLanes g;
    g.side = static_cast<int>(s.side);
    g.squares_in = static_cast<int>(s.in / s.side);
    g.groups = static_cast<int>(vector_lanes / s.lanes);
    g.in = static_cast<int>(g.groups * s.in);
    g.out = static_cast<int>(g.groups * s.out);
    g.expands = s.out != s.side;
    for (std::int64_t group = 0; group < g.groups; ++group) {
        for (std::int64_t u = 0; u < s.lanes; ++u) {
            const std::int64_t lane = group * s.lanes + u;
            g.expand[lane] = static_cast<std::int32_t>(group * s.in + s.input(u));
            for (std::int64_t i = 0; i < 3; ++i) {
                const std::int64_t r = (u + 4 * s.side - (std::int64_t{1} << i)) % s.side;
                g.turn[i][lane] = static_cast<std::int32_t>(lane - u % s.side + r);
            }
            for (std::int64_t d = 0; d < s.side; ++d) {
                g.spread[d][lane] = static_cast<std::int32_t>(group * s.out + s.output(u, d));
            }
            g.collect[u / s.out][group * s.out + u % s.out] = static_cast<std::int32_t>(lane);
        }
    }
    return g;
}

std::int64_t vectors_of(std::int64_t groups, const GroupLanes& g) {
    return (groups + g.groups - 1) / g.groups;
}

// Where a vector's weights lie, from those of its first group on: by rotation and lane.
struct Places {
    std::int64_t of[kMaxGroupSide][kMaxGroupLanes] = {};

    Places(const GroupShape& s, const GroupLanes& g, std::int64_t group, std::int64_t in,
           std::int64_t out) {
        for (std::int64_t d = 0; d < s.side; ++d) {
            for (std::int64_t lane = 0; lane < g.groups * s.lanes; ++lane) {
                const std::int64_t u = lane % s.lanes;
                of[d][lane] = lane / s.lanes * group + s.input(u) * in + s.output(u, d) * out;
            }
        }
    }
};

// Neighbouring output positions for which the same taps lie inside the input.
struct Run {
    std::int64_t begin, end;
    std::vector<std::int64_t> taps;
};
std::vector<Run> runs_of(std::int64_t size, std::int64_t outputs, std::int64_t before,
                         std::int64_t kernel, std::int64_t stride, std::int64_t dilation) {
    std::vector<Run> runs;
    for (std::int64_t o = 0; o < outputs; ++o) {
        std::vector<std::int64_t> taps;
        for (std::int64_t r = 0; r < kernel; ++r) {
            const std::int64_t i = o * stride - before + r * dilation;
            if (i >= 0 && i < size) taps.push_back(r);
        }
        if (runs.empty() || runs.back().taps != taps) {
            runs.push_back({o, o + 1, std::move(taps)});
        } else {
            runs.back().end = o + 1;
        }
    }
    return runs;
}

// The gradient: output rows whose x and dy stay in L2 while the vectors pass, columns whose lines
// of one vector stay in L1 for the next kernel row, and rows of a range of its own at least.
constexpr std::int64_t kGradientBytes = 384 << 10;
constexpr std::int64_t kGradientColumns = 18;
constexpr std::int64_t kGradientRows = 8;

// Brings a part of some memory into L2.
template <class T>
void bring(const T* at, std::int64_t size, std::int64_t part, std::int64_t parts) {
    const auto* from = reinterpret_cast<const char*>(at + size * part / parts);
    const auto* const end = reinterpret_cast<const char*>(at + size * (part + 1) / parts);
    for (; from < end; from += 64) __builtin_prefetch(from, 0, 2);
}

}  // namespace

bool is_wide(const ConvolutionProblem& p, Isa isa) {
    const std::int64_t side = std::gcd(p.group_in(), p.group_out());
    const std::int64_t lanes = p.group_in() / side * p.group_out();
    const GroupedKernels<float>& kernels = grouped_kernels<float>(isa);
    return lanes > kernels.lanes || side > kMaxGroupSide || kernels.max_pixels[side] == 0;
}

std::string grouped_refuses(const ConvolutionProblem& p, Isa isa, bool float64) {
    if (float64) return "float64";
    if (p.groups == 1) return "groups is 1";
    if (p.in_channels == 0 || p.out_channels == 0) return "no channels";
    if (!is_wide(p, isa)) return "";
    const std::string wide = wide_refuses(p, isa);
    if (wide.empty()) return "";
    const std::int64_t side = std::gcd(p.group_in(), p.group_out());
    const std::int64_t lanes = p.group_in() / side * p.group_out();
    return std::to_string(p.group_in()) + " to " + std::to_string(p.group_out()) +
           " channels a group" +
           (lanes > kMaxGroupLanes || side > kMaxGroupSide ? " fill no vector together"
            : side == 5 || side == 7 ? ": there is no kernel for squares of this side"
                                     : " fill no vector of this instruction set") +
           "; groups that fill vectors: " + wide;
}

std::string grouped_passes(const ConvolutionProblem& p, Isa isa) {
    if (!is_wide(p, isa) || p.out_width / p.stride_width >= 4) return "";
    return "rows of " + std::to_string(p.out_width) + " pixels: its tiles are neighbours in a row";
}

template <class T>
std::int64_t grouped_weight_size(const GroupedKernels<T>& kernels, std::int64_t groups,
                                 std::int64_t taps, std::int64_t depth, std::int64_t columns) {
    const GroupShape s(depth, columns);
    return vectors_of(groups, lanes_of(kernels.lanes, s)) * taps * s.side * kernels.lanes;
}

template <class T>
void pack_grouped(const GroupedKernels<T>& kernels, const TapMatrices<T>& weight,
                  std::int64_t groups, std::int64_t taps, std::int64_t depth, std::int64_t columns,
                  T* packed) {
    const GroupShape s(depth, columns);
    const GroupLanes g = lanes_of(kernels.lanes, s);
    const Places places(s, g, weight.group, weight.depth, weight.column);
    T* to = packed;
    for (std::int64_t v = 0; v < vectors_of(groups, g); ++v) {
        const std::int64_t first = v * g.groups;
        const std::int64_t used = std::min<std::int64_t>(g.groups, groups - first) * s.lanes;
        for (std::int64_t tap = 0; tap < taps; ++tap) {
            const T* const from = weight.tap(first, tap);
            for (std::int64_t d = 0; d < s.side; ++d, to += kernels.lanes) {
                for (std::int64_t lane = 0; lane < used; ++lane) {
                    to[lane] = from[places.of[d][lane]];
                }
                std::fill(to + used, to + kernels.lanes, T(0));
            }
        }
    }
}

template <class T>
void run_grouped(const GroupedKernels<T>& kernels, const IndirectProblem<T>& p) {
    const GroupLanes lanes = lanes_of(kernels.lanes, GroupShape(p.depth, p.columns));
    const std::int64_t vectors = vectors_of(p.groups, lanes);
    const std::int64_t weight_vector = p.packed_taps * lanes.side * kernels.lanes;
    // Vectors at a time whose weights stay in half of L1.
    const EvenCut vector_blocks(
        vectors, std::max<std::int64_t>(
                     1, tuning::grouped_weight_bytes /
                            std::max<std::int64_t>(
                                1, weight_vector * static_cast<std::int64_t>(sizeof(T)))));
    const EvenCut tiles(p.grid_width, kernels.max_pixels[lanes.side]);
    const auto& instances = kernels.tile[lanes.expands ? 1 : 0][lanes.side];
    const std::int64_t in_channels = p.groups * p.depth;
    const auto tap_count = static_cast<std::int64_t>(p.taps.size());
    Scratch scratch;
    T* const zeros = scratch.take<T>(in_channels);
    std::fill(zeros, zeros + in_channels, T(0));
    const T* const in_end = p.in + p.batch * p.in_image;
    std::int64_t last_tap = 0;
    for (const Tap& tap : p.taps) last_tap = std::max<std::int64_t>(last_tap, tap.y);
    const EvenCut strips(p.grid_height,
                         std::max<std::int64_t>(1, p.batch * p.grid_height / (tuning::tasks * 2)));
    const double flops = 2.0 * static_cast<double>(p.batch * p.grid_height * p.grid_width) *
                         static_cast<double>(in_channels * p.columns * tap_count);
    parallel_for(p.batch * strips.count(), flops / tuning::flops_per_microsecond,
                 [&](std::int64_t task) {
                     const std::int64_t image = task / strips.count();
                     const std::int64_t strip = task % strips.count();
                     Scratch local;
                     const T** const in = local.take<const T*>(tap_count * p.grid_width);
                     std::int32_t* const used = local.take<std::int32_t>(tap_count);
                     GroupedTile<T> tile{&lanes,
                                         nullptr,
                                         p.grid_width,
                                         used,
                                         0,
                                         p.packed,
                                         weight_vector,
                                         nullptr,
                                         p.out_pixel,
                                         0,
                                         0,
                                         in_channels,
                                         p.groups * p.columns};
                     for (std::int64_t gy = strips.begin(strip);
                          gy < strips.begin(strip) + strips.size(strip); ++gy) {
                         int taps = 0;
                         for (const Tap& tap : p.taps) {
                             const std::int64_t y = gy * p.step_y + tap.y;
                             if (y < 0 || y >= p.in_height) continue;
                             const T* const row = p.in + image * p.in_image + y * p.in_row;
                             const T** const to = in + taps * p.grid_width;
                             for (std::int64_t gx = 0; gx < p.grid_width; ++gx) {
                                 const std::int64_t x = gx * p.step_x + tap.x;
                                 to[gx] = x < 0 || x >= p.in_width ? zeros : row + x * p.in_pixel;
                             }
                             used[taps++] = tap.weight;
                         }
                         tile.taps = taps;
                         T* const out = p.out + image * p.out_image + gy * p.out_row;
                         // What the next row of outputs reads besides.
                         const std::int64_t next_row =
                             std::max<std::int64_t>(0, (gy + 1) * p.step_y + last_tap);
                         const T* const next = p.in + image * p.in_image + next_row * p.in_row;
                         const std::int64_t next_size =
                             std::clamp<std::int64_t>(in_end - next, 0, p.step_y * p.in_row);
                         const std::int64_t calls = vector_blocks.count() * tiles.count();
                         for (std::int64_t block = 0; block < vector_blocks.count(); ++block) {
                             tile.first = vector_blocks.begin(block);
                             tile.end = tile.first + vector_blocks.size(block);
                             for (std::int64_t t = 0; t < tiles.count(); ++t) {
                                 tile.in = in + tiles.begin(t);
                                 tile.out = out + tiles.begin(t) * p.out_pixel;
                                 bring(next, next_size, block * tiles.count() + t, calls);
                                 instances[tiles.size(t)](tile, p.epilogue);
                             }
                         }
                     }
                 });
}

template <class T>
void grouped_backward_weight(const GroupedKernels<T>& kernels, const ConvolutionProblem& p,
                             const T* dy, const T* x, T* dw) {
    const GroupShape s(p.group_in(), p.group_out());
    const GroupLanes lanes = lanes_of(kernels.lanes, s);
    const std::int64_t vectors = vectors_of(p.groups, lanes);
    const std::int64_t tap_size = s.side * kernels.lanes;
    const std::int64_t size = vectors * p.taps() * tap_size;
    const std::vector<Run> row_runs = runs_of(p.in_height, p.out_height, p.pad_top, p.kernel_height,
                                              p.stride_height, p.dilation_height);
    std::vector<Run> column_runs;
    for (const Run& run : runs_of(p.in_width, p.out_width, p.pad_left, p.kernel_width,
                                  p.stride_width, p.dilation_width)) {
        const EvenCut cut(run.end - run.begin, kGradientColumns);
        for (std::int64_t i = 0; i < cut.count(); ++i) {
            const std::int64_t begin = run.begin + cut.begin(i);
            column_runs.push_back({begin, begin + cut.size(i), run.taps});
        }
    }
    const std::int64_t in_row = p.in_width * p.in_channels;
    const std::int64_t dy_row = p.out_width * p.out_channels;
    constexpr std::int64_t item = sizeof(T);
    const std::int64_t block_rows = std::max<std::int64_t>(
        1, kGradientBytes / (item * std::max<std::int64_t>(1, in_row * p.stride_height + dy_row)));
    // Ranges of rows are summed apart, and added in their order.
    const std::int64_t affordable =
        std::clamp<std::int64_t>(tuning::gradient_partial_bytes / (size * item), 1, tuning::tasks);
    const std::int64_t rows = p.batch * p.out_height;
    const EvenCut ranges(rows, std::max(kGradientRows, (rows + affordable - 1) / affordable));
    Scratch scratch;
    T* const partial = scratch.take<T>(std::max<std::int64_t>(1, ranges.count()) * size);
    std::fill(partial, partial + std::max<std::int64_t>(1, ranges.count()) * size, T(0));

    const T* const x_end = x + p.batch * p.in_height * in_row;
    // The rows [first, end) of one image, of which the same taps lie inside.
    const auto sum_rows = [&](T* sums, std::int64_t image, std::int64_t first, std::int64_t end,
                              const Run& row_run, std::int64_t vector, int turn, int turns,
                              Ahead& x_ahead, Ahead& dy_ahead) {
        const T* in[kMaxGradientTaps];
        T* to[kMaxGradientTaps];
        const std::int64_t channel = vector * lanes.in;
        GroupedGradient<T> g{};
        g.lanes = &lanes;
        g.in = in;
        g.in_pixel = p.stride_width * p.in_channels;
        g.in_row = p.stride_height * in_row;
        g.dy_pixel = p.out_channels;
        g.dy_row = dy_row;
        g.rows = end - first;
        g.first_turn = turn;
        g.sums = to;
        g.in_lanes =
            static_cast<int>(std::min<std::int64_t>(kernels.lanes, p.in_channels - channel));
        g.out_lanes = static_cast<int>(
            std::min<std::int64_t>(kernels.lanes, p.out_channels - vector * lanes.out));
        for (const Run& run : column_runs) {
            g.columns = run.end - run.begin;
            g.dy = dy +
                   ((image * p.out_height + first) * p.out_width + run.begin) * p.out_channels +
                   vector * lanes.out;
            const auto across = static_cast<std::int64_t>(run.taps.size());
            const EvenCut chunks(static_cast<std::int64_t>(row_run.taps.size()) * across,
                                 kMaxGradientTaps);
            for (std::int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
                const auto taps = chunks.size(chunk);
                for (std::int64_t i = 0; i < taps; ++i) {
                    const std::int64_t tap = chunks.begin(chunk) + i;
                    const std::int64_t r = row_run.taps[tap / across];
                    const std::int64_t c = run.taps[tap % across];
                    const std::int64_t y =
                        first * p.stride_height - p.pad_top + r * p.dilation_height;
                    const std::int64_t column =
                        run.begin * p.stride_width - p.pad_left + c * p.dilation_width;
                    in[i] =
                        x + (image * p.in_height + y) * in_row + column * p.in_channels + channel;
                    to[i] = sums + (vector * p.taps() + r * p.kernel_width + c) * tap_size +
                            turn * kernels.lanes;
                }
                g.x_ahead = x_ahead;
                g.dy_ahead = dy_ahead;
                kernels.gradient[lanes.expands ? 1 : 0][turns][taps](g);
                if (x_ahead.at) x_ahead = x_ahead.after(g.rows * g.columns);
                if (dy_ahead.at) dy_ahead = dy_ahead.after(g.rows * g.columns);
            }
        }
    };

    parallel_for(
        ranges.count(), p.flops() / tuning::flops_per_microsecond, [&](std::int64_t range) {
            T* const sums = partial + range * size;
            const std::int64_t end = ranges.begin(range) + ranges.size(range);
            for (std::int64_t row = ranges.begin(range); row < end;) {
                const std::int64_t image = row / p.out_height;
                const std::int64_t first = row % p.out_height;
                const std::int64_t last =
                    std::min({first + block_rows, first + end - row, p.out_height});
                // The next block, where it is not another thread's.
                const std::int64_t next = row + last - first;
                const std::int64_t steps =
                    vectors * EvenCut(lanes.side, kernels.max_turns).count() *
                    EvenCut(p.taps(), kMaxGradientTaps).count() * (last - first) * p.out_width;
                const T* const next_x = x + (next / p.out_height * p.in_height +
                                             next % p.out_height * p.stride_height) *
                                                in_row;
                const std::int64_t next_rows =
                    std::min({block_rows, (thread_count() == 1 ? rows : end) - next,
                              p.out_height - next % p.out_height});
                const std::int64_t x_size =
                    std::min(next_rows * p.stride_height * in_row, x_end - next_x);
                Ahead x_ahead = spread_ahead(next_x, x_size * item, steps);
                Ahead dy_ahead = spread_ahead(dy + next * dy_row, next_rows * dy_row * item, steps);
                for (std::int64_t vector = 0; vector < vectors; ++vector) {
                    for (int turn = 0; turn < lanes.side; turn += kernels.max_turns) {
                        const int turns = std::min(kernels.max_turns, lanes.side - turn);
                        for (const Run& run : row_runs) {
                            const std::int64_t from = std::max(first, run.begin);
                            const std::int64_t to = std::min(last, run.end);
                            if (from >= to) continue;
                            sum_rows(sums, image, from, to, run, vector, turn, turns, x_ahead,
                                     dy_ahead);
                        }
                    }
                }
                row += last - first;
            }
        });

    for (std::int64_t range = 1; range < ranges.count(); ++range) {
        const T* const from = partial + range * size;
        for (std::int64_t i = 0; i < size; ++i) partial[i] += from[i];
    }
    const Places places(s, lanes, s.out, p.out_channels, 1);
    const T* from = partial;
    for (std::int64_t v = 0; v < vectors; ++v) {
        const std::int64_t first = v * lanes.groups;
        const std::int64_t used = std::min<std::int64_t>(lanes.groups, p.groups - first) * s.lanes;
        for (std::int64_t tap = 0; tap < p.taps(); ++tap) {
            T* const to = dw + tap * s.in * p.out_channels + first * s.out;
            for (std::int64_t d = 0; d < s.side; ++d, from += kernels.lanes) {
                for (std::int64_t lane = 0; lane < used; ++lane) {
                    to[places.of[d][lane]] = from[lane];
                }
            }
        }
    }
}

#define PYCONV_INSTANTIATE(T)                                                                     \
    template std::int64_t grouped_weight_size<T>(const GroupedKernels<T>&, std::int64_t,          \
                                                 std::int64_t, std::int64_t, std::int64_t);       \
    template void pack_grouped<T>(const GroupedKernels<T>&, const TapMatrices<T>&, std::int64_t,  \
                                  std::int64_t, std::int64_t, std::int64_t, T*);                  \
    template void run_grouped<T>(const GroupedKernels<T>&, const IndirectProblem<T>&);            \
    template void grouped_backward_weight<T>(const GroupedKernels<T>&, const ConvolutionProblem&, \
                                             const T*, const T*, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
