// The table of the dense family's micro-kernels.
#pragma once

#include "core/isa.h"
#include "cpu/dense/tile.h"

namespace pyconv {

inline constexpr int kDotRows = 4;
inline constexpr int kDotColumns = 5;

template <class T>
struct DenseKernels {
    int lanes;
    // By vectors across (1 .. 3): the tallest tile, 0 where there is none.
    int max_rows[kMaxTileVectors + 1];
    RowTileFunction<T> rows[kMaxTileVectors + 1][kMaxTileRows + 1];
    OuterTileFunction<T> outer[kMaxTileVectors + 1][kMaxTileRows + 1];
    // By rows (1 .. dot_rows) and columns (1 .. 5): see dot.inl.
    int dot_rows;
    void (*dot[kDotRows + 1][kDotColumns + 1])(const T* a, std::int64_t a_step, const T* b,
                                               std::int64_t b_step, std::int64_t depth, T* c,
                                               std::int64_t c_step);
    // One row of an epilogue, where the sums lie in memory.
    void (*finish_row)(const T* sums, T* row, int vectors, int last, const Epilogue<T>& epilogue);
    // out[j] = sum over i < rows of x[i * step + j].
    void (*column_sum)(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step,
                       T* out);
};

PYCONV_KERNEL_TABLE(DenseKernels, dense_kernels)

}  // namespace pyconv
