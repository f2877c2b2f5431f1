// The transforms of F(m x m, r x r) on tiles of a = m + r - 1:
//
//   Y = A^T ((G g G^T) . (B^T d B)) A        Lavin and Gray, Fast algorithms for CNNs (2015)
//
// with polynomials at the points 0, +-1 (a = 4), 0, +-1, 1/2, -2 (a = 6) and infinity, as on the
// CPU. Each is given for a vector; a matrix is transformed column by column, then row by row.
#pragma once

#include <cuda_runtime.h>

#include "core/host_device.h"

namespace pyconv::cuda {

// B^T d, in place: row i is the product of (x - point_k) over k != i, its coefficients times d.
__device__ inline void winograd_input(float (&d)[4]) {
    const float d1 = d[1];
    d[0] = d[2] - d[0];
    d[1] = d[2] + d1;
    d[2] = d[2] - d1;
    d[3] = d[3] - d1;
}
__device__ inline void winograd_input(float (&d)[6]) {
    const float even = d[4] - d[2], odd = d[3] - d[1];
    const float sum = d[3] + d[2], difference = d[3] - d[2];
    d[0] = fmaf(1.5f, odd, d[0] - d[2] + even);
    d[5] = fmaf(1.5f, even, d[5] - d[3] - odd);
    d[1] = fmaf(1.5f, sum, even + odd);
    d[2] = fmaf(1.5f, difference, even - odd);
    d[3] = fmaf(2.0f, odd, even);
    d[4] = fmaf(-0.5f, odd, even);
}

// A^T m: y_j = sum over i of point_i^j m_i, and the last m for the last y.
template <int kOut>
__device__ inline void winograd_output(const float (&m)[4], float (&y)[kOut]) {
    const float sum = m[1] + m[2];
    y[0] = m[0] + sum;
    y[1] = m[1] - m[2];
    if constexpr (kOut == 3) y[2] = sum;
    y[kOut - 1] += m[3];
}
template <int kOut>
__device__ inline void winograd_output(const float (&m)[6], float (&y)[kOut]) {
    const float sum = m[1] + m[2], difference = m[1] - m[2];
    y[0] = m[0] + sum + (m[3] + m[4]);
    float power = 1;
#pragma unroll
    for (int j = 1; j < kOut; ++j) {
        power *= 2;
        y[j] =
            fmaf(1 / power, m[3], j % 2 ? fmaf(-power, m[4], difference) : fmaf(power, m[4], sum));
    }
    y[kOut - 1] += m[5];
}

// G: point_i^j / prod over k != i of (point_i - point_k); the last row is the highest coefficient.
template <int kTile, int kSize>
struct FilterMatrix {
    float row[kTile][kSize];

    PYCONV_HOST_DEVICE constexpr FilterMatrix() : row{} {
        constexpr double points4[] = {0, 1, -1}, points6[] = {0, 1, -1, 0.5, -2};
        for (int i = 0; i < kTile - 1; ++i) {
            const double point = kTile == 4 ? points4[i % 3] : points6[i];
            double value = 1;
            for (int k = 0; k < kTile - 1; ++k) {
                if (k != i) value /= point - (kTile == 4 ? points4[k % 3] : points6[k]);
            }
            for (int j = 0; j < kSize; ++j) {
                row[i][j] = static_cast<float>(value);
                value *= point;
            }
        }
        row[kTile - 1][kSize - 1] = 1;
    }
};

// G g; zeros cost nothing.
template <int kTile, int kSize>
__device__ inline void winograd_filter(const float (&g)[kSize], float (&u)[kTile]) {
    constexpr FilterMatrix<kTile, kSize> matrix;
#pragma unroll
    for (int i = 0; i < kTile; ++i) {
        float sum = 0;
#pragma unroll
        for (int j = 0; j < kSize; ++j) {
            if (matrix.row[i][j] != 0) sum = fmaf(matrix.row[i][j], g[j], sum);
        }
        u[i] = sum;
    }
}

// The same for packs of neighbours: f transforms the vector of each lane.
template <int kLanes, int kFrom, int kTo, class F>
__device__ inline void each_lane(const float (&from)[kFrom][kLanes], float (&to)[kTo][kLanes],
                                 F&& f) {
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) {
        float x[kFrom], y[kTo];
#pragma unroll
        for (int i = 0; i < kFrom; ++i) x[i] = from[i][lane];
        f(x, y);
#pragma unroll
        for (int i = 0; i < kTo; ++i) to[i][lane] = y[i];
    }
}

// To a plane, which the next kernel reads from the second cache. By an intrinsic: the compiler cuts
// some plain stores of four into single ones.
__device__ inline void store_plane(float* to, const float (&x)[1]) { __stcg(to, x[0]); }
__device__ inline void store_plane(float* to, const float (&x)[4]) {
    __stcg(reinterpret_cast<float4*>(to), make_float4(x[0], x[1], x[2], x[3]));
}

}  // namespace pyconv::cuda
