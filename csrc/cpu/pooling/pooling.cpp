#include "cpu/pooling/pooling.h"

#include <algorithm>
#include <cstring>
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

namespace {

// The size of the windows that cover an axis from its begin, side by side; 0: they don't.
std::int64_t tile_of(const Axis& axis) {
    if (axis.outputs < 1) return 0;
    const std::int64_t size = axis.first[1];
    if (size < 1 || size != axis.cell_step) return 0;
    for (std::int64_t i = 0; i <= axis.outputs; ++i) {
        if (axis.first[i] != i * size) return 0;
    }
    for (std::size_t i = 0; i < axis.cells.size(); ++i) {
        if (axis.cells[i] != static_cast<std::int64_t>(i)) return 0;
    }
    return size;
}

template <class T>
T sum_of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {  // any index may be handed in
        using U = std::make_unsigned_t<T>;
        return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    } else {
        return a;
    }
}

// Runs of few elements, some elements at a time; what is copied beyond a run the next one
// overwrites (they go in their order) or nobody reads, and the last ends where it should. To
// integers `add` is added; with kApart some elements after each run become -1.
template <int kMoves, bool kApart, class T>
void copy_runs_by(std::int64_t moves, const T* from, std::int64_t from_step, T* to,
                  std::int64_t to_step, std::int64_t count, std::int64_t size, T add) {
    constexpr int kMove = 16 / sizeof(T);
    for (std::int64_t i = 0; i + 1 < count; ++i, from += from_step, to += to_step) {
        for (std::int64_t k = 0; k < (kMoves > 0 ? kMoves : moves); ++k) {
            T some[kMove];
            std::memcpy(some, from + k * kMove, 16);
            for (T& value : some) value = sum_of(value, add);
            std::memcpy(to + k * kMove, some, 16);
        }
        if constexpr (kApart) std::memset(to + size, -1, 16);
    }
    for (std::int64_t j = 0; j < size; ++j) to[j] = sum_of(from[j], add);
}

template <bool kApart = false, class T>
void copy_runs(const T* from, std::int64_t from_step, T* to, std::int64_t to_step,
               std::int64_t count, std::int64_t size, T add = 0) {
    constexpr int kMove = 16 / sizeof(T);
    const std::int64_t moves = (size + kMove - 1) / kMove;
    const auto copy = [&](auto known) {
        copy_runs_by<decltype(known)::value, kApart>(moves, from, from_step, to, to_step, count,
                                                     size, add);
    };
    if (moves == 1) {
        copy(std::integral_constant<int, 1>());
    } else if (moves == 2) {
        copy(std::integral_constant<int, 2>());
    } else if (moves == 4) {
        copy(std::integral_constant<int, 4>());
    } else {
        copy(std::integral_constant<int, 0>());
    }
}

// Windows side by side in images of few channels, where a pixel is no whole vector. A row of the
// image is taken as one long run: first the windows at every pixel are found, then every
// width-th of them is kept. Backward, the windows are set width pixels apart, with numbers that
// no cell has between them.
template <class T>
class TiledMaxPool {
  public:
    using Integer = LaneInteger<T>;

    TiledMaxPool(Isa isa, const Axis& rows, const Axis& columns, std::int64_t channels)
        : kernels_(pooling_kernels<T>(isa)),
          rows_(rows),
          columns_(columns),
          channels_(channels),
          height_(tile_of(rows)),
          width_(tile_of(columns)),
          in_row_(columns.size * channels),
          row_(columns.outputs * channels) {}

    // Whether windows and channels are such; many channels make whole vectors as they are. What
    // copy_runs moves for a run may reach into the next one, but not beyond it.
    bool takes() const {
        constexpr std::int64_t move = 16 / sizeof(T);
        return height_ > 0 && width_ > 0 && width_ <= 4 && height_ <= 4 &&
               channels_ < 2 * kernels_.lanes &&
               (channels_ + move - 1) / move * move <= 2 * channels_;
    }

    void forward(std::int64_t images, const T* x, T* y, Integer* index, bool relu) const {
        const std::int64_t taps = height_ * width_;
        const std::int64_t dense = row_ * width_ - (width_ - 1) * channels_;
        Scratch outer;
        std::int64_t* const offsets = outer.take<std::int64_t>(taps);
        for (std::int64_t tap = 0; tap < taps; ++tap) {
            offsets[tap] = (tap / width_ * columns_.size + tap % width_) * channels_;
        }
        const Integer* const numbers = fill_numbers(outer);
        tasks(images, [&](std::int64_t first, std::int64_t count) {
            Scratch scratch;
            T* const best = scratch.take<T>(dense);
            Integer* const won = index ? scratch.take<Integer>(dense) : nullptr;
            std::int64_t image = first / rows_.outputs;
            std::int64_t top = first % rows_.outputs * height_;
            for (std::int64_t i = first; i < first + count; ++i) {
                kernels_.max({x + (image * rows_.size + top) * in_row_, offsets, nullptr, taps,
                              best, won, 1, 0, 0, dense, 0, false, numbers});
                T* const out = y + i * row_;
                copy_runs(best, width_ * channels_, out, channels_, columns_.outputs, channels_);
                Integer* const to = index ? index + i * row_ : nullptr;
                if (index) {
                    copy_runs(won, width_ * channels_, to, channels_, columns_.outputs, channels_,
                              static_cast<Integer>(top * columns_.size));
                }
                if (relu) clip(out, to);
                next_row(image, top);
            }
        });
    }

    void backward(std::int64_t images, const T* dy, const Integer* index, T* dx) const {
        const std::int64_t before = (width_ - 1) * channels_;
        const std::int64_t used = row_ * width_;
        const std::int64_t covered = rows_.outputs * height_;
        Scratch outer;
        std::int64_t offsets[kMost];
        for (std::int64_t s = 0; s < width_; ++s) offsets[s] = -s * channels_;
        const Integer* const numbers = fill_numbers(outer);
        tasks(images, [&](std::int64_t first, std::int64_t count) {
            Scratch scratch;
            // Moves go four elements too far.
            T* const gradient = scratch.take<T>(before + used + 4) + before;
            Integer* const won = scratch.take<Integer>(before + used + 4) + before;
            std::fill(gradient - before, gradient + used, T(0));
            std::fill(won - before, won + used, Integer(-1));
            std::int64_t image = first / rows_.outputs;
            std::int64_t top = first % rows_.outputs * height_;
            for (std::int64_t i = first; i < first + count; ++i) {
                copy_runs(dy + i * row_, channels_, gradient, width_ * channels_, columns_.outputs,
                          channels_);
                copy_runs<true>(index + i * row_, channels_, won, width_ * channels_,
                                columns_.outputs, channels_,
                                static_cast<Integer>(-top * columns_.size));
                T* out = dx + (image * rows_.size + top) * in_row_;
                for (std::int64_t y = 0; y < height_; ++y, out += in_row_) {
                    kernels_.max_gradient({gradient, won, offsets, width_, out, 1, 0, 0, used, 0, 0,
                                           numbers + y * in_row_});
                    std::fill(out + used, out + in_row_, T(0));
                }
                if (top + height_ == covered) {
                    std::fill(out, out + (rows_.size - covered) * in_row_, T(0));
                }
                next_row(image, top);
            }
        });
    }

  private:
    static constexpr std::int64_t kMost = 4;  // cells of a window's side

    // The cells of a row of windows, for all channels.
    const Integer* fill_numbers(Scratch& scratch) const {
        const std::int64_t cells = height_ * columns_.size;
        Integer* const numbers = scratch.take<Integer>(cells * channels_);
        for (std::int64_t i = 0; i < cells; ++i) {
            std::fill(numbers + i * channels_, numbers + (i + 1) * channels_,
                      static_cast<Integer>(i));
        }
        return numbers;
    }

    void clip(T* y, Integer* index) const {
        for (std::int64_t j = 0; index && j < row_; ++j) index[j] = y[j] <= 0 ? -1 : index[j];
        for (std::int64_t j = 0; j < row_; ++j) y[j] = y[j] <= 0 ? 0 : y[j];
    }

    void next_row(std::int64_t& image, std::int64_t& top) const {
        top += height_;
        if (top == rows_.outputs * height_) {
            top = 0;
            ++image;
        }
    }

    // body(first row of outputs, rows)
    template <class Body>
    void tasks(std::int64_t images, Body&& body) const {
        const std::int64_t total = images * rows_.outputs;
        const EvenCut cut(total, std::max<std::int64_t>(1, total / (4 * tuning::tasks)));
        const double cells = static_cast<double>(images * in_row_ * rows_.size);
        parallel_for(cut.count(), cells * static_cast<double>(sizeof(T)) * 1.5 / 1e4,
                     [&](std::int64_t task) { body(cut.begin(task), cut.size(task)); });
    }

    const PoolingKernels<T>& kernels_;
    const Axis &rows_, &columns_;
    std::int64_t channels_, height_, width_, in_row_, row_;
};

}  // namespace

template <class T, class Index>
void max_pool(Isa isa, const Axis& rows, const Axis& columns, std::int64_t images,
              std::int64_t channels, const T* x, T* y, Index* index, bool relu) {
    using Integer = LaneInteger<T>;
    constexpr bool kSame = std::is_same_v<Index, Integer>;
    const PoolingKernels<T>& kernels = pooling_kernels<T>(isa);
    if constexpr (kSame) {
        const TiledMaxPool<T> tiled(isa, rows, columns, channels);
        if (tiled.takes()) return tiled.forward(images, x, y, index, relu);
    }
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
                             std::fill(out, out + channels,
                                       relu ? T(0) : -std::numeric_limits<T>::infinity());
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
                     p.relu = relu;
                     p.places = nullptr;
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
                                 to[c] = from[c] < 0 ? Index(-1)
                                                     : static_cast<Index>(cells[from[c]] + moved);
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
    if constexpr (std::is_same_v<Index, Integer>) {
        const TiledMaxPool<T> tiled(isa, rows, columns, channels);
        if (tiled.takes()) return tiled.backward(images, dy, index, dx);
    }
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
                         p.places = nullptr;
                         kernels.max_gradient(p);
                     }
                 });
    }
}

#define PYCONV_INSTANTIATE_INDEX(T, INDEX)                                                      \
    template void max_pool<T, INDEX>(Isa, const Axis&, const Axis&, std::int64_t, std::int64_t, \
                                     const T*, T*, INDEX*, bool);                               \
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
