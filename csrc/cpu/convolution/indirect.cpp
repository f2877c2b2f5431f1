#include "cpu/convolution/indirect.h"

#include <algorithm>
#include <cstring>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dense/pack.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// The taps of a tile that touch the input at all.
template <class T>
std::int64_t live_taps(const RowBlock<T>& block, std::int64_t row, std::int64_t rows,
                       TapPair* live) {
    std::int64_t count = 0;
    for (std::int64_t t = 0; t < block.tap_count; ++t) {
        const T* const* a = block.a + t * block.a_tap + row;
        bool touches = block.zeros == nullptr;
        for (std::int64_t i = 0; !touches && i < rows; ++i) touches = a[i] != block.zeros;
        if (touches) live[count++] = {static_cast<std::int32_t>(t), block.taps[t].weight};
    }
    return count;
}

// Pointers for the grid positions [row0, row0 + rows).
template <class T>
void point(const IndirectProblem<T>& p, const T* in, T* out, const T* zeros, std::int64_t row0,
           std::int64_t rows, const T** a, T** c) {
    const std::int64_t plane = p.grid_height * p.grid_width;
    std::int64_t image = row0 / plane;
    std::int64_t y = row0 % plane / p.grid_width;
    std::int64_t x = row0 % p.grid_width;
    const auto taps = static_cast<std::int64_t>(p.taps.size());
    for (std::int64_t row = 0; row < rows;) {
        const std::int64_t run = std::min(rows - row, p.grid_width - x);
        T* const to = out + image * p.out_image + y * p.out_row + x * p.out_pixel;
        for (std::int64_t i = 0; i < run; ++i) c[row + i] = to + i * p.out_pixel;
        for (std::int64_t t = 0; t < taps; ++t) {
            const T** pointers = a + t * rows + row;
            const std::int64_t iy = y * p.step_y + p.taps[t].y;
            if (iy < 0 || iy >= p.in_height) {
                std::fill(pointers, pointers + run, zeros);
                continue;
            }
            const T* from = in + image * p.in_image + iy * p.in_row;
            std::int64_t ix = x * p.step_x + p.taps[t].x;
            for (std::int64_t i = 0; i < run; ++i, ix += p.step_x) {
                pointers[i] = ix >= 0 && ix < p.in_width ? from + ix * p.in_pixel : zeros;
            }
        }
        row += run;
        x = 0;
        if (++y == p.grid_height) {
            y = 0;
            ++image;
        }
    }
}

// Brings rows together that see the same taps, so that tiles leave out more of them: where a part
// of the taps falls on padding that is worth it, as in small images and with large dilations.
template <class T>
void sort_rows(std::int64_t rows, std::int64_t taps, const T* zeros, const T**& a, T**& c,
               Scratch& scratch) {
    constexpr std::int64_t kMost = 64;
    if (taps < 2 || taps > kMost) return;
    struct Row {
        std::uint64_t mask;
        std::int64_t number;
    };
    Row* const order = scratch.take<Row>(rows);
    std::int64_t dead = 0;
    for (std::int64_t i = 0; i < rows; ++i) order[i] = {0, i};
    for (std::int64_t t = 0; t < taps; ++t) {
        for (std::int64_t i = 0; i < rows; ++i) {
            const bool zero = a[t * rows + i] == zeros;
            order[i].mask |= static_cast<std::uint64_t>(zero) << t;
            dead += zero;
        }
    }
    if (static_cast<double>(dead) < tuning::sorted_dead_taps * static_cast<double>(rows * taps)) {
        return;
    }
    std::sort(order, order + rows, [](const Row& x, const Row& y) {
        return x.mask != y.mask ? x.mask < y.mask : x.number < y.number;
    });
    const T** const sorted_a = scratch.take<const T*>(taps * rows);
    T** const sorted_c = scratch.take<T*>(rows);
    for (std::int64_t i = 0; i < rows; ++i) sorted_c[i] = c[order[i].number];
    for (std::int64_t t = 0; t < taps; ++t) {
        for (std::int64_t i = 0; i < rows; ++i) {
            sorted_a[t * rows + i] = a[t * rows + order[i].number];
        }
    }
    a = sorted_a;
    c = sorted_c;
}

}  // namespace

template <class T>
void multiply_rows(const DenseKernels<T>& kernels, const RowBlock<T>& block,
                   const Panels<T>& panels, std::int64_t panel0, std::int64_t panel1,
                   const Epilogue<T>& epilogue) {
    Scratch scratch;
    int cut_vectors = 0;
    EvenCut tiles(block.rows, 1);
    std::int64_t* live_counts = nullptr;
    TapPair* live = nullptr;
    // The first tiles bring what the next block reads, the others needn't look ahead.
    const char* ahead = reinterpret_cast<const char*>(block.next);
    std::int64_t lines = ahead ? block.next_bytes / kLine : 0;
    for (std::int64_t panel = panel0; panel < panel1; ++panel) {
        const int vectors = panels.vectors(panel);
        if (vectors != cut_vectors) {
            cut_vectors = vectors;
            tiles = EvenCut(block.rows, kernels.max_rows[vectors]);
            live_counts = scratch.take<std::int64_t>(tiles.count());
            live = scratch.take<TapPair>(tiles.count() * block.tap_count);
            for (std::int64_t t = 0; t < tiles.count(); ++t) {
                live_counts[t] =
                    live_taps(block, tiles.begin(t), tiles.size(t), live + t * block.tap_count);
            }
        }
        const std::int64_t column = panels.first(panel);
        const std::int64_t width = panels.width(panel);
        Epilogue<T> e = epilogue;
        if (e.bias) e.bias += column;
        RowTile<T> tile;
        tile.a_tap = block.a_tap;
        tile.depth = block.depth;
        tile.b = block.packed +
                 panels.offset(panel - block.packed_panel, block.packed_taps * block.depth);
        tile.b_tap = block.depth * width;
        tile.b_step = width;
        tile.last = panels.last(panel);
        T* c[kMaxTileRows];
        tile.c = c;
        for (std::int64_t t = 0; t < tiles.count(); ++t) {
            const std::int64_t row = tiles.begin(t);
            const int rows = static_cast<int>(tiles.size(t));
            for (int i = 0; i < rows; ++i) c[i] = block.c[row + i] + column;
            tile.a = block.a + row;
            tile.tap = live + t * block.tap_count;
            tile.taps = live_counts[t];
            tile.ahead = lines > 0 ? ahead : nullptr;
            ahead += tile.taps * tile.depth * kLine;
            lines -= tile.taps * tile.depth;
            kernels.rows[vectors][rows](tile, e);
        }
    }
}

namespace {

// The input that a block of rows adds to what the blocks before it read; nothing where it is
// scattered, or shared with other groups.
template <class T>
void look_ahead(const IndirectProblem<T>& p, std::int64_t row0, std::int64_t rows, RowBlock<T>& b) {
    const std::int64_t plane = p.grid_height * p.grid_width;
    const bool scattered = p.taps.size() == 1 && p.step_y * p.step_x != 1;
    if (p.groups != 1 || scattered || p.taps.empty() || row0 >= p.batch * plane) return;
    const Tap& last = *std::max_element(p.taps.begin(), p.taps.end(),
                                        [](const Tap& a, const Tap& b) { return a.y < b.y; });
    const std::int64_t y = row0 % plane / p.grid_width * p.step_y + last.y;
    const std::int64_t x = row0 % p.grid_width * p.step_x + last.x;
    const std::int64_t size = p.batch * p.in_image;
    const std::int64_t begin = std::clamp<std::int64_t>(
        row0 / plane * p.in_image + y * p.in_row + x * p.in_pixel, 0, size - 1);
    const std::int64_t count = std::min(size - begin, rows * p.step_y * p.step_x * p.in_pixel);
    b.next = p.in + begin;
    b.next_bytes = count * static_cast<std::int64_t>(sizeof(T));
}

// Whether the rows of a tile lie so far apart that all of them fall into the same sets of L1, of
// 8 ways: with 14 rows each read would then miss it. (6 rows fit, but for the lines of the weight.)
template <class T>
bool rows_share_sets(const IndirectProblem<T>& p, std::int64_t tallest) {
    const std::int64_t pitch = p.step_x * p.in_pixel * static_cast<std::int64_t>(sizeof(T));
    return pitch % (tallest > 7 ? 4096 : 8192) == 0 && p.columns >= 64;
}

// The gap, in elements, that parts them.
constexpr std::int64_t kSpread = 16;

// A copy of the input with a gap after each pixel.
template <class T>
void spread_pixels(IndirectProblem<T>& p, Scratch& scratch) {
    const std::int64_t pixels = p.batch * p.in_height * p.in_width;
    const std::int64_t channels = p.in_pixel;
    const std::int64_t pitch = channels + kSpread;
    T* const copy = scratch.take<T>(pixels * pitch);
    const EvenCut cut(pixels, std::max<std::int64_t>(1, 65536 / channels));
    const T* const from = p.in;
    parallel_for(cut.count(), static_cast<double>(pixels * channels) / 2e3, [&](std::int64_t i) {
        for (std::int64_t j = cut.begin(i); j < cut.begin(i) + cut.size(i); ++j) {
            std::memcpy(copy + j * pitch, from + j * channels, channels * sizeof(T));
        }
    });
    p.in = copy;
    p.in_pixel = pitch;
    p.in_row = p.in_width * pitch;
    p.in_image = p.in_height * p.in_row;
}

}  // namespace

template <class T>
void run_indirect(const DenseKernels<T>& kernels, const IndirectProblem<T>& problem) {
    IndirectProblem<T> p = problem;
    const std::int64_t rows = p.batch * p.grid_height * p.grid_width;
    if (rows == 0 || p.columns == 0) return;
    const Panels<T> panels(kernels, p.columns);
    const std::int64_t tallest = kernels.max_rows[panels.vectors(0)];
    const bool by_panel = p.packed == nullptr;
    const std::int64_t per_block =
        by_panel ? rows
                 : std::max<std::int64_t>(1, tuning::convolution_pixels(kernels.lanes) / tallest) *
                       tallest;
    const EvenCut blocks(rows, per_block);
    // Where there are few blocks, the panels are shared out, too.
    const std::int64_t cells = blocks.count() * p.groups;
    const EvenCut shares(panels.count(),
                         std::max<std::int64_t>(1, panels.count() * cells / tuning::tasks));
    const auto taps = static_cast<std::int64_t>(p.taps.size());
    // One tap and one task a block: the block spreads its own rows, which then stay in L2.
    Scratch scratch;
    const bool share_sets = rows_share_sets(p, tallest) && taps > 0;
    const bool spread_rows =
        share_sets && !by_panel && p.groups == 1 && taps == 1 && shares.count() == 1;
    if (share_sets && !spread_rows) spread_pixels(p, scratch);
    const std::int64_t per_group = panels.size(p.packed_taps * p.depth);

    // Neighbouring groups of a block share its pointers, which move on by a group's channels; so do
    // the zeros.
    const std::int64_t per_team =
        by_panel ? 1 : std::max<std::int64_t>(1, cells * shares.count() / (2 * tuning::tasks));
    const EvenCut teams(p.groups, std::min(per_team, p.groups));
    const std::int64_t zero_count = std::max<std::int64_t>(1, teams.size(0) * p.depth);
    T* const zeros = scratch.take<T>(zero_count);
    std::fill(zeros, zeros + zero_count, T(0));
    std::vector<Tap> own_taps = p.taps;  // as a panel holds them that was packed for this problem
    for (std::int64_t t = 0; t < taps; ++t) own_taps[t].weight = static_cast<std::int32_t>(t);
    const double work = 2.0 * static_cast<double>(rows * p.groups * p.columns) *
                        static_cast<double>(taps * p.depth) / tuning::flops_per_microsecond;
    parallel_for(teams.count() * blocks.count() * shares.count(), work, [&](std::int64_t task) {
        const std::int64_t share = task % shares.count();
        const std::int64_t block = task / shares.count() % blocks.count();
        const std::int64_t team = task / shares.count() / blocks.count();
        const std::int64_t group = teams.begin(team);
        const std::int64_t count = blocks.size(block);
        const std::int64_t first = shares.begin(share);
        const std::int64_t end = first + shares.size(share);
        Scratch local;
        const T** a = local.take<const T*>(taps * count);
        T** c = local.take<T*>(count);
        point(p, p.in + group * p.depth, p.out + group * p.columns, static_cast<const T*>(zeros),
              blocks.begin(block), count, a, c);
        if (spread_rows) {
            const std::int64_t pitch = p.depth + kSpread;
            T* const spread = local.take<T>(count * pitch);
            for (std::int64_t i = 0; i < count; ++i) {
                if (a[i] == zeros) continue;
                std::memcpy(spread + i * pitch, a[i], p.depth * sizeof(T));
                a[i] = spread + i * pitch;
            }
        }
        sort_rows(count, taps, static_cast<const T*>(zeros), a, c, local);
        Epilogue<T> e = p.epilogue;
        if (e.bias) e.bias += group * p.columns;
        RowBlock<T> rows_of_block{a,    count,   c,       count, p.taps.data(),
                                  taps, p.depth, nullptr, 0,     zeros};
        if (!by_panel) {
            const std::int64_t later = block + thread_count();
            if (later < blocks.count() && share == shares.count() - 1) {
                look_ahead(p, blocks.begin(later), blocks.size(later), rows_of_block);
            }
            rows_of_block.packed = p.packed + group * per_group;
            rows_of_block.packed_taps = p.packed_taps;
            for (std::int64_t next = 1;; ++next) {
                multiply_rows(kernels, rows_of_block, panels, first, end, e);
                if (next == teams.size(team)) return;
                for (std::int64_t i = 0; i < taps * count; ++i) a[i] += p.depth;
                for (std::int64_t i = 0; i < count; ++i) c[i] += p.columns;
                rows_of_block.zeros += p.depth;
                rows_of_block.packed += per_group;
                if (e.bias) e.bias += p.columns;
            }
        }
        T* const packed = local.take<T>(taps * p.depth * panels.width(end - 1));
        rows_of_block.taps = own_taps.data();
        rows_of_block.packed = packed;
        rows_of_block.packed_taps = taps;
        for (std::int64_t panel = first; panel < end; ++panel) {
            const std::int64_t width = panels.width(panel);
            for (std::int64_t t = 0; t < taps; ++t) {
                pack(p.weight.tap(group, p.taps[t].weight) + panels.first(panel) * p.weight.column,
                     p.weight.depth, p.weight.column, p.depth, panels.valid(panel), width,
                     packed + t * p.depth * width);
            }
            rows_of_block.packed_panel = panel;
            multiply_rows(kernels, rows_of_block, panels, panel, panel + 1, e);
        }
    });
}

template <class T>
TapMatrices<T> forward_matrices(const WeightView<T>& w, const ConvolutionProblem& p) {
    return {w.data, p.group_out() * w.out, w.in, w.out, w.row, w.column, p.kernel_width};
}

template <class T>
TapMatrices<T> backward_matrices(const WeightView<T>& w, const ConvolutionProblem& p) {
    return {w.data, p.group_out() * w.out, w.out, w.in, w.row, w.column, p.kernel_width};
}

template <class T>
void pack_weight(const DenseKernels<T>& kernels, const TapMatrices<T>& weight, std::int64_t groups,
                 std::int64_t taps, std::int64_t depth, std::int64_t columns, T* packed) {
    const Panels<T> panels(kernels, columns);
    const std::int64_t per_group = panels.size(taps * depth);
    const double work = static_cast<double>(groups * per_group) / 2e3;
    parallel_for(groups * panels.count() * taps, work, [&](std::int64_t task) {
        const std::int64_t tap = task % taps;
        const std::int64_t panel = task / taps % panels.count();
        const std::int64_t group = task / taps / panels.count();
        T* to = packed + group * per_group + panels.offset(panel, taps * depth) +
                tap * depth * panels.width(panel);
        pack(weight.tap(group, tap) + panels.first(panel) * weight.column, weight.depth,
             weight.column, depth, panels.valid(panel), panels.width(panel), to);
    });
}

template <class T>
bool packs_by_panel(std::int64_t rows, std::int64_t depth, std::int64_t weight_size) {
    constexpr std::int64_t item = sizeof(T);
    return rows * depth * item <= tuning::rows_by_panel &&
           weight_size * item >= tuning::weight_by_panel;
}

#define PYCONV_INSTANTIATE(T)                                                                      \
    template void multiply_rows<T>(const DenseKernels<T>&, const RowBlock<T>&, const Panels<T>&,   \
                                   std::int64_t, std::int64_t, const Epilogue<T>&);                \
    template void run_indirect<T>(const DenseKernels<T>&, const IndirectProblem<T>&);              \
    template TapMatrices<T> forward_matrices<T>(const WeightView<T>&, const ConvolutionProblem&);  \
    template TapMatrices<T> backward_matrices<T>(const WeightView<T>&, const ConvolutionProblem&); \
    template void pack_weight<T>(const DenseKernels<T>&, const TapMatrices<T>&, std::int64_t,      \
                                 std::int64_t, std::int64_t, std::int64_t, T*);                    \
    template bool packs_by_panel<T>(std::int64_t, std::int64_t, std::int64_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
