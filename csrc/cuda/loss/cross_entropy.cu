#include <cmath>

#include "cuda/activation/row_tiles.cuh"
#include "cuda/common/storage.cuh"
#include "cuda/loss/loss.h"

namespace pyconv::cuda {

namespace {

// The softmax, and its logarithm at one place: from the lane that has it.
struct CrossEntropy : Exponentials {
    static constexpr bool kTotals = true;
    const std::int64_t* targets;
    float* totals;  // of each block's losses

    CrossEntropy(const std::int64_t* targets_, float* totals_)
        : targets(targets_), totals(totals_) {}
    template <class T>
    __device__ float finish(RowState& s, std::int64_t row, const T* logits, int length, int lane,
                            int lanes) const {
        const std::int64_t target = targets[row];
        float loss = 0;
        if (target < 0 || target >= length) {
            loss = NAN;
        } else if (lane == static_cast<int>(target) % lanes) {
            loss = logf(s.sum) - (widen(logits[target]) - s.top);
        }
        s.sum = 1 / s.sum;
        return loss;
    }
    __device__ float result(const RowState& s, const RowElement<1>& x) const {
        return exp_of_negative(x.value[0] - s.top) * s.sum;
    }
};

// One block: each thread adds its share of the totals, then halves are added.
__global__ void __launch_bounds__(kRowThreads)
    mean_kernel(const float* totals, int count, double rows, float* mean) {
    __shared__ double parts[kRowThreads];
    const int thread = static_cast<int>(threadIdx.x);
    double sum = 0;
    for (int i = thread; i < count; i += kRowThreads) sum += totals[i];
    parts[thread] = sum;
    for (int half = kRowThreads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) parts[thread] += parts[thread + half];
    }
    if (thread == 0) *mean = static_cast<float>(parts[0] / rows);
}

struct Gradient {
    FastDivider classes;
    int count;  // elements in all rows
    const std::int64_t* targets;
    const float* d_loss;
    float rows, scale;
};

// d_logits = scale (p - 1 at the target), for N neighbours in each thread.
template <int N, class T>
__global__ void __launch_bounds__(kRowThreads)
    gradient_kernel(const Gradient g, const T* __restrict__ p, T* __restrict__ d_logits) {
    constexpr int kElements = kRowThreads * N;
    __shared__ int target_of[kElements + 1];  // of the block's rows, -1 where it is none
    const int begin = static_cast<int>(blockIdx.x) * kElements;
    const int end = min(begin + kElements, g.count), thread = static_cast<int>(threadIdx.x);
    const int classes = static_cast<int>(g.classes.divisor);
    const int first_row = g.classes.divide(begin), rows = g.classes.divide(end - 1) + 1 - first_row;
    for (int r = thread; r < rows; r += kRowThreads) {
        const std::int64_t target = g.targets[first_row + r];
        target_of[r] = target >= 0 && target < classes ? static_cast<int>(target) : -1;
    }
    __syncthreads();
    const float scale = g.d_loss ? *g.d_loss / g.rows : g.scale;
    const auto apply = [&](auto width, int at) {
        constexpr int kWidth = decltype(width)::value;
        float x[kWidth];
        load_floats(p + at, x);
        int column;
        int row = g.classes.divide(at, column) - first_row;
        int target = target_of[row];
#pragma unroll
        for (int i = 0; i < kWidth; ++i) {
            x[i] = target < 0 ? NAN : (column == target ? x[i] - 1 : x[i]) * scale;
            if (++column == classes && i + 1 < kWidth) {
                column = 0;
                target = target_of[++row];
            }
        }
        store_floats(d_logits + at, x);
    };
    const int at = begin + thread * N;
    if (at + N <= end) {
        apply(std::integral_constant<int, N>{}, at);
    } else {
        for (int i = at; i < end; ++i) apply(std::integral_constant<int, 1>{}, i);
    }
}

}  // namespace

template <class T>
void cross_entropy(const T* logits, const std::int64_t* targets, std::int64_t rows, std::int64_t n,
                   T* probabilities, float* loss, const Allocate& allocate, cudaStream_t stream) {
    const RowTiles tiles = RowTiles::of<T>({rows, n, 1}, 1);
    const std::int64_t blocks = tiles.blocks();
    float* const totals = static_cast<float*>(allocate(blocks * sizeof(float)));
    if (rows > 0) {
        run_row_tiles<T>("cross_entropy", tiles, CrossEntropy(targets, totals), {{logits}},
                         probabilities, stream);
    }
    mean_kernel<<<1, kRowThreads, 0, stream>>>(totals, static_cast<int>(blocks),
                                               static_cast<double>(rows), loss);
    check_launch("cross_entropy", "mean of " + std::to_string(rows));
}

template <class T>
void cross_entropy_backward(const T* probabilities, const std::int64_t* targets, std::int64_t rows,
                            std::int64_t n, double d_loss, const float* d_loss_array, T* d_logits,
                            cudaStream_t stream) {
    if (rows * n == 0) return;
    Gradient g;
    g.classes = FastDivider(n);
    g.count = checked_int("elements of the probabilities", rows * n);
    g.targets = targets;
    g.d_loss = d_loss_array;
    g.rows = static_cast<float>(rows);
    g.scale = static_cast<float>(d_loss / static_cast<double>(rows));
    constexpr int N = kPack<T>;
    const auto blocks = static_cast<unsigned>(divide_up(divide_up(g.count, N), kRowThreads));
    gradient_kernel<N><<<blocks, kRowThreads, 0, stream>>>(g, probabilities, d_logits);
    check_launch("cross_entropy_backward", std::to_string(rows) + "x" + std::to_string(n));
}

#define PYCONV_INSTANTIATE(T)                                                                     \
    template void cross_entropy<T>(const T*, const std::int64_t*, std::int64_t, std::int64_t, T*, \
                                   float*, const Allocate&, cudaStream_t);                        \
    template void cross_entropy_backward<T>(const T*, const std::int64_t*, std::int64_t,          \
                                            std::int64_t, double, const float*, T*, cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)
#undef PYCONV_INSTANTIATE

}  // namespace pyconv::cuda
