#include <cmath>
#include <string>

#include "cuda/optimizer/segments.cuh"

namespace pyconv::cuda {

namespace {

// What is added for an element, and how: sums of |x|, x^2, |x|^order, or the largest |x|.
enum class Norm { one, two, power, largest };

template <Norm kNorm>
__device__ double term(float x, double order) {
    const double a = fabs(static_cast<double>(x));
    if (kNorm == Norm::two) return a * a;
    return kNorm == Norm::power ? pow(a, order) : a;
}
template <Norm kNorm>
__device__ double combine(double a, double b) {
    if (kNorm == Norm::largest) return b > a || isnan(b) ? b : a;
    return a + b;
}

// Over the block, in the same order always; the result is thread 0's.
template <Norm kNorm>
__device__ double over_block(double value) {
    __shared__ double values[kThreads];
    values[threadIdx.x] = value;
    for (int half = kThreads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            value = combine<kNorm>(value, values[threadIdx.x + half]);
            values[threadIdx.x] = value;
        }
    }
    return value;
}

template <Norm kNorm>
__global__ void __launch_bounds__(kThreads)
    parts_kernel(const __grid_constant__ Table table, double order, double* sums) {
    const Part part = part_of_block(table);
    double sum = 0;
    over_part(part, [&](auto width, std::int64_t i) {
        constexpr int N = decltype(width)::value;
        const Pack<float, N> x = load_pack<N>(part.segment.gradient + i);
#pragma unroll
        for (int j = 0; j < N; ++j) sum = combine<kNorm>(sum, term<kNorm>(x.value[j], order));
    });
    sum = over_block<kNorm>(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

template <Norm kNorm>
__global__ void __launch_bounds__(kThreads)
    total_kernel(const double* sums, int count, double* total) {
    double sum = 0;
    for (int i = threadIdx.x; i < count; i += kThreads) sum = combine<kNorm>(sum, sums[i]);
    sum = over_block<kNorm>(sum);
    if (threadIdx.x == 0) *total = sum;
}

template <Norm kNorm>
void run(const std::vector<Segment>& segments, double order, double* total,
         const Allocate& allocate, cudaStream_t stream) {
    std::int64_t blocks = 0;
    for (const Segment& segment : segments) blocks += divide_up(segment.n, kChunk);
    const int count = checked_int("elements of all arrays", blocks);
    double* const sums = static_cast<double*>(allocate(count * sizeof(double)));
    double* next = sums;
    over_tables(segments, [&](const Table& table, int part) {
        parts_kernel<kNorm>
            <<<static_cast<unsigned>(part), kThreads, 0, stream>>>(table, order, next);
        check_launch("grad_norm", std::to_string(table.count) + " arrays");
        next += part;
    });
    total_kernel<kNorm><<<1, kThreads, 0, stream>>>(sums, count, total);
    check_launch("grad_norm", std::to_string(count) + " sums");
}

}  // namespace

void power_sum(const std::vector<Segment>& segments, double order, double* total,
               const Allocate& allocate, cudaStream_t stream) {
    const auto kernel = std::isinf(order) ? run<Norm::largest>
                        : order == 1      ? run<Norm::one>
                        : order == 2      ? run<Norm::two>
                                          : run<Norm::power>;
    kernel(segments, order, total, allocate, stream);
}

}  // namespace pyconv::cuda
