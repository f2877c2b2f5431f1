// Few channels on both sides: vectors along the pixels of a row, a sum for each output channel.
// With 6 outputs and 2 vectors of pixels a step loads 2 vectors and broadcasts 6 weights for 12
// FMAs; vectors along the channels would leave 2 or 10 lanes idle.
#pragma once

#include "cpu/activation/activate.h"
#include "cpu/convolution/kernels.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

#if defined(PYCONV_ISA_avx512)
inline constexpr int kVectorRegisters = 32;
#else
inline constexpr int kVectorRegisters = 16;
#endif

// Vectors of pixels of a step: eight sums or more, so that no FMA waits for the one before.
constexpr int few_outputs_vectors(int outputs) {
    const int wanted = outputs <= 3 ? 4 : 2;
    const int most = (kVectorRegisters - 1) / (outputs + 1);
    return most < 1 ? 1 : most < wanted ? most : wanted;
}

template <class T, int kOut>
void few_outputs_rows(const FewOutputsRows<T>& p) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    constexpr int kVectors = few_outputs_vectors(kOut);
    alignas(64) T planes[kVectors][kOut][kLanes];
    const std::int64_t across = (p.pixels + kLanes - 1) / kLanes;
    const std::int64_t end = p.end * across;
    for (std::int64_t v = p.begin * across; v < end; v += kVectors) {
        std::int64_t row[kVectors], x0[kVectors], offset[kVectors];
        for (int j = 0; j < kVectors; ++j) {
            const std::int64_t at = v + j < end ? v + j : v;
            row[j] = at / across;
            x0[j] = at % across * kLanes;
            offset[j] = row[j] * p.in_row + x0[j];
        }
        V sum[kOut][kVectors];
#pragma GCC unroll 8
        for (int k = 0; k < kOut; ++k) {
#pragma GCC unroll 4
            for (int j = 0; j < kVectors; ++j) sum[k][j] = V::zero();
        }
        const T* weight = p.weight;
        for (std::int64_t t = 0; t < p.taps; ++t, weight += kOut) {
            V x[kVectors];
#pragma GCC unroll 4
            for (int j = 0; j < kVectors; ++j) x[j] = V::load(p.in[t] + offset[j]);
#pragma GCC unroll 8
            for (int k = 0; k < kOut; ++k) {
                const V w = V::broadcast(weight[k]);
#pragma GCC unroll 4
                for (int j = 0; j < kVectors; ++j) sum[k][j] = fma(x[j], w, sum[k][j]);
            }
        }
#pragma GCC unroll 8
        for (int k = 0; k < kOut; ++k) {
            const V bias = p.bias ? V::broadcast(p.bias[k]) : V::zero();
#pragma GCC unroll 4
            for (int j = 0; j < kVectors; ++j) {
                activate(p.activation, sum[k][j] + bias, p.slope).store(planes[j][k]);
            }
        }
        for (int j = 0; j < kVectors && v + j < end; ++j) {
            const std::int64_t left = p.pixels - x0[j];
            const int count = static_cast<int>(left < kLanes ? left : kLanes);
            T* out = p.out + (row[j] * p.pixels + x0[j]) * kOut;
            for (int i = 0; i < count; ++i, out += kOut) {
#pragma GCC unroll 8
                for (int k = 0; k < kOut; ++k) out[k] = planes[j][k][i];
            }
        }
    }
}

// dw[tap][k] += the products of a rectangle of pixels, summed lane by lane and then over the lanes.
template <class T, int kOut>
void few_outputs_gradient(const FewOutputsGradient<T>& p) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    constexpr int kMost = (kVectorRegisters - 4) / (kOut + 1);
    constexpr int kTaps = kMost < 1 ? 1 : kMost > 4 ? 4 : kMost;
    for (std::int64_t first = 0; first < p.taps; first += kTaps) {
        const int taps = static_cast<int>(p.taps - first < kTaps ? p.taps - first : kTaps);
        V sum[kTaps][kOut];
        const T* in[kTaps];
#pragma GCC unroll 4
        for (int t = 0; t < kTaps; ++t) {
            in[t] = p.in[first + (t < taps ? t : 0)];
#pragma GCC unroll 8
            for (int k = 0; k < kOut; ++k) sum[t][k] = V::zero();
        }
        const T* row = p.dy;
        for (std::int64_t y = 0; y < p.rows; ++y, row += p.dy_row) {
            for (std::int64_t c = 0; c < p.columns; c += kLanes) {
                V x[kTaps];
#pragma GCC unroll 4
                for (int t = 0; t < kTaps; ++t) x[t] = V::load(in[t] + c);
#pragma GCC unroll 8
                for (int k = 0; k < kOut; ++k) {
                    const V g = V::load(row + k * p.dy_plane + c);
#pragma GCC unroll 4
                    for (int t = 0; t < kTaps; ++t) sum[t][k] = fma(x[t], g, sum[t][k]);
                }
            }
#pragma GCC unroll 4
            for (int t = 0; t < kTaps; ++t) in[t] += p.in_row;
        }
        T* dw = p.dw + first * kOut;
#pragma GCC unroll 4
        for (int t = 0; t < kTaps; ++t) {
            if (t >= taps) break;
#pragma GCC unroll 8
            for (int k = 0; k < kOut; ++k) dw[t * kOut + k] += reduce_add(sum[t][k]);
        }
    }
}

}  // namespace pyconv::PYCONV_ISA
