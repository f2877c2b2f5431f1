#include <cstdlib>

#include "cuda/dense/gemm.h"
#include "cuda/dense/products.h"

namespace pyconv::cuda {

namespace {

template <class T>
std::string describe(const Matrix<T>& a, const Matrix<T>& b) {
    return std::to_string(a.rows) + "x" + std::to_string(b.columns) + "x" +
           std::to_string(a.columns);
}

// A matrix as an image of one row: `points` pixels, a channel for each element of a line.
Window matrix_window(std::int64_t points, std::int64_t channels, int pitch) {
    Window w{};
    w.height = w.grid_height = 1;
    w.width = static_cast<int>(points);
    w.pixel = pitch;
    w.grid = w.grid_width = FastDivider(points < 1 ? 1 : points);
    w.step_y = w.step_x = 1;
    w.channels = FastDivider(channels < 1 ? 1 : channels);
    return w;
}

// From line to line in pieces; the offsets of all lines must fit.
template <int kPiece>
int pitch_of(std::int64_t lines, std::int64_t pitch) {
    const std::int64_t step = pitch / kPiece;
    checked_int("elements that a matrix spans", (lines < 1 ? 1 : lines) * std::abs(step));
    return static_cast<int>(step);
}

template <class Product, int kPiece, class T>
void run(const Matrix<T>& a, const Matrix<T>& b, const ProductTask<T>& task) {
    const int rows = task.out.rows, columns = task.out.columns, depth = task.depth;
    const auto with_right = [&](const auto& left) {
        if (b.row == 1) {  // along k
            Weights<Product, kPiece> right{};
            right.data = b.data;
            right.rows = columns;
            right.depth = depth;
            right.channels = FastDivider(depth < 1 ? 1 : depth);
            right.pitch = pitch_of<kPiece>(columns, b.column);
            Product::run(left, right, task);
        } else {
            const int pitch = pitch_of<kPiece>(depth, b.row);
            Product::run(left, Columns<Product, kPiece>{b.data, columns, depth, pitch, 0}, task);
        }
    };
    if (a.column == 1) {
        const Window window = matrix_window(rows, depth, pitch_of<kPiece>(rows, a.row));
        with_right(Pixels<Product, kPiece>{a.data, rows, depth, window, 0});
    } else {
        const Window window = matrix_window(depth, rows, pitch_of<kPiece>(depth, a.column));
        with_right(Taps<Product, kPiece>{a.data, rows, depth, window, 0});
    }
}

template <class T>
bool matrix_in_pieces(const Matrix<T>& m) {
    return m.column == 1 ? in_pieces(m.data, m.row, m.columns)
                         : in_pieces(m.data, m.column, m.rows);
}

// Where one operand can't be read in pieces, neither is: half as many kernels.
template <class Product, class T>
void run(const Matrix<T>& a, const Matrix<T>& b, const ProductTask<T>& task) {
    if (matrix_in_pieces(a) && matrix_in_pieces(b)) {
        run<Product, Product::kPiece>(a, b, task);
    } else {
        run<Product, 1>(a, b, task);
    }
}

constexpr int kSumRows = 64;  // of x, that one thread adds

// Partial sums of kSumRows rows; columns along the lanes.
template <class From, class To>
__global__ void column_sums_kernel(const From* x, std::int64_t rows, std::int64_t columns,
                                   To* sums) {
    const std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kSumRows;
    const std::int64_t end = min(begin + kSumRows, rows);
    float sum = 0;
    for (std::int64_t row = begin; row < end; ++row) sum += widen(x[row * columns + column]);
    sums[blockIdx.x * columns + column] = narrow<To>(sum);
}

template <class From, class To>
void sum_columns(const From* x, std::int64_t rows, std::int64_t columns, To* sums,
                 const Allocate& allocate, cudaStream_t stream) {
    const std::int64_t parts = rows <= kSumRows ? 1 : divide_up(rows, kSumRows);
    const dim3 grid(static_cast<unsigned>(parts), static_cast<unsigned>(divide_up(columns, 128)));
    const auto launch = [&](auto* to) {
        column_sums_kernel<<<grid, 128, 0, stream>>>(x, rows, columns, to);
        check_launch("column_sums", std::to_string(rows) + "x" + std::to_string(columns));
    };
    if (parts == 1) return launch(sums);
    auto* const partial =
        static_cast<float*>(allocate(parts * columns * static_cast<std::int64_t>(sizeof(float))));
    launch(partial);
    sum_columns(partial, parts, columns, sums, allocate, stream);
}

}  // namespace

template <class T>
void gemm(const Matrix<T>& a, const Matrix<T>& b, T* c, const Epilogue<T>& epilogue,
          Arithmetic arithmetic, const Allocate& allocate, cudaStream_t stream) {
    Rows<T> out;
    out.data = c;
    out.rows = checked_int("rows of a", a.rows);
    out.columns = checked_int("columns of b", b.columns);
    out.grid = out.width = FastDivider(a.rows < 1 ? 1 : a.rows);
    out.pixel_step = b.columns;
    out.vectors = aligned_to(4 * sizeof(T), c) && b.columns % 4 == 0;
    const ProductTask<T> task{
        "gemm", describe(a, b), out,   epilogue, checked_int("rows of b", a.columns),
        1,      allocate,       stream};
    if constexpr (sizeof(T) == sizeof(float)) {
        if (arithmetic == Arithmetic::simt) return run<SimtProduct>(a, b, task);
    }
    run<TensorProduct<T>>(a, b, task);
}

template <class T>
void column_sums(const T* x, std::int64_t rows, std::int64_t columns, T* sums,
                 const Allocate& allocate, cudaStream_t stream) {
    if (columns > 0) sum_columns(x, rows, columns, sums, allocate, stream);
}

#define PYCONV_DENSE(T)                                                                        \
    template void gemm(const Matrix<T>&, const Matrix<T>&, T*, const Epilogue<T>&, Arithmetic, \
                       const Allocate&, cudaStream_t);                                         \
    template void column_sums(const T*, std::int64_t, std::int64_t, T*, const Allocate&,       \
                              cudaStream_t)
PYCONV_DENSE(float);
PYCONV_DENSE(half);
PYCONV_DENSE(bfloat16);

}  // namespace pyconv::cuda
