#include "cuda/common/derivative.cuh"
#include "cuda/normalization/matrix.cuh"
#include "cuda/normalization/normalization.h"

namespace pyconv::cuda {

namespace {

// What the activation does to a gradient: by the output y, or by z = fma(x - mean, scale, beta).
template <class T>
struct Through {
    DerivativeFromOutput derivative;  // does nothing where there is no activation
    const T* y;
    const float* beta;
};

template <class T>
struct Gradient {
    const T *dy, *x;
    const float *gamma, *mean, *var;
    float eps;
    Through<T> through;
};

// N neighbours of a row on their way through both passes.
template <int N, class T>
struct Reading {
    const T *dy, *x, *y;
    float mean[N], scale[N], beta[N];

    // With kArrays * columns floats of shared memory; more(column, channel of the image,
    // 1 / deviation, scale) for each column before all are read.
    static constexpr int kArrays = 3;
    template <class F>
    __device__ Reading(const Gradient<T>& g, const PixelMatrix& m, const Place<N>& p, float* shared,
                       F more)
        : dy(g.dy + p.image * p.elements + p.at),
          x(g.x + p.image * p.elements + p.at),
          y(g.through.y ? g.through.y + p.image * p.elements + p.at : nullptr) {
        float* const of_column[] = {shared, shared + m.columns, shared + 2 * m.columns};
        for_columns(p, [&](int column, int channel) {
            const std::int64_t own = p.image * m.channels + channel;
            const float inverse = 1 / sqrtf(g.var[own] + g.eps);
            const float factor = g.gamma ? g.gamma[channel] * inverse : inverse;
            of_column[0][column] = g.mean[own];
            of_column[1][column] = factor;
            of_column[2][column] = g.through.beta ? g.through.beta[channel] : 0;
            more(column, own, inverse, factor);
        });
        __syncthreads();
        load_columns(of_column[0] + p.column, mean);
        load_columns(of_column[1] + p.column, scale);
        load_columns(of_column[2] + p.column, beta);
    }
    __device__ void next(std::int64_t step) {
        dy += step;
        x += step;
        if (y) y += step;
    }
    // dz and the deviation of x.
    __device__ void load(const Through<T>& through, float (&dz)[N], float (&deviation)[N]) const {
        float z[N];
        load_floats(dy, dz);
        load_floats(x, deviation);
        if (y) load_floats(y, z);
#pragma unroll
        for (int i = 0; i < N; ++i) finish(through, i, dz[i], deviation[i], y ? z[i] : 0);
    }
    __device__ void load_one(const Through<T>& through, int i, float& dz, float& deviation) const {
        dz = widen(dy[i]);
        deviation = widen(x[i]);
        finish(through, i, dz, deviation, y ? widen(y[i]) : 0);
    }

  private:
    __device__ void finish(const Through<T>& through, int i, float& dz, float& deviation,
                           float z) const {
        deviation -= mean[i];
        if (!y) z = fmaf(deviation, scale[i], beta[i]);
        dz = through.derivative(dz, z);
    }
};

// First pass: the sums of dz and dz (x - mean) of a block's pixels; dz itself where it is wanted.
template <int N, class T>
__global__ void __launch_bounds__(kMatrixThreads, 2)
    gradient_sums_kernel(const PixelMatrix m, const Gradient<T> g, T* dz, float* sums,
                         float* products) {
    extern __shared__ __align__(16) float shared[];
    const Place<N> p(m, false);
    Reading<N, T> reading(g, m, p, shared, [](int, std::int64_t, float, float) {});
    if (dz) dz += p.image * p.elements + p.at;

    float sum[N] = {}, product[N] = {};
#pragma unroll 2
    for (int r = p.begin; r < p.whole; ++r) {
        float d[N], deviation[N];
        reading.load(g.through, d, deviation);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            sum[i] += d[i];
            product[i] = fmaf(d[i], deviation[i], product[i]);
        }
        if (dz) store_floats(dz, d), dz += p.step;
        reading.next(p.step);
    }
    if (p.rest) {
        const std::int64_t left = p.elements - p.at - (p.whole - p.begin) * p.step;
#pragma unroll
        for (int i = 0; i < N; ++i) {
            if (i >= left) continue;
            float d, deviation;
            reading.load_one(g.through, i, d, deviation);
            sum[i] += d;
            product[i] = fmaf(d, deviation, product[i]);
            if (dz) dz[i] = narrow<T>(d);
        }
    }
    const std::int64_t to = (p.image * m.blocks + p.block) * m.channels + p.first_channel;
    const auto add_up = [&](const float (&values)[N], float* results) {
        __syncthreads();
        store_columns(shared + p.column, values);
        add_joined(shared, p.width, m.joined);
        for (int c = static_cast<int>(threadIdx.x); c < p.width; c += blockDim.x) {
            results[to + c] = shared[c];
        }
    };
    add_up(sum, sums);
    add_up(product, products);
}

// The sums of `count` parts of each image's; the second are multiplied by 1 / sqrt(var + eps) where
// there is a var.
__global__ void __launch_bounds__(1024)
    add_kernel(const BlockSums s, int count, const float* sums, const float* products,
               const float* var, float eps, float* dbeta, float* dgamma) {
    __shared__ float shared[1024];
    const int thread = static_cast<int>(threadIdx.x);
    const int part = thread / s.width;
    const int channel = static_cast<int>(blockIdx.y) * s.width + thread % s.width;
    const std::int64_t image = static_cast<std::int64_t>(blockIdx.x);
    const auto add_up = [&](const float* terms) {
        float sum = 0;
        if (channel < s.channels) {
            const float* term = terms + (image * count + part) * s.channels + channel;
#pragma unroll 4
            for (int i = part; i < count; i += s.parts, term += s.parts * s.channels) sum += *term;
        }
        __syncthreads();
        shared[thread] = sum;
        add_joined(shared, s.width, s.parts);
        return shared[thread % s.width];
    };
    const float sum = add_up(sums), product = add_up(products);
    if (part > 0 || channel >= s.channels) return;
    const std::int64_t own = image * s.channels + channel;
    dbeta[own] = sum;
    dgamma[own] = var ? product * (1 / sqrtf(var[own] + eps)) : product;
}

// Second pass: dx = scale (dz - dbeta / m - (x - mean) inverse dgamma / m).
template <int N, class T>
__global__ void __launch_bounds__(kMatrixThreads, 2)
    gradient_kernel(const PixelMatrix m, const Gradient<T> g, const float* dbeta,
                    const float* dgamma, T* dx) {
    extern __shared__ __align__(16) float shared[];
    const Place<N> p(m, true);
    const float count = static_cast<float>(m.pixels);
    float* const slopes = shared + Reading<N, T>::kArrays * m.columns;
    float* const offsets = slopes + m.columns;
    Reading<N, T> reading(g, m, p, shared,
                          [&](int column, std::int64_t own, float inverse, float scale) {
                              slopes[column] = -scale * inverse * (dgamma[own] / count);
                              offsets[column] = -scale * (dbeta[own] / count);
                          });
    float slope[N], offset[N];
    load_columns(slopes + p.column, slope);
    load_columns(offsets + p.column, offset);
    dx += p.image * p.elements + p.at;
    const auto gradient = [&](float dz, float deviation, int i) {
        return fmaf(deviation, slope[i], fmaf(dz, reading.scale[i], offset[i]));
    };
#pragma unroll 2
    for (int r = p.begin; r < p.whole; ++r, dx += p.step) {
        float d[N], deviation[N];
        reading.load(g.through, d, deviation);
#pragma unroll
        for (int i = 0; i < N; ++i) d[i] = gradient(d[i], deviation[i], i);
        store_floats(dx, d);
        reading.next(p.step);
    }
    if (!p.rest) return;
    const std::int64_t left = p.elements - p.at - (p.whole - p.begin) * p.step;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i >= left) continue;
        float d, deviation;
        reading.load_one(g.through, i, d, deviation);
        dx[i] = narrow<T>(gradient(d, deviation, i));
    }
}

}  // namespace

template <class T>
void normalize_backward(const NormalizationProblem& p, const T* dy, const T* x, const float* gamma,
                        const float* beta, const float* mean, const float* var, const T* y, T* dx,
                        float* dgamma, float* dbeta, T* dz, const Allocate& allocate,
                        cudaStream_t stream) {
    if (p.channels == 0) return;
    Gradient<T> g{dy, x, gamma, mean, var, static_cast<float>(p.eps), {}};
    if (y || beta) {
        g.through = {{{p.activation, static_cast<float>(p.slope)}}, y, beta};
    }
    with_packs<T>(p, [&](auto width) {
        constexpr int N = decltype(width)::value;
        const PixelMatrix m(p, N);
        const BlockSums adding(m.channels);
        const std::int64_t parts = m.partial_sums(), own = p.images * p.channels;
        float* const sums =
            static_cast<float*>(allocate(2 * (parts + own) * static_cast<int>(sizeof(float))));
        float* const products = sums + parts;
        // With one image its sums are the results.
        float* const betas = p.images == 1 ? dbeta : products + parts;
        float* const gammas = p.images == 1 ? dgamma : betas + own;
        const int bytes = m.columns * static_cast<int>(sizeof(float));
        const auto add = [&](std::int64_t images, std::int64_t count, const float* first,
                             const float* second, const float* variance, float* to_beta,
                             float* to_gamma) {
            add_kernel<<<adding.grid(images), adding.threads(), 0, stream>>>(
                adding, checked_int("images", count), first, second, variance, g.eps, to_beta,
                to_gamma);
            check_launch("sums of norm_backward", m.describe());
        };
        if (p.images > 0) {
            gradient_sums_kernel<N>
                <<<m.grid(), m.threads(N), Reading<N, T>::kArrays * bytes, stream>>>(m, g, dz, sums,
                                                                                     products);
            check_launch("sums of norm_backward", m.describe());
            add(p.images, m.blocks, sums, products, var, betas, gammas);
        }
        if (p.images != 1) add(1, p.images, betas, gammas, nullptr, dbeta, dgamma);
        if (p.images * p.pixels == 0) return;
        if (dz) {
            g.dy = dz;
            g.through = {};
        }
        gradient_kernel<N>
            <<<m.grid(), m.threads(N), (Reading<N, T>::kArrays + 2) * bytes, stream>>>(m, g, betas,
                                                                                       gammas, dx);
        check_launch("norm_backward", m.describe());
    });
}

#define PYCONV_INSTANTIATE(T)                                                                      \
    template void normalize_backward<T>(                                                           \
        const NormalizationProblem&, const T*, const T*, const float*, const float*, const float*, \
        const float*, const T*, T*, float*, float*, T*, const Allocate&, cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)
#undef PYCONV_INSTANTIATE

}  // namespace pyconv::cuda
