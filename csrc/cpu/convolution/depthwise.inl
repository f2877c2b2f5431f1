// Depthwise micro-kernels: vectors along the channels, a small block of output pixels in
// registers, every input vector loaded once for all outputs of the block that it reaches.
//
// 3x3 with 2 x 4 outputs (AVX-512: 8 sums, 9 weights in registers): 72 FMAs against 24 loads.
// With 16 registers (AVX2) 2 x 3 outputs: 6 sums, 9 weights, 54 FMAs against 20 loads.
#pragma once

#include "cpu/activation/activate.h"
#include "cpu/convolution/kernels.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// Lines that a block of outputs brings from memory.
constexpr int depthwise_lines(int stride, int rows, int columns) {
    return stride * stride * (rows * columns + columns / 4);
}

// kColumns outputs of kRows rows, from output column `x` and channel `c` on.
template <class T, int kSize, int kStride, int kRows, int kColumns, class Lanes>
PYCONV_INLINE void depthwise_block(const DepthwiseRows<T>& p, std::int64_t x, std::int64_t c,
                                   Lanes lanes, const char* ahead, const char* out_ahead) {
    using V = Vec<T>;
    constexpr int kHeight = kSize + kStride * (kRows - 1);
    constexpr int kLines = depthwise_lines(kStride, kRows, kColumns);
    constexpr std::int64_t kVector = V::kLanes * sizeof(T);
    const V bias = p.bias ? load(p.bias + c, lanes) : V::zero();
    V sum[kRows][kColumns];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int q = 0; q < kColumns; ++q) sum[r][q] = bias;
    }
#pragma GCC unroll 9
    for (int y = 0; y < kHeight; ++y) {
        const T* row = p.in[y] + x * kStride * p.in_pixel + c;
        if (ahead) {
#pragma GCC unroll 36
            for (int i = y * kLines / kHeight; i < (y + 1) * kLines / kHeight; ++i) {
                prefetch_l2(ahead + i * kVector);
            }
        }
#pragma GCC unroll 12
        for (int i = 0; i < kSize + kStride * (kColumns - 1); ++i) {
            const V v = load(row + i * p.in_pixel, lanes);
#pragma GCC unroll 2
            for (int r = 0; r < kRows; ++r) {
                const int ty = y - r * kStride;
                if (ty < 0 || ty >= kSize) continue;
#pragma GCC unroll 4
                for (int q = 0; q < kColumns; ++q) {
                    const int tx = i - q * kStride;
                    if (tx < 0 || tx >= kSize) continue;
                    const V w = V::load(p.weight + (ty * kSize + tx) * p.weight_step + c);
                    sum[r][q] = fma(v, w, sum[r][q]);
                }
            }
        }
    }
    if (out_ahead) {
#pragma GCC unroll 8
        for (int i = 0; i < kRows * kColumns; ++i) prefetch_write(out_ahead + i * kVector);
    }
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int q = 0; q < kColumns; ++q) {
            V s = sum[r][q];
            if (p.activation == Activation::relu) {
                s = max(V::zero(), s);
            } else if (p.activation == Activation::relu6) {
                s = min(V::broadcast(T(6)), max(V::zero(), s));
            }
            put(s, p.out[r] + (x + q) * p.out_pixel + c, lanes, p.past_caches);
        }
    }
}

// Some channels of a block, then those of the next one: streams are contiguous, which the hardware
// follows, and what blocks share is still in L1.
template <class T, int kSize, int kStride, int kRows>
void depthwise_rows(const DepthwiseRows<T>& p) {
    constexpr int kLanes = Vec<T>::kLanes;
#if defined(PYCONV_ISA_emulated512)
    constexpr int kColumns = 2;  // for tests: every lane written out takes much room
#else
    constexpr int kColumns = kLanes * sizeof(T) == 64 ? 4 : 3;
#endif
    const std::int64_t whole = p.channels / kLanes * kLanes;
    const int rest = static_cast<int>(p.channels - whole);
    const char* ahead = p.ahead;
    const char* out_ahead = p.out_ahead;
    std::int64_t x, first = 0, end;
    const auto block = [&](auto columns) PYCONV_INLINE_LAMBDA {
        constexpr int kCount = decltype(columns)::value;
        constexpr std::int64_t kVector = kLanes * sizeof(T);
        constexpr std::int64_t kStep = depthwise_lines(kStride, kRows, kCount) * kVector;
        for (std::int64_t c = first; c < end; c += kLanes) {
            depthwise_block<T, kSize, kStride, kRows, kCount>(p, x, c, Whole<T>(), ahead,
                                                              out_ahead);
            if (ahead) ahead += kStep;
            if (out_ahead) out_ahead += kRows * kCount * kVector;
        }
        if (rest > 0 && end == whole) {
            depthwise_block<T, kSize, kStride, kRows, kCount>(p, x, whole, rest, ahead, out_ahead);
        }
        x += kCount;
    };
    do {
        end = whole - first > p.chunk ? first + p.chunk : whole;
        x = 0;
        while (x + kColumns <= p.count) block(std::integral_constant<int, kColumns>());
        while (x + 2 <= p.count) block(std::integral_constant<int, 2>());
        while (x < p.count) block(std::integral_constant<int, 1>());
        first = end;
    } while (first < whole);
    if (p.activation != Activation::none && p.activation != Activation::relu &&
        p.activation != Activation::relu6) {
        for (int r = 0; r < kRows; ++r) {
            for (x = 0; x < p.count; ++x) {
                for (std::int64_t c = 0; c < p.channels; c += kLanes) {
                    const int lanes = c < whole ? kLanes : rest;
                    T* const out = p.out[r] + x * p.out_pixel + c;
                    store(activate(p.activation, load(out, lanes), p.slope), out, lanes);
                }
            }
        }
    }
    if (p.past_caches) stream_fence();
}

template <class T>
void depthwise_pixel(const DepthwisePixel<T>& p) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    std::int64_t c = 0;
    for (; c + 2 * kLanes <= p.channels; c += 2 * kLanes) {
        V a = p.bias ? V::load(p.bias + c) : V::zero();
        V b = p.bias ? V::load(p.bias + c + kLanes) : V::zero();
        for (int t = 0; t < p.taps; ++t) {
            const T* in = p.in[t] + c;
            const T* w = p.weight[t] + c;
            a = fma(V::load(in), V::load(w), a);
            b = fma(V::load(in + kLanes), V::load(w + kLanes), b);
        }
        activate(p.activation, a, p.slope).store(p.out + c);
        activate(p.activation, b, p.slope).store(p.out + c + kLanes);
    }
    for (; c < p.channels; c += kLanes) {
        const int lanes = p.channels - c < kLanes ? static_cast<int>(p.channels - c) : kLanes;
        V a = p.bias ? load(p.bias + c, lanes) : V::zero();
        for (int t = 0; t < p.taps; ++t) {
            a = fma(load(p.in[t] + c, lanes), load(p.weight[t] + c, lanes), a);
        }
        store(activate(p.activation, a, p.slope), p.out + c, lanes);
    }
}

// The 2 x 2 inputs of one block, one vector of channels. The weights come from memory: pixels are
// walked one after the other, so that all streams are contiguous.
template <class T, int kSize, bool kActivate, class Lanes>
PYCONV_INLINE void depthwise_spread_block(const DepthwiseSpread<T>& p, std::int64_t k,
                                          std::int64_t c, Lanes lanes, const char* ahead) {
    using V = Vec<T>;
    constexpr int kReach = (kSize + 1) / 2;
    prefetch_l2(ahead);
    const V bias = p.bias ? load(p.bias + c, lanes) : V::zero();
    V sum[2][2] = {{bias, bias}, {bias, bias}};
#pragma GCC unroll 3
    for (int i = 0; i < kReach; ++i) {
#pragma GCC unroll 3
        for (int j = 0; j < kReach; ++j) {
            const V dy = load(p.in[i] + (k - j) * p.channels + c, lanes);
#pragma GCC unroll 4
            for (int q = 0; q < 4; ++q) {
                const int r = 2 * i + q / 2;
                const int s = 2 * j + q % 2;
                if (r >= kSize || s >= kSize) continue;
                const V w = V::load(p.weight + (r * kSize + s) * p.weight_step + c);
                sum[q / 2][q % 2] = fma(dy, w, sum[q / 2][q % 2]);
            }
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < 2; ++r) {
#pragma GCC unroll 2
        for (int s = 0; s < 2; ++s) {
            V y = sum[r][s];
            if constexpr (kActivate) y = activate(p.activation, y, p.slope);
            put(y, p.out[r] + (2 * k + s) * p.channels + c, lanes, p.past_caches);
        }
    }
}

template <class T, int kSize, bool kActivate>
PYCONV_INLINE void depthwise_spread_row(const DepthwiseSpread<T>& p) {
    constexpr int kLanes = Vec<T>::kLanes;
    const std::int64_t whole = p.channels / kLanes * kLanes;
    const int rest = static_cast<int>(p.channels - whole);
    const char* ahead = p.ahead.at ? p.ahead.at : reinterpret_cast<const char*>(p.weight);
    for (std::int64_t k = 0; k < p.count; ++k) {
        for (std::int64_t c = 0; c < whole; c += kLanes) {
            depthwise_spread_block<T, kSize, kActivate>(p, k, c, Whole<T>(), ahead);
            ahead += p.ahead.step;
        }
        if (rest > 0) depthwise_spread_block<T, kSize, kActivate>(p, k, whole, rest, ahead);
    }
    if (p.past_caches) stream_fence();
}

template <class T, int kSize>
void depthwise_spread(const DepthwiseSpread<T>& p) {
    if (p.activation == Activation::none) {
        depthwise_spread_row<T, kSize, false>(p);
    } else {
        depthwise_spread_row<T, kSize, true>(p);
    }
}

// Taps by kernel rows where all do not fit the registers.
template <class T, int kSize, int kStride, bool kWhole>
PYCONV_INLINE void depthwise_gradient_rows(const DepthwiseGradient<T>& p) {
    using V = Vec<T>;
    constexpr bool kAll = kSize == 3 || V::kLanes * sizeof(T) == 64;
    constexpr int kHeight = kAll ? kSize : 1;
    const int lanes = kWhole ? V::kLanes : p.lanes;
    const char* x_ahead = p.x_ahead.at ? p.x_ahead.at : reinterpret_cast<const char*>(p.dw);
    const char* dy_ahead = p.dy_ahead.at ? p.dy_ahead.at : reinterpret_cast<const char*>(p.dw);
    const auto look_ahead = [&]() PYCONV_INLINE_LAMBDA {
        prefetch_l2(dy_ahead);
        dy_ahead += p.dy_ahead.step;
#pragma GCC unroll 4
        for (int i = 0; i < kStride * kStride; ++i) {
            prefetch_l2(x_ahead);
            x_ahead += p.x_ahead.step;
        }
    };
    for (int top = 0; top < kSize; top += kHeight) {
        V sum[kHeight][kSize];
#pragma GCC unroll 5
        for (int r = 0; r < kHeight; ++r) {
#pragma GCC unroll 5
            for (int s = 0; s < kSize; ++s) sum[r][s] = V::zero();
        }
        for (std::int64_t row = 0; row < p.rows; ++row) {
            const T* const* in = p.in + row * kStride + top;
            const T* dy_row = p.dy + row * p.dy_row;
            const auto edge = [&](std::int64_t x) PYCONV_INLINE_LAMBDA {
                const V dy = load(dy_row + x * p.dy_pixel, lanes);
                const std::int64_t left = x * kStride - p.pad_left;
                look_ahead();
#pragma GCC unroll 5
                for (int s = 0; s < kSize; ++s) {
                    if (left + s < 0 || left + s >= p.in_width) continue;
#pragma GCC unroll 5
                    for (int r = 0; r < kHeight; ++r) {
                        sum[r][s] =
                            fma(dy, load(in[r] + (left + s) * p.in_pixel, lanes), sum[r][s]);
                    }
                }
            };
            for (std::int64_t x = 0; x < p.begin; ++x) edge(x);
            for (std::int64_t x = p.begin; x < p.end; ++x) {
                const V dy = load(dy_row + x * p.dy_pixel, lanes);
                const std::int64_t left = (x * kStride - p.pad_left) * p.in_pixel;
                look_ahead();
#pragma GCC unroll 5
                for (int r = 0; r < kHeight; ++r) {
                    const T* window = in[r] + left;
#pragma GCC unroll 5
                    for (int s = 0; s < kSize; ++s) {
                        sum[r][s] = fma(dy, load(window + s * p.in_pixel, lanes), sum[r][s]);
                    }
                }
            }
            for (std::int64_t x = p.end; x < p.columns; ++x) edge(x);
        }
        for (int r = 0; r < kHeight; ++r) {
            for (int s = 0; s < kSize; ++s) {
                T* dw = p.dw + ((top + r) * kSize + s) * p.dw_step;
                (V::load(dw) + sum[r][s]).store(dw);
            }
        }
    }
}

template <class T, int kSize, int kStride>
void depthwise_gradient(const DepthwiseGradient<T>& p) {
    if (p.lanes == Vec<T>::kLanes) {
        depthwise_gradient_rows<T, kSize, kStride, true>(p);
    } else {
        depthwise_gradient_rows<T, kSize, kStride, false>(p);
    }
}

template <class T>
void depthwise_gradient_pixel(const T* const* in, T* const* dw, int taps, const T* dy,
                              std::int64_t channels) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    for (std::int64_t c = 0; c < channels; c += kLanes) {
        const int lanes = channels - c < kLanes ? static_cast<int>(channels - c) : kLanes;
        const V d = load(dy + c, lanes);
        for (int t = 0; t < taps; ++t) {
            store(fma(load(in[t] + c, lanes), d, load(dw[t] + c, lanes)), dw[t] + c, lanes);
        }
    }
}

}  // namespace pyconv::PYCONV_ISA
