#include "cuda/common/epilogue.cuh"
#include "cuda/normalization/matrix.cuh"
#include "cuda/normalization/normalization.h"

namespace pyconv::cuda {

namespace {

template <class T>
struct Normalize {
    const T *x, *residual;
    const float *gamma, *beta, *mean, *var;
    T* y;
    float eps;
};

// One pass: activation(fma(x - mean, scale, beta) + residual).
template <int N, class T, class Activate>
__global__ void __launch_bounds__(kMatrixThreads, 3)
    normalize_kernel(const PixelMatrix m, const Normalize<T> n, const Activate activate) {
    extern __shared__ __align__(16) float shared[];
    const Place<N> p(m, true);
    float* const of_column[] = {shared, shared + m.columns, shared + 2 * m.columns};
    for_columns(p, [&](int column, int channel) {
        const std::int64_t own = p.image * m.channels + channel;
        const float inverse = 1 / sqrtf(n.var[own] + n.eps);
        of_column[0][column] = n.mean[own];
        of_column[1][column] = n.gamma ? n.gamma[channel] * inverse : inverse;
        of_column[2][column] = n.beta ? n.beta[channel] : 0;
    });
    __syncthreads();
    float mean[N], scale[N], beta[N];
    load_columns(of_column[0] + p.column, mean);
    load_columns(of_column[1] + p.column, scale);
    load_columns(of_column[2] + p.column, beta);

    const std::int64_t first = p.image * p.elements + p.at;
    const T* __restrict__ x = n.x + first;
    const T* __restrict__ residual = n.residual ? n.residual + first : nullptr;
    T* __restrict__ y = n.y + first;
    const auto normalized = [&](float value, int i) {
        return fmaf(value - mean[i], scale[i], beta[i]);
    };
#pragma unroll 4
    for (int r = p.begin; r < p.whole; ++r) {
        float values[N], added[N];
        load_floats(x, values);
        if (residual) load_floats(residual, added);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const float z = normalized(values[i], i);
            values[i] = activate(residual ? z + added[i] : z);
        }
        store_floats(y, values);
        x += p.step;
        y += p.step;
        if (residual) residual += p.step;
    }
    if (!p.rest) return;
    const std::int64_t left = p.elements - p.at - (p.whole - p.begin) * p.step;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i >= left) continue;
        const float z = normalized(widen(x[i]), i);
        y[i] = narrow<T>(activate(residual ? z + widen(residual[i]) : z));
    }
}

}  // namespace

template <class T>
void normalize(const NormalizationProblem& p, const T* x, const float* gamma, const float* beta,
               const float* mean, const float* var, const T* residual, T* y, cudaStream_t stream) {
    if (p.images * p.pixels * p.channels == 0) return;
    with_packs<T>(p, [&](auto width) {
        constexpr int N = decltype(width)::value;
        const PixelMatrix m(p, N);
        const Normalize<T> n{x, residual, gamma, beta, mean, var, y, static_cast<float>(p.eps)};
        const int bytes = 3 * m.columns * static_cast<int>(sizeof(float));
        if (is_piecewise_linear(p.activation)) {
            normalize_kernel<N><<<m.grid(), m.threads(N), bytes, stream>>>(
                m, n, PiecewiseLinear(p.activation, static_cast<float>(p.slope)));
        } else {
            normalize_kernel<N>
                <<<m.grid(), m.threads(N), bytes, stream>>>(m, n, Smooth{p.activation});
        }
        check_launch("normalize", m.describe());
    });
}

#define PYCONV_INSTANTIATE(T)                                                                     \
    template void normalize<T>(const NormalizationProblem&, const T*, const float*, const float*, \
                               const float*, const float*, const T*, T*, cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)
#undef PYCONV_INSTANTIATE

}  // namespace pyconv::cuda
