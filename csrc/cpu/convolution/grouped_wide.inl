// Groups whose outputs fill one or two vectors, see grouped_wide_kernels.h.
//
// One channel of a row of three taps, 14 pixels and one vector on AVX-512: 16 broadcasts and 3
// vectors of the weight for 42 FMAs (21 cycles, against 9.5 of loads); two vectors and 7 pixels, 15
// loads. A single tap needs 15 loads for 14 FMAs. On AVX2 4 pixels of two vectors: 12 loads for 24.
#pragma once

#include <type_traits>

#include "cpu/activation/activate.h"
#include "cpu/convolution/grouped_wide_kernels.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

PYCONV_INLINE void wide_look_ahead(const WideAhead& ahead, const char*& at) {
    for (int i = 0; i < ahead.count; ++i, at += ahead.step) {
        for (std::int64_t b = 0; b < ahead.bytes; b += 64) prefetch_l2(at + b);
    }
}

template <class T, int kPixels, int kVectors, int kTaps>
PYCONV_INLINE void wide_run(const WideTile<T>& p, const WideRun& run,
                            Vec<T> (&sum)[kPixels][kVectors]) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    constexpr int kWidth = kVectors * kLanes;
    const T* w[kTaps];
#pragma GCC unroll 3
    for (int s = 0; s < kTaps; ++s) w[s] = p.weight + run.tap[s] * p.weight_tap;
    const T* chunk = p.in + run.in;
    for (std::int64_t first = 0; first < p.depth; first += kWideChunk, chunk += p.chunk) {
        const std::int64_t left = p.depth - first;
        const T* const end = chunk + (left < kWideChunk ? left : kWideChunk);
        for (const T* x = chunk; x < end; ++x) {
            V ws[kTaps][kVectors];
#pragma GCC unroll 3
            for (int s = 0; s < kTaps; ++s) {
#pragma GCC unroll 2
                for (int j = 0; j < kVectors; ++j) ws[s][j] = V::load(w[s] + j * kLanes);
                w[s] += kWidth;
            }
#pragma GCC unroll 16
            for (int i = 0; i < kPixels + kTaps - 1; ++i) {
                const V v = V::broadcast(x[i * kWideChunk]);
#pragma GCC unroll 3
                for (int s = 0; s < kTaps; ++s) {
                    const int q = i - s;
                    if (q < 0 || q >= kPixels) continue;
#pragma GCC unroll 2
                    for (int j = 0; j < kVectors; ++j) sum[q][j] = fma(v, ws[s][j], sum[q][j]);
                }
            }
        }
    }
}

template <class T, int kPixels, int kVectors>
void wide_tile(const WideTile<T>& p, const Epilogue<T>& e) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    V sum[kPixels][kVectors];
#pragma GCC unroll 14
    for (int q = 0; q < kPixels; ++q) {
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) {
            sum[q][j] = V::zero();
            __builtin_prefetch(p.out + q * p.out_pixel + j * kLanes, 1, 3);
        }
    }
    const char* x_ahead = p.x_ahead.at;
    const char* out_ahead = p.out_ahead.at;
    for (std::int64_t r = 0; r < p.runs; ++r) {
        const WideRun& run = p.run[r];
        wide_look_ahead(p.x_ahead, x_ahead);
        wide_look_ahead(p.out_ahead, out_ahead);
        if (run.taps == 3) {
            wide_run<T, kPixels, kVectors, 3>(p, run, sum);
        } else if (run.taps == 2) {
            wide_run<T, kPixels, kVectors, 2>(p, run, sum);
        } else {
            wide_run<T, kPixels, kVectors, 1>(p, run, sum);
        }
    }
    const bool relu = e.activation == Activation::relu;
    if (e.residual_offset == 0 && (relu || e.activation == Activation::none)) {
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) {
            const int lanes = j < kVectors - 1 ? kLanes : p.last;
            const V bias = e.bias ? load(e.bias + j * kLanes, lanes) : V::zero();
#pragma GCC unroll 14
            for (int q = 0; q < kPixels; ++q) {
                V s = sum[q][j] + bias;
                if (relu) s = max(V::zero(), s);
                store(s, p.out + q * p.out_pixel + j * kLanes, lanes);
            }
        }
        return;
    }
    alignas(64) T sums[kPixels][kVectors * kLanes];
#pragma GCC unroll 14
    for (int q = 0; q < kPixels; ++q) {
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) sum[q][j].store(&sums[q][j * kLanes]);
    }
    for (int q = 0; q < kPixels; ++q) {
        for (int j = 0; j < kVectors; ++j) {
            const int lanes = j < kVectors - 1 ? kLanes : p.last;
            T* const to = p.out + q * p.out_pixel + j * kLanes;
            V s = V::load(&sums[q][j * kLanes]);
            if (e.bias) s = s + load(e.bias + j * kLanes, lanes);
            if (e.residual_offset != 0) {
                s = fma(V::broadcast(e.residual_scale), load(to + e.residual_offset, lanes), s);
            }
            store(activate(e.activation, s, e.slope), to, lanes);
        }
    }
}

// Channels of a gradient's call, by taps: the sums leave room for the vectors of dy and one more.
constexpr int wide_gradient_channels(int lanes, int taps) {
    const int wide = lanes == 16 ? 1 : 2;
    return (taps == 1 ? 16 : 8) / wide;
}

// Two outputs at a time, so that inputs serve both: with 3 taps and 8 channels 32 broadcasts and 2
// loads for 48 FMAs.
template <class T, int kTaps>
void wide_gradient(const WideGradient<T>& p) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    constexpr int kChannels = wide_gradient_channels(kLanes, kTaps);
    V sum[kTaps][kChannels];
#pragma GCC unroll 3
    for (int s = 0; s < kTaps; ++s) {
#pragma GCC unroll 16
        for (int k = 0; k < kChannels; ++k) sum[s][k] = V::load(p.sums[s] + k * kLanes);
    }
    const T* x;
    const T* dy;
    // Not known to the compiler, which would keep what the next outputs read again, and spill.
    const std::int64_t pixel = p.pixel;
    const auto outputs = [&](auto count) PYCONV_INLINE_LAMBDA {
        constexpr int kOutputs = decltype(count)::value;
        V g[kOutputs];
#pragma GCC unroll 2
        for (int q = 0; q < kOutputs; ++q) g[q] = V::load(dy + q * kWideChunk);
#pragma GCC unroll 4
        for (int i = 0; i < kOutputs + kTaps - 1; ++i) {
#pragma GCC unroll 16
            for (int k = 0; k < kChannels; ++k) {
                const V v = V::broadcast(x[i * kWideChunk + k]);
#pragma GCC unroll 3
                for (int s = 0; s < kTaps; ++s) {
                    const int q = i - s;
                    if (q >= 0 && q < kOutputs) sum[s][k] = fma(v, g[q], sum[s][k]);
                }
            }
        }
        x += kOutputs * pixel;
        dy += kOutputs * pixel;
    };
    const char* x_ahead = p.x_ahead.at;
    const char* dy_ahead = p.dy_ahead.at;
    for (std::int64_t y = 0; y < p.rows; ++y) {
        wide_look_ahead(p.x_ahead, x_ahead);
        wide_look_ahead(p.dy_ahead, dy_ahead);
        x = p.in + y * p.in_row;
        dy = p.dy + y * p.dy_row;
        const T* const end = dy + p.columns / 2 * 2 * kWideChunk;
        while (dy < end) outputs(std::integral_constant<int, 2>());
        if (p.columns % 2) outputs(std::integral_constant<int, 1>());
    }
#pragma GCC unroll 3
    for (int s = 0; s < kTaps; ++s) {
#pragma GCC unroll 16
        for (int k = 0; k < kChannels; ++k) sum[s][k].store(p.sums[s] + k * kLanes);
    }
}

template <class T, int kVectors, int kPixels>
constexpr void add_wide_pixels(WideKernels<T>& table) {
    if constexpr (kPixels >= 1) {
        table.tile[kVectors][kPixels] = wide_tile<T, kPixels, kVectors>;
        add_wide_pixels<T, kVectors, kPixels - 1>(table);
    }
}

template <class T>
constexpr WideKernels<T> make_wide_table() {
    WideKernels<T> table{};
    constexpr int kLanes = Vec<T>::kLanes;
    table.lanes = kLanes;
#if defined(PYCONV_ISA_emulated512)
    constexpr int kOne = 3, kTwo = 2;  // for tests: every lane written out takes much room
#else
    constexpr int kOne = kLanes == 16 ? 14 : 10, kTwo = kLanes == 16 ? 8 : 4;
#endif
    table.max_pixels[1] = kOne;
    table.max_pixels[2] = kTwo;
    add_wide_pixels<T, 1, kOne>(table);
    add_wide_pixels<T, 2, kTwo>(table);
    for (int taps = 1; taps <= kMaxWideTaps; ++taps) {
        table.gradient_channels[taps] = wide_gradient_channels(kLanes, taps);
    }
    table.gradient[1] = wide_gradient<T, 1>;
    table.gradient[2] = wide_gradient<T, 2>;
    table.gradient[3] = wide_gradient<T, 3>;
    return table;
}

}  // namespace pyconv::PYCONV_ISA
