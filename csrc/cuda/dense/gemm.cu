#include "cuda/dense/gemm.h"
#include "cuda/dense/product.cuh"

namespace pyconv::cuda {

namespace {

std::string describe(const Matrix& a, const Matrix& b) {
    return std::to_string(a.rows) + "x" + std::to_string(b.columns) + "x" +
           std::to_string(a.columns);
}

// `rows` of the operand are those of a, or the columns of b; step 1 along k or along them.
template <bool kVectors, class F>
void with_source(const float* data, std::int64_t rows, std::int64_t depth, std::int64_t row_step,
                 std::int64_t depth_step, F&& f) {
    const int r = checked_int("rows and columns", rows), k = checked_int("rows and columns", depth);
    if (depth_step == 1) {
        f(AlongDepth<kVectors>{data, r, k, row_step});
    } else {
        f(AlongRows<kVectors>{data, r, k, depth_step});
    }
}

template <bool kVectors>
void run(const Matrix& a, const Matrix& b, const Rows& out, const Epilogue& epilogue,
         const Allocate& allocate, cudaStream_t stream) {
    with_source<kVectors>(a.data, a.rows, a.columns, a.row, a.column, [&](const auto& left) {
        with_source<kVectors>(b.data, b.columns, b.rows, b.column, b.row, [&](const auto& right) {
            launch_product("gemm", describe(a, b), left, right, out, epilogue,
                           static_cast<int>(a.columns), 1, allocate, stream);
        });
    });
}

bool vectors_of(const float* data, std::int64_t rows, std::int64_t depth, std::int64_t row_step,
                std::int64_t depth_step) {
    return depth_step == 1 ? aligned_vectors(data, row_step, depth)
                           : aligned_vectors(data, depth_step, rows);
}

constexpr int kSumRows = 64;  // of x, that one thread adds

// Partial sums of kSumRows rows; columns along the lanes.
__global__ void column_sums_kernel(const float* x, std::int64_t rows, std::int64_t columns,
                                   float* sums) {
    const std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kSumRows;
    const std::int64_t end = min(begin + kSumRows, rows);
    float sum = 0;
    for (std::int64_t row = begin; row < end; ++row) sum += x[row * columns + column];
    sums[blockIdx.x * columns + column] = sum;
}

}  // namespace

void gemm(const Matrix& a, const Matrix& b, float* c, const Epilogue& epilogue,
          const Allocate& allocate, cudaStream_t stream) {
    Rows out;
    out.data = c;
    out.rows = checked_int("rows of a", a.rows);
    out.columns = checked_int("columns of b", b.columns);
    out.grid = out.width = FastDivider(a.rows < 1 ? 1 : a.rows);
    out.pixel_step = b.columns;
    out.vectors = aligned_vectors(c, b.columns, b.columns);
    // Where one operand can't be read in vectors, neither is: half as many kernels.
    if (vectors_of(a.data, a.rows, a.columns, a.row, a.column) &&
        vectors_of(b.data, b.columns, b.rows, b.column, b.row)) {
        run<true>(a, b, out, epilogue, allocate, stream);
    } else {
        run<false>(a, b, out, epilogue, allocate, stream);
    }
}

void column_sums(const float* x, std::int64_t rows, std::int64_t columns, float* sums,
                 const Allocate& allocate, cudaStream_t stream) {
    if (columns == 0) return;
    const unsigned across = static_cast<unsigned>(divide_up(columns, 128));
    const std::string problem = std::to_string(rows) + "x" + std::to_string(columns);
    while (true) {
        const std::int64_t parts = rows <= kSumRows ? 1 : divide_up(rows, kSumRows);
        float* const to =
            parts == 1 ? sums : static_cast<float*>(allocate(parts * columns * sizeof(float)));
        column_sums_kernel<<<dim3(static_cast<unsigned>(parts), across), 128, 0, stream>>>(
            x, rows, columns, to);
        check_launch("column_sums", problem);
        if (parts == 1) return;
        x = to;
        rows = parts;
    }
}

}  // namespace pyconv::cuda
