#include "cpu/pooling/pooling.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dense/gemm.h"
#include "cpu/dense/kernels.h"
#include "cpu/dense/panels.h"
#include "cpu/past_caches.h"
#include "cpu/pooling/kernels.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// body(image, output row) for all, in tasks of neighbouring rows.
template <class Body>
void for_rows(const Axis& rows, const Axis& columns, std::int64_t images, std::int64_t channels,
              std::size_t item, Body&& body) {
    const std::int64_t total = images * rows.outputs;
    const std::int64_t most = std::max<std::int64_t>(1, total / (4 * tuning::tasks));
    const EvenCut cut(total, most);
    // Cells that are read and written, at 10 GB/s.
    const double cells =
        static_cast<double>(images * channels) *
        static_cast<double>(rows.size * columns.size + rows.outputs * columns.outputs);
    parallel_for(cut.count(), cells * static_cast<double>(item) / 1e4, [&](std::int64_t task) {
        const std::int64_t first = cut.begin(task);
        for (std::int64_t i = first; i < first + cut.size(task); ++i) {
            body(i / rows.outputs, i % rows.outputs);
        }
    });
}

std::int64_t widest(const Axis& axis) {
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < axis.outputs; ++i) {
        count = std::max(count, axis.end(i) - axis.begin(i));
    }
    return count;
}

// The cells of one output: their numbers in the plane. Returns how many there are.
template <class Number>
std::int64_t cells_of(const Axis& rows, const Axis& columns, std::int64_t row, std::int64_t column,
                      Number* numbers) {
    std::int64_t taps = 0;
    for (std::int64_t r = rows.begin(row); r < rows.end(row); ++r) {
        for (std::int64_t c = columns.begin(column); c < columns.end(column); ++c) {
            numbers[taps++] = static_cast<Number>(rows.cells[r] * columns.size + columns.cells[c]);
        }
    }
    return taps;
}

// y = the mean over all pixels of one image. Few channels are summed as several pixels side by
// side, in whole vectors.
template <class T>
void plane_mean(Isa isa, std::int64_t pixels, std::int64_t channels, const T* x, T* y) {
    Scratch scratch;
    const std::int64_t wanted = 4 * dense_kernels<T>(isa).lanes;
    std::int64_t joined = 1;
    if (channels < wanted) joined = wanted / std::gcd(channels, wanted);
    if (pixels < 4 * joined) joined = 1;
    const std::int64_t width = channels * joined;
    const std::int64_t taps = pixels / joined;
    T* const sums = scratch.take<T>(width);
    column_sums(isa, x, taps, width, width, sums);
    for (std::int64_t i = 1; i < joined; ++i) {
        for (std::int64_t c = 0; c < channels; ++c) sums[c] += sums[i * channels + c];
    }
    for (std::int64_t i = taps * width; i < pixels * channels; ++i) sums[i % channels] += x[i];
    for (std::int64_t c = 0; c < channels; ++c) y[c] = sums[c] / static_cast<T>(pixels);
}

bool is_whole_mean(const Axis& axis) {
    return axis.outputs == 1 && axis.weights.empty() &&
           static_cast<std::int64_t>(axis.cells.size()) == axis.size &&
           axis.divisor(0) == static_cast<double>(axis.size);
}

}  // namespace

template <class T>
void gather_sums(Isa isa, const Axis& rows, const Axis& columns, std::int64_t images,
                 std::int64_t channels, const T* x, T* y) {
    const PoolingKernels<T>& kernels = pooling_kernels<T>(isa);
    if (is_whole_mean(rows) && is_whole_mean(columns) && channels > 0) {
        const std::int64_t pixels = rows.size * columns.size;
        for_rows(rows, columns, images, channels, sizeof(T), [&](std::int64_t image, std::int64_t) {
            plane_mean(isa, pixels, channels, x + image * pixels * channels, y + image * channels);
        });
        return;
    }
    const std::vector<Run> runs = columns.runs();
    const std::int64_t most = widest(rows) * widest(columns);
    const bool weighted = !rows.weights.empty() || !columns.weights.empty();
    const bool past_caches = goes_past_caches(y, images * rows.outputs * columns.outputs, channels);
    for_rows(rows, columns, images, channels, sizeof(T), [&](std::int64_t image, std::int64_t row) {
        Scratch scratch;
        std::int64_t* const offsets = scratch.take<std::int64_t>(most);
        T* const weights = weighted ? scratch.take<T>(most) : nullptr;
        const T* const in = x + image * rows.size * columns.size * channels;
        T* const out = y + (image * rows.outputs + row) * columns.outputs * channels;
        for (const Run& run : runs) {
            SumRun<T> p;
            p.in = in;
            p.offsets = offsets;
            p.weights = weights;
            p.taps = cells_of(rows, columns, row, run.output, offsets);
            for (std::int64_t tap = 0; tap < p.taps; ++tap) offsets[tap] *= channels;
            if (weighted) {
                T* weight = weights;
                for (std::int64_t r = rows.begin(row); r < rows.end(row); ++r) {
                    for (std::int64_t c = columns.begin(run.output); c < columns.end(run.output);
                         ++c) {
                        *weight++ = static_cast<T>(rows.weight(r) * columns.weight(c));
                    }
                }
            }
            p.divisor = static_cast<T>(rows.divisor(row) * columns.divisor(run.output));
            p.out = out + run.output * channels;
            p.count = run.count;
            p.in_step = columns.cell_step * channels;
            p.out_step = run.step * channels;
            p.channels = channels;
            p.past_caches = past_caches;
            if (run.step == 1 && columns.cell_step == 1) {
                p.channels *= run.count;  // the outputs are neighbours, as their cells are
                p.count = 1;
            }
            kernels.sum(p);
        }
    });
}

template <class T, class Index>
void max_pool(Isa isa, const Axis& rows, const Axis& columns, std::int64_t images,
              std::int64_t channels, const T* x, T* y, Index* index) {
    using Integer = LaneInteger<T>;
    constexpr bool kSame = std::is_same_v<Index, Integer>;
    const PoolingKernels<T>& kernels = pooling_kernels<T>(isa);
    const std::vector<Run> runs = columns.runs();
    const std::int64_t most = widest(rows) * widest(columns);
    for_rows(rows, columns, images, channels, 2 * sizeof(T),
             [&](std::int64_t image, std::int64_t row) {
                 Scratch scratch;
                 std::int64_t* const cells = scratch.take<std::int64_t>(most);
                 std::int64_t* const offsets = scratch.take<std::int64_t>(most);
                 Integer* const numbers = scratch.take<Integer>(most);
                 const std::int64_t row_size = columns.outputs * channels;
                 // Where an index is not as wide as a lane, lanes hold the tap's position in the
                 // window.
                 Integer* const taps = kSame ? nullptr : scratch.take<Integer>(row_size);
                 const T* const in = x + image * rows.size * columns.size * channels;
                 const std::int64_t at = (image * rows.outputs + row) * row_size;
                 for (const Run& run : runs) {
                     MaxRun<T> p;
                     p.taps = cells_of(rows, columns, row, run.output, cells);
                     p.count = run.count;
                     p.out_step = run.step * channels;
                     p.channels = channels;
                     const std::int64_t first = run.output * channels;
                     p.out = y + at + first;
                     if (p.taps == 0) {
                         for (std::int64_t q = 0; q < run.count; ++q) {
                             T* const out = p.out + q * p.out_step;
                             std::fill(out, out + channels, -std::numeric_limits<T>::infinity());
                             if (index) {
                                 Index* const none = index + (out - y);
                                 std::fill(none, none + channels, Index(-1));
                             }
                         }
                         continue;
                     }
                     for (std::int64_t tap = 0; tap < p.taps; ++tap) {
                         offsets[tap] = cells[tap] * channels;
                         numbers[tap] = static_cast<Integer>(kSame ? cells[tap] : tap);
                     }
                     p.in = in;
                     p.offsets = offsets;
                     p.numbers = numbers;
                     p.in_step = columns.cell_step * channels;
                     p.number_step = kSame ? static_cast<Integer>(columns.cell_step) : Integer(0);
                     if constexpr (kSame) {
                         p.index = index ? index + at + first : nullptr;
                     } else {
                         p.index = index ? taps + first : nullptr;
                     }
                     if (!index && run.step == 1 && columns.cell_step == 1) {
                         p.channels *= run.count;
                         p.count = 1;
                     }
                     kernels.max(p);
                     if constexpr (!kSame) {
                         if (!index) continue;
                         for (std::int64_t q = 0; q < run.count; ++q) {
                             const std::int64_t moved = q * columns.cell_step;
                             const Integer* const from = p.index + q * p.out_step;
                             Index* const to = index + at + first + q * p.out_step;
                             for (std::int64_t c = 0; c < channels; ++c) {
                                 to[c] = static_cast<Index>(cells[from[c]] + moved);
                             }
                         }
                     }
                 }
             });
}

namespace {

// Every dy is added to its cell, image by image: where lanes can't hold the indices, or channels
// are too few to fill them. The order of the additions is that of the vectors' sums.
template <class T, class Index>
void scatter(std::int64_t images, std::int64_t channels, std::int64_t in_cells,
             std::int64_t out_cells, const T* dy, const Index* index, T* dx) {
    parallel_for(images, static_cast<double>(images * in_cells * channels) / 1e3,
                 [&](std::int64_t image) {
                     T* const to = dx + image * in_cells * channels;
                     std::fill(to, to + in_cells * channels, T(0));
                     const std::int64_t at = image * out_cells * channels;
                     for (std::int64_t i = 0; i < out_cells * channels; ++i) {
                         const std::int64_t cell = index[at + i];
                         if (cell >= 0 && cell < in_cells) {
                             to[cell * channels + i % channels] += dy[at + i];
                         }
                     }
                 });
}

}  // namespace

template <class T, class Index>
void max_pool_backward(Isa isa, const Axis& rows, const Axis& columns, std::int64_t images,
                       std::int64_t channels, const T* dy, const Index* index, T* dx) {
    using Integer = LaneInteger<T>;
    constexpr std::int64_t kFewChannels = 4;
    if (!std::is_same_v<Index, Integer> || channels < kFewChannels) {
        scatter(images, channels, rows.size * columns.size, rows.outputs * columns.outputs, dy,
                index, dx);
        return;
    }
    if constexpr (std::is_same_v<Index, Integer>) {
        const PoolingKernels<T>& kernels = pooling_kernels<T>(isa);
        const Axis to_rows = rows.adjoint();
        const Axis to_columns = columns.adjoint();
        const std::vector<Run> runs = to_columns.runs();
        const std::int64_t most = widest(to_rows) * widest(to_columns);
        for_rows(to_rows, to_columns, images, channels, 2 * sizeof(T),
                 [&](std::int64_t image, std::int64_t row) {
                     Scratch scratch;
                     std::int64_t* const offsets = scratch.take<std::int64_t>(most);
                     const std::int64_t at = image * to_rows.size * to_columns.size * channels;
                     T* const out =
                         dx + (image * to_rows.outputs + row) * to_columns.outputs * channels;
                     for (const Run& run : runs) {
                         MaxGradientRun<T> p;
                         p.in = dy + at;
                         p.index = index + at;
                         p.offsets = offsets;
                         p.taps = cells_of(to_rows, to_columns, row, run.output, offsets);
                         for (std::int64_t tap = 0; tap < p.taps; ++tap) offsets[tap] *= channels;
                         p.out = out + run.output * channels;
                         p.count = run.count;
                         p.in_step = to_columns.cell_step * channels;
                         p.out_step = run.step * channels;
                         p.channels = channels;
                         p.number = static_cast<Integer>(row * to_columns.outputs + run.output);
                         p.number_step = static_cast<Integer>(run.step);
                         kernels.max_gradient(p);
                     }
                 });
    }
}

#define PYCONV_INSTANTIATE_INDEX(T, INDEX)                                                      \
    template void max_pool<T, INDEX>(Isa, const Axis&, const Axis&, std::int64_t, std::int64_t, \
                                     const T*, T*, INDEX*);                                     \
    template void max_pool_backward<T, INDEX>(Isa, const Axis&, const Axis&, std::int64_t,      \
                                              std::int64_t, const T*, const INDEX*, T*);
#define PYCONV_INSTANTIATE(T)                                                               \
    template void gather_sums<T>(Isa, const Axis&, const Axis&, std::int64_t, std::int64_t, \
                                 const T*, T*);                                             \
    PYCONV_INSTANTIATE_INDEX(T, std::int32_t)                                               \
    PYCONV_INSTANTIATE_INDEX(T, std::int64_t)
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
