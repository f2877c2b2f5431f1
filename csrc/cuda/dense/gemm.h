// Dense layers: matrix products, sums of columns.
#pragma once

#include <cuda_runtime.h>

#include "cuda/common/launch.h"
#include "cuda/dense/product.h"

namespace pyconv::cuda {

// One of the steps of each matrix is 1.
struct Matrix {
    const float* data = nullptr;
    std::int64_t rows = 0, columns = 0, row = 0, column = 0;
};

// c (dense, a.rows x b.columns) = epilogue(a b).
void gemm(const Matrix& a, const Matrix& b, float* c, const Epilogue& epilogue,
          const Allocate& allocate, cudaStream_t stream);

// sums[column] of a dense matrix, in a fixed order.
void column_sums(const float* x, std::int64_t rows, std::int64_t columns, float* sums,
                 const Allocate& allocate, cudaStream_t stream);

}  // namespace pyconv::cuda
