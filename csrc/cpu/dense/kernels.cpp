#include "cpu/dense/kernels.h"

#include "cpu/dense/column_sum.inl"
#include "cpu/dense/dot.inl"
#include "cpu/dense/tile.inl"

namespace pyconv::PYCONV_ISA {

namespace {

// The tallest tile by vectors across: the sums, the vectors of b and a broadcast fill the
// registers (32 on AVX-512, else 16). float64 has fewer, lower ones: it need not be fast.
template <class T>
constexpr int tallest(int vectors) {
    if (sizeof(T) == 8) return vectors <= 2 ? 4 : 0;
#if defined(PYCONV_ISA_emulated512)
    return vectors == 3 ? 5 : 8;  // for tests: every lane written out takes much room
#endif
    if (Vec<float>::kLanes == 16) return vectors == 3 ? 9 : 14;
    return vectors == 1 ? 8 : vectors == 2 ? 6 : 4;
}

template <class T, int kVectors, int kRows>
constexpr void add_heights(DenseKernels<T>& table) {
    if constexpr (kRows >= 1) {
        table.rows[kVectors][kRows] = row_tile<T, kRows, kVectors>;
        table.outer[kVectors][kRows] = outer_tile<T, kRows, kVectors>;
        add_heights<T, kVectors, kRows - 1>(table);
    }
}

template <class T, int kVectors>
constexpr void add_tiles(DenseKernels<T>& table) {
    table.max_rows[kVectors] = tallest<T>(kVectors);
    add_heights<T, kVectors, tallest<T>(kVectors)>(table);
}

template <class T, int kRows>
constexpr void add_dots(DenseKernels<T>& table) {
    table.dot[kRows][1] = dot_tile<T, kRows, 1>;
    table.dot[kRows][2] = dot_tile<T, kRows, 2>;
    table.dot[kRows][3] = dot_tile<T, kRows, 3>;
    table.dot[kRows][4] = dot_tile<T, kRows, 4>;
    table.dot[kRows][5] = dot_tile<T, kRows, 5>;
}

template <class T>
constexpr DenseKernels<T> make_table() {
    DenseKernels<T> table{};
    table.lanes = Vec<T>::kLanes;
    add_tiles<T, 1>(table);
    add_tiles<T, 2>(table);
    add_tiles<T, 3>(table);
    table.dot_rows = 2;
    add_dots<T, 1>(table);
    add_dots<T, 2>(table);
    if constexpr (Vec<float>::kLanes == 16) {
        table.dot_rows = kDotRows;
        add_dots<T, 3>(table);
        add_dots<T, 4>(table);
    }
    table.finish_row = finish_row<T>;
    table.column_sum = column_sum<T>;
    return table;
}

constexpr DenseKernels<float> kFloat = make_table<float>();
constexpr DenseKernels<double> kDouble = make_table<double>();

}  // namespace

const DenseKernels<float>* dense_kernels(float*) { return &kFloat; }
const DenseKernels<double>* dense_kernels(double*) { return &kDouble; }

}  // namespace pyconv::PYCONV_ISA
