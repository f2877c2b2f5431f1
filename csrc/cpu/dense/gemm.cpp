// The loops around the micro-kernels: k in blocks, panels of b in L1, blocks of a in L2.
#include "cpu/dense/gemm.h"

#include <algorithm>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dense/kernels.h"
#include "cpu/dense/pack.h"
#include "cpu/dense/panels.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

constexpr TapPair kOneTap{0, 0};

// The epilogue of one block of k: sums go on in c until the last block, which alone adds bias and
// activation; the residual comes with the first.
template <class T>
Epilogue<T> block_epilogue(const Epilogue<T>& whole, bool first, bool final) {
    Epilogue<T> e = whole;
    if (!first) {
        e.accumulate = true;
        e.residual_offset = 0;
    }
    if (!final) {
        e.bias = nullptr;
        e.activation = Activation::none;
    }
    return e;
}

// Few rows of a or few columns of b, and b along the sum: no packing. With few rows each element of
// b is read once.
template <class T>
void gemm_by_dots(const DenseKernels<T>& kernels, const GemmProblem<T>& p) {
    constexpr std::int64_t kGroup = 64;
    const std::int64_t groups = (p.n + kGroup - 1) / kGroup;
    const EvenCut strips(p.m, 32);
    const double work = 2.0 * p.m * p.n * p.k / tuning::flops_per_microsecond * 4;
    parallel_for(strips.count() * groups, work, [&](std::int64_t task) {
        const std::int64_t begin = task % groups * kGroup;
        const std::int64_t count = std::min(kGroup, p.n - begin);
        const std::int64_t row0 = strips.begin(task / groups);
        const EvenCut rows(strips.size(task / groups), kernels.dot_rows);
        const EvenCut columns(count, kDotColumns);
        const int vectors = static_cast<int>((count + kernels.lanes - 1) / kernels.lanes);
        const int last = static_cast<int>(count - (vectors - 1) * kernels.lanes);
        Epilogue<T> e = p.epilogue;
        if (e.bias) e.bias += begin;
        alignas(64) T sums[kDotRows][kGroup];
        for (std::int64_t i = 0; i < rows.count(); ++i) {
            const std::int64_t row = row0 + rows.begin(i);
            for (std::int64_t j = 0; j < columns.count(); ++j) {
                kernels.dot[rows.size(i)][columns.size(j)](
                    p.a + row * p.a_row, p.a_row, p.b + (begin + columns.begin(j)) * p.b_column,
                    p.b_column, p.k, &sums[0][columns.begin(j)], kGroup);
            }
            for (std::int64_t r = 0; r < rows.size(i); ++r) {
                kernels.finish_row(sums[r], p.c + (row + r) * p.c_row + begin, vectors, last, e);
            }
        }
    });
}

// Few rows of a, and rows of b as they lie: each is read once, from one end to the other, some side
// by side, so that the hardware sees what comes next. The sums wait in c, which stays in L1.
template <class T>
void gemm_by_rows(const DenseKernels<T>& kernels, const GemmProblem<T>& p) {
    const Panels<T> panels(kernels, p.n);
    const EvenCut depths(p.k, tuning::gemm_rows_at_once);
    // How the columns are shared doesn't change a sum.
    const EvenCut shares(
        panels.count(),
        std::max<std::int64_t>(1, (panels.count() + thread_count() - 1) / thread_count()));
    const double work = 2.0 * p.m * p.n * p.k / tuning::flops_per_microsecond * 4;
    parallel_for(shares.count(), work, [&](std::int64_t share) {
        Scratch scratch;
        T* const edge = scratch.take<T>(panels.width(panels.count() - 1) * depths.size(0));
        const std::int64_t end = shares.begin(share) + shares.size(share);
        for (std::int64_t d = 0; d < depths.count(); ++d) {
            const std::int64_t k0 = depths.begin(d);
            const std::int64_t depth = depths.size(d);
            Epilogue<T> e = block_epilogue(p.epilogue, d == 0, d + 1 == depths.count());
            const T* const bias = e.bias;
            for (std::int64_t panel = shares.begin(share); panel < end; ++panel) {
                const std::int64_t column = panels.first(panel);
                const int vectors = panels.vectors(panel);
                const T* b = p.b + k0 * p.b_row + column;
                std::int64_t b_step = p.b_row;
                if (panels.valid(panel) != panels.width(panel)) {
                    pack(b, p.b_row, p.b_column, depth, panels.valid(panel), panels.width(panel),
                         edge);
                    b = edge;
                    b_step = panels.width(panel);
                }
                if (bias) e.bias = bias + column;
                const EvenCut rows(p.m, kernels.max_rows[vectors]);
                for (std::int64_t i = 0; i < rows.count(); ++i) {
                    const T* a_rows[kMaxTileRows];
                    T* c_rows[kMaxTileRows];
                    for (int r = 0; r < rows.size(i); ++r) {
                        a_rows[r] = p.a + (rows.begin(i) + r) * p.a_row + k0;
                        c_rows[r] = p.c + (rows.begin(i) + r) * p.c_row + column;
                    }
                    const RowTile<T> tile{a_rows, 0, &kOneTap, 1,      depth,
                                          b,      0, b_step,   c_rows, panels.last(panel)};
                    kernels.rows[vectors][rows.size(i)](tile, e);
                }
            }
        }
    });
}

template <class T>
class BlockedGemm {
  public:
    BlockedGemm(const DenseKernels<T>& kernels, const GemmProblem<T>& problem)
        : kernels_(kernels),
          p_(problem),
          panels_(kernels, problem.n),
          tallest_(kernels.max_rows[panels_.vectors(0)]),
          tiles_(problem.m, tallest_),
          depths_(problem.k, tuning::gemm_depth(kernels.lanes)) {
        tiles_per_block_ = std::max<std::int64_t>(1, tuning::gemm_rows(kernels.lanes) / tallest_);
        // Packing pays where what is packed is used often enough.
        pack_a_ = p_.a_column != 1 || (p_.n > tuning::gemm_packs_a && p_.k >= 64);
        constexpr std::int64_t item = sizeof(T);
        const bool small = p_.k * p_.n * item <= tuning::gemm_in_place;
        pack_b_ = p_.b_column != 1 || (p_.m > 48 && !small) || p_.k < 16;
    }

    void run() {
        Scratch scratch;
        const std::int64_t deepest = depths_.size(0);
        T* const packed =
            scratch.take<T>(pack_b_ ? panels_.size(deepest) : panels_.width(0) * 2 * deepest);
        for (std::int64_t d = 0; d < depths_.count(); ++d) {
            const std::int64_t k0 = depths_.begin(d);
            const std::int64_t depth = depths_.size(d);
            pack_block_of_b(k0, depth, packed);
            multiply_block(k0, depth, packed,
                           block_epilogue(p_.epilogue, d == 0, d + 1 == depths_.count()));
        }
    }

  private:
    double microseconds(double depth) const {
        return 2.0 * p_.m * p_.n * depth / tuning::flops_per_microsecond;
    }

    // A panel of b is read where it lies if its rows are whole vectors; else packed.
    bool reads_in_place(std::int64_t panel) const {
        return !pack_b_ && panels_.valid(panel) == panels_.width(panel);
    }
    const T* place(std::int64_t panel, std::int64_t depth, T* packed) const {
        return pack_b_ ? packed + panels_.offset(panel, depth) : packed;
    }

    void pack_block_of_b(std::int64_t k0, std::int64_t depth, T* packed) {
        const double work = static_cast<double>(p_.n) * depth / 2e3;
        parallel_for(panels_.count(), work, [&](std::int64_t panel) {
            if (reads_in_place(panel)) return;
            pack(p_.b + k0 * p_.b_row + panels_.first(panel) * p_.b_column, p_.b_row, p_.b_column,
                 depth, panels_.valid(panel), panels_.width(panel),
                 const_cast<T*>(place(panel, depth, packed)));
        });
    }

    void multiply_block(std::int64_t k0, std::int64_t depth, T* packed, const Epilogue<T>& e) {
        const std::int64_t blocks = (tiles_.count() + tiles_per_block_ - 1) / tiles_per_block_;
        const EvenCut groups(
            panels_.count(),
            std::max<std::int64_t>(2,
                                   (panels_.count() * blocks + tuning::tasks - 1) / tuning::tasks));
        parallel_for(
            blocks * groups.count(), microseconds(static_cast<double>(depth)),
            [&](std::int64_t task) {
                const std::int64_t block = task / groups.count();
                const std::int64_t group = task % groups.count();
                const std::int64_t tile0 = block * tiles_per_block_;
                const std::int64_t tile1 = std::min(tiles_.count(), tile0 + tiles_per_block_);
                multiply_task(tile0, tile1, groups.begin(group),
                              groups.begin(group) + groups.size(group), k0, depth, packed, e);
            });
    }

    void multiply_task(std::int64_t tile0, std::int64_t tile1, std::int64_t panel0,
                       std::int64_t panel1, std::int64_t k0, std::int64_t depth, T* packed,
                       const Epilogue<T>& whole) {
        Scratch scratch;
        const std::int64_t row0 = tiles_.begin(tile0);
        T* a = nullptr;
        if (pack_a_) {
            a = scratch.take<T>((tiles_.begin(tile1) - row0) * depth);
            for (std::int64_t t = tile0; t < tile1; ++t) {
                const std::int64_t row = tiles_.begin(t);
                const std::int64_t rows = tiles_.size(t);
                pack(p_.a + row * p_.a_row + k0 * p_.a_column, p_.a_column, p_.a_row, depth, rows,
                     rows, a + (row - row0) * depth);
            }
        }
        for (std::int64_t panel = panel0; panel < panel1; ++panel) {
            const std::int64_t column = panels_.first(panel);
            const int vectors = panels_.vectors(panel);
            const bool in_place = reads_in_place(panel);
            const T* b = in_place ? p_.b + k0 * p_.b_row + column : place(panel, depth, packed);
            const std::int64_t b_step = in_place ? p_.b_row : panels_.width(panel);
            Epilogue<T> e = whole;
            if (e.bias) e.bias += column;
            for (std::int64_t t = tile0; t < tile1; ++t) {
                // A panel of three vectors has lower tiles: its rows are cut once more.
                const EvenCut cut(tiles_.size(t), kernels_.max_rows[vectors]);
                for (std::int64_t part = 0; part < cut.count(); ++part) {
                    const std::int64_t row = tiles_.begin(t) + cut.begin(part);
                    const int rows = static_cast<int>(cut.size(part));
                    T* c = p_.c + row * p_.c_row + column;
                    if (pack_a_) {
                        const OuterTile<T> tile{
                            a + (tiles_.begin(t) - row0) * depth + cut.begin(part),
                            tiles_.size(t),
                            nullptr,
                            depth,
                            b,
                            b_step,
                            c,
                            p_.c_row,
                            panels_.last(panel)};
                        kernels_.outer[vectors][rows](tile, e);
                    } else {
                        const T* a_rows[kMaxTileRows];
                        T* c_rows[kMaxTileRows];
                        for (int i = 0; i < rows; ++i) {
                            a_rows[i] = p_.a + (row + i) * p_.a_row + k0;
                            c_rows[i] = c + i * p_.c_row;
                        }
                        const RowTile<T> tile{a_rows, 0, &kOneTap, 1,      depth,
                                              b,      0, b_step,   c_rows, panels_.last(panel)};
                        kernels_.rows[vectors][rows](tile, e);
                    }
                }
            }
        }
    }

    const DenseKernels<T>& kernels_;
    const GemmProblem<T>& p_;
    Panels<T> panels_;
    std::int64_t tallest_;
    EvenCut tiles_;
    EvenCut depths_;
    std::int64_t tiles_per_block_;
    bool pack_a_;
    bool pack_b_;
};

}  // namespace

template <class T>
void gemm(Isa isa, const GemmProblem<T>& problem) {
    if (problem.m == 0 || problem.n == 0) return;
    const DenseKernels<T>& kernels = dense_kernels<T>(isa);
    if (problem.k == 0) {  // an empty sum: only the epilogue is left
        alignas(64) const T zeros[64] = {};
        for (std::int64_t i = 0; i < problem.m; ++i) {
            for (std::int64_t j = 0; j < problem.n; j += kernels.lanes) {
                Epilogue<T> e = problem.epilogue;
                if (e.bias) e.bias += j;
                const int last =
                    static_cast<int>(std::min<std::int64_t>(kernels.lanes, problem.n - j));
                kernels.finish_row(zeros, problem.c + i * problem.c_row + j, 1, last, e);
            }
        }
        return;
    }
    const bool along = problem.b_row == 1 && problem.a_column == 1;
    if (along && ((problem.m <= 16 && problem.k >= 16) || (problem.n <= 12 && problem.k >= 64))) {
        gemm_by_dots(kernels, problem);
    } else if (problem.b_column == 1 && problem.a_column == 1 &&
               problem.m <= tuning::gemm_few_rows &&
               problem.k * problem.n * static_cast<std::int64_t>(sizeof(T)) >= tuning::gemm_far) {
        gemm_by_rows(kernels, problem);
    } else {
        BlockedGemm<T>(kernels, problem).run();
    }
}

template <class T>
void column_sums(Isa isa, const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step,
                 T* out) {
    const DenseKernels<T>& kernels = dense_kernels<T>(isa);
    // Blocks of rows are summed in T, the blocks in double: the error grows with 512, not the rows.
    constexpr std::int64_t kRows = 512;
    constexpr std::int64_t kColumns = 256;
    const std::int64_t blocks = (rows + kRows - 1) / kRows;
    const std::int64_t strips = (columns + kColumns - 1) / kColumns;
    Scratch scratch;
    T* const partial = scratch.take<T>(blocks * columns);
    parallel_for(blocks * strips, static_cast<double>(rows) * columns * sizeof(T) / 1e4,
                 [&](std::int64_t task) {
                     const std::int64_t block = task / strips;
                     const std::int64_t column = task % strips * kColumns;
                     kernels.column_sum(x + block * kRows * step + column,
                                        std::min(kRows, rows - block * kRows),
                                        std::min(kColumns, columns - column), step,
                                        partial + block * columns + column);
                 });
    for (std::int64_t j = 0; j < columns; ++j) {
        double sum = 0;
        for (std::int64_t block = 0; block < blocks; ++block) {
            sum += static_cast<double>(partial[block * columns + j]);
        }
        out[j] = static_cast<T>(sum);
    }
}

template void gemm<float>(Isa, const GemmProblem<float>&);
template void gemm<double>(Isa, const GemmProblem<double>&);
template void column_sums<float>(Isa, const float*, std::int64_t, std::int64_t, std::int64_t,
                                 float*);
template void column_sums<double>(Isa, const double*, std::int64_t, std::int64_t, std::int64_t,
                                  double*);

}  // namespace pyconv
