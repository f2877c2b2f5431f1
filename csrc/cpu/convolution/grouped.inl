// Groups of few channels: the vectors hold whole groups, see grouped_kernels.h.
//
// A tap of a tile of Q pixels loads G vectors of the weight and Q of the input for G * Q FMAs: with
// groups of 4, 6 pixels on AVX-512: 24 sums, 10 loads for 24 FMAs (12 cycles). At the end G - 1
// turns and additions a pixel: 6 operations after the 36 FMAs of 3x3. Turning the inputs instead
// would take one for every 3 to 4 FMAs, on the port of the FMAs.
#pragma once

#include "cpu/activation/activate.h"
#include "cpu/convolution/grouped_kernels.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// A loaded vector stays in its register: GCC would load it again for each of three uses.
template <class T>
PYCONV_INLINE Vec<T> in_register(Vec<T> v) {
#if defined(PYCONV_ISA_avx512)
    __asm__("" : "+v"(v.v));
#elif defined(PYCONV_ISA_avx2)
    __asm__("" : "+x"(v.v));
#endif
    return v;
}

template <class T, int kSide, int kPixels, bool kExpand, bool kWhole>
PYCONV_INLINE void grouped_vector(const GroupedTile<T>& p, std::int64_t vector,
                                  const Epilogue<T>& e) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    const GroupLanes& g = *p.lanes;
    const std::int64_t first_in = vector * g.in;
    const std::int64_t first_out = vector * g.out;
    const std::int64_t in_left = p.in_channels - first_in;
    const int in_lanes = in_left < kLanes ? static_cast<int>(in_left) : kLanes;
    const Lanes expand = Lanes::load(g.expand);
    const auto input = [&](const T* x) PYCONV_INLINE_LAMBDA {
        if constexpr (kWhole) return V::load(x + first_in);
        const V v = load(x + first_in, in_lanes);
        if constexpr (kExpand) return permute(v, expand);
        return v;
    };
    V sum[kPixels][kSide];
#pragma GCC unroll 12
    for (int q = 0; q < kPixels; ++q) {
#pragma GCC unroll 8
        for (int d = 0; d < kSide; ++d) sum[q][d] = V::zero();
    }
#pragma GCC unroll 12
    for (int q = 0; q < kPixels; ++q) {
        __builtin_prefetch(p.out + q * p.out_pixel + first_out, 1, 3);
    }
    const T* const weight = p.weight + vector * p.weight_vector;
    const T* const* in = p.in;
    for (int t = 0; t < p.taps; ++t, in += p.in_tap) {
        const T* const w = weight + p.tap[t] * (kSide * kLanes);
        // The fewer of the two stay in registers.
        if constexpr (kSide <= kPixels) {
            V ws[kSide];
#pragma GCC unroll 8
            for (int d = 0; d < kSide; ++d) ws[d] = V::load(w + d * kLanes);
#pragma GCC unroll 12
            for (int q = 0; q < kPixels; ++q) {
                const V x = input(in[q]);
#pragma GCC unroll 8
                for (int d = 0; d < kSide; ++d) sum[q][d] = fma(x, ws[d], sum[q][d]);
            }
        } else {
            V x[kPixels];
#pragma GCC unroll 12
            for (int q = 0; q < kPixels; ++q) x[q] = input(in[q]);
#pragma GCC unroll 8
            for (int d = 0; d < kSide; ++d) {
                V wd = V::load(w + d * kLanes);
                if constexpr (kPixels > 2) wd = in_register(wd);
#pragma GCC unroll 12
                for (int q = 0; q < kPixels; ++q) sum[q][d] = fma(x[q], wd, sum[q][d]);
            }
        }
    }
    const std::int64_t out_left = p.out_channels - first_out;
    const int out_lanes = out_left < g.out ? static_cast<int>(out_left) : g.out;
    const V bias = e.bias ? load(e.bias + first_out, out_lanes) : V::zero();
#pragma GCC unroll 3
    for (int i = 0; 1 << i < kSide; ++i) {
        const Lanes turn = Lanes::load(g.turn[i]);
#pragma GCC unroll 12
        for (int q = 0; q < kPixels; ++q) {
#pragma GCC unroll 4
            for (int d = 0; d + (1 << i) < kSide; d += 2 << i) {
                sum[q][d] = sum[q][d] + permute(sum[q][d + (1 << i)], turn);
            }
        }
    }
    if constexpr (!kWhole) {
#pragma GCC unroll 12
        for (int q = 0; q < kPixels; ++q) {
            const V lanes = sum[q][0];
            sum[q][0] = permute(lanes, Lanes::load(g.collect[0]));
            for (int a = 1; a < g.squares_in; ++a) {
                sum[q][0] = sum[q][0] + permute(lanes, Lanes::load(g.collect[a]));
            }
        }
    }
    T* const out = p.out + first_out;
    const bool relu = e.activation == Activation::relu;
    if (e.residual_offset == 0 && (relu || e.activation == Activation::none)) {
#pragma GCC unroll 12
        for (int q = 0; q < kPixels; ++q) {
            V s = sum[q][0] + bias;
            if (relu) s = max(V::zero(), s);
            if constexpr (kWhole) {
                s.store(out + q * p.out_pixel);
            } else {
                store(s, out + q * p.out_pixel, out_lanes);
            }
        }
        return;
    }
    alignas(64) T sums[kPixels][kLanes];
#pragma GCC unroll 12
    for (int q = 0; q < kPixels; ++q) (sum[q][0] + bias).store(sums[q]);
    for (int q = 0; q < kPixels; ++q) {
        T* const to = out + q * p.out_pixel;
        V s = V::load(sums[q]);
        if (e.residual_offset != 0) {
            s = fma(V::broadcast(e.residual_scale), load(to + e.residual_offset, out_lanes), s);
        }
        store(activate(e.activation, s, e.slope), to, out_lanes);
    }
}

template <class T, int kSide, int kPixels, bool kExpand>
void grouped_tile(const GroupedTile<T>& p, const Epilogue<T>& e) {
    constexpr int kLanes = Vec<T>::kLanes;
    std::int64_t v = p.first;
    if constexpr (!kExpand && kLanes % kSide == 0) {
        const GroupLanes& g = *p.lanes;
        if (g.squares_in == 1 && g.in == kLanes) {
            for (; v < p.end && (v + 1) * kLanes <= p.in_channels; ++v) {
                grouped_vector<T, kSide, kPixels, kExpand, true>(p, v, e);
            }
        }
    }
    for (; v < p.end; ++v) grouped_vector<T, kSide, kPixels, kExpand, false>(p, v, e);
}

// The weight gradient: lane (A, B, r) of x times the output that its rotation adds to. dy is turned
// once for all taps.
template <class T, int kTurns, int kTaps, bool kExpand, bool kWhole>
PYCONV_INLINE void grouped_gradient_rectangle(const GroupedGradient<T>& p) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    const GroupLanes& g = *p.lanes;
    const Lanes expand = Lanes::load(g.expand);
    const Lanes first = Lanes::load(g.spread[p.first_turn]);
    const Lanes second = Lanes::load(g.spread[p.first_turn + kTurns - 1]);
    V sum[kTaps][kTurns];
#pragma GCC unroll 9
    for (int t = 0; t < kTaps; ++t) {
#pragma GCC unroll 2
        for (int d = 0; d < kTurns; ++d) sum[t][d] = V::load(p.sums[t] + d * kLanes);
    }
    const T* in[kTaps];
#pragma GCC unroll 9
    for (int t = 0; t < kTaps; ++t) in[t] = p.in[t];
    const char* x_ahead = p.x_ahead.at ? p.x_ahead.at : reinterpret_cast<const char*>(p.dy);
    const char* dy_ahead = p.dy_ahead.at ? p.dy_ahead.at : reinterpret_cast<const char*>(p.dy);
    for (std::int64_t y = 0; y < p.rows; ++y) {
        const T* dy = p.dy + y * p.dy_row;
        std::int64_t at = y * p.in_row;
        for (std::int64_t x = 0; x < p.columns; ++x, dy += p.dy_pixel, at += p.in_pixel) {
            const V lanes = kWhole ? V::load(dy) : load(dy, p.out_lanes);
            const V d0 = permute(lanes, first);
            prefetch_l2(x_ahead);
            x_ahead += p.x_ahead.step;
            prefetch_l2(dy_ahead);
            dy_ahead += p.dy_ahead.step;
            const V d1 = kTurns > 1 ? permute(lanes, second) : d0;
#pragma GCC unroll 9
            for (int t = 0; t < kTaps; ++t) {
                V v = kWhole ? V::load(in[t] + at) : load(in[t] + at, p.in_lanes);
                if constexpr (kExpand) v = permute(v, expand);
                sum[t][0] = fma(v, d0, sum[t][0]);
                if constexpr (kTurns > 1) sum[t][1] = fma(v, d1, sum[t][1]);
            }
        }
    }
#pragma GCC unroll 9
    for (int t = 0; t < kTaps; ++t) {
#pragma GCC unroll 2
        for (int d = 0; d < kTurns; ++d) sum[t][d].store(p.sums[t] + d * kLanes);
    }
}

template <class T, int kTurns, int kTaps, bool kExpand>
void grouped_gradient(const GroupedGradient<T>& p) {
    constexpr int kLanes = Vec<T>::kLanes;
    if (p.in_lanes == kLanes && p.out_lanes == kLanes) {
        grouped_gradient_rectangle<T, kTurns, kTaps, kExpand, true>(p);
    } else {
        grouped_gradient_rectangle<T, kTurns, kTaps, kExpand, false>(p);
    }
}

// Sums, the vectors that stay beside them and one more fill the registers.
template <class T>
constexpr int grouped_pixels(int side) {
    constexpr int kLanes = Vec<T>::kLanes;
    if (side > kLanes || side == 5 || side == 7) return 0;
#if defined(PYCONV_ISA_emulated512)
    return 3;  // for tests: every lane written out, each tile takes much room
#endif
    if (kLanes == 16) {
        constexpr int kPixels[] = {0, 12, 10, 8, 6, 0, 4, 0, 3};
        return kPixels[side];
    }
    constexpr int kPixels[] = {0, 12, 6, 4, 3, 0, 2, 0, 1};
    return kPixels[side];
}

template <class T, int kSide, int kPixels>
constexpr void add_group_pixels(GroupedKernels<T>& table) {
    if constexpr (kPixels >= 1) {
        table.tile[0][kSide][kPixels] = grouped_tile<T, kSide, kPixels, false>;
        table.tile[1][kSide][kPixels] = grouped_tile<T, kSide, kPixels, true>;
        add_group_pixels<T, kSide, kPixels - 1>(table);
    }
}

template <class T, int kSide>
constexpr void add_group_sides(GroupedKernels<T>& table) {
    if constexpr (kSide >= 1) {
        table.max_pixels[kSide] = grouped_pixels<T>(kSide);
        add_group_pixels<T, kSide, grouped_pixels<T>(kSide)>(table);
        add_group_sides<T, kSide - 1>(table);
    }
}

template <class T, int kTurns, int kTaps>
constexpr void add_group_gradients(GroupedKernels<T>& table) {
    if constexpr (kTaps >= 1) {
        table.gradient[0][kTurns][kTaps] = grouped_gradient<T, kTurns, kTaps, false>;
        table.gradient[1][kTurns][kTaps] = grouped_gradient<T, kTurns, kTaps, true>;
        add_group_gradients<T, kTurns, kTaps - 1>(table);
    }
}

template <class T>
constexpr GroupedKernels<T> make_grouped_table() {
    GroupedKernels<T> table{};
    table.lanes = Vec<T>::kLanes;
    add_group_sides<T, kMaxGroupSide>(table);
    add_group_gradients<T, 1, kMaxGradientTaps>(table);
    table.max_turns = 1;
#if !defined(PYCONV_ISA_emulated512)
    if constexpr (Vec<T>::kLanes == 16) {
        add_group_gradients<T, 2, kMaxGradientTaps>(table);
        table.max_turns = 2;
    }
#endif
    return table;
}

}  // namespace pyconv::PYCONV_ISA
