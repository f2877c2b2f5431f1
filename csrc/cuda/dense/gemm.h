// Dense layers: matrix products, sums of columns. T: float, half or bfloat16.
#pragma once

#include <cuda_runtime.h>

#include "cuda/common/launch.h"
#include "cuda/dense/product.h"

namespace pyconv::cuda {

// One of the steps of each matrix is 1.
template <class T>
struct Matrix {
    const T* data = nullptr;
    std::int64_t rows = 0, columns = 0, row = 0, column = 0;
};

// c (dense, a.rows x b.columns) = epilogue(a b).
template <class T>
void gemm(const Matrix<T>& a, const Matrix<T>& b, T* c, const Epilogue<T>& epilogue,
          Arithmetic arithmetic, const Allocate& allocate, cudaStream_t stream);

// sums[column] of a dense matrix, in a fixed order.
template <class T>
void column_sums(const T* x, std::int64_t rows, std::int64_t columns, T* sums,
                 const Allocate& allocate, cudaStream_t stream);

}  // namespace pyconv::cuda
