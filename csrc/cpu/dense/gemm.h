// C = activation(alpha * A B + bias + residual), in any strides of A and B.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "cpu/dense/tile.h"

namespace pyconv {

template <class T>
struct GemmProblem {
    std::int64_t m = 0, n = 0, k = 0;
    const T* a = nullptr;  // m x k
    std::int64_t a_row = 0, a_column = 1;
    const T* b = nullptr;  // k x n
    std::int64_t b_row = 0, b_column = 1;
    T* c = nullptr;  // m x n, columns adjacent
    std::int64_t c_row = 0;
    Epilogue<T> epilogue;  // the bias has n entries; the residual lies as c does
};

template <class T>
void gemm(Isa isa, const GemmProblem<T>& problem);

// out[j] = sum of column j of x (rows x columns, rows `step` apart).
template <class T>
void column_sums(Isa isa, const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step,
                 T* out);

}  // namespace pyconv
