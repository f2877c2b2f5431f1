// The GEMM micro-kernels: a tile of kRows x (kVectors vectors) stays in registers while the sum
// runs. Every convolution that is not depthwise, and every dense layer, ends here.
//
// A step of the sum loads kVectors vectors of b and broadcasts one element of each row of a: for
// 6x16 on AVX2 12 FMAs (6 cycles) against 8 loads; for 14x32 on AVX-512 28 FMAs (14 cycles)
// against 16. The sums need kRows * kVectors registers, at least 8 of them to hide the latency of
// 4 cycles on two ports.
#pragma once

#include "cpu/activation/activate.h"
#include "cpu/dense/tile.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// One row of a tile with all that an epilogue can ask for. It lies in memory, so that the code is
// there once and not for every height.
template <class T>
__attribute__((noinline)) void finish_row(const T* sums, T* row, int vectors, int last,
                                          const Epilogue<T>& e) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    for (int j = 0; j < vectors; ++j) {
        const int lanes = j == vectors - 1 ? last : kLanes;
        T* const p = row + j * kLanes;
        const auto load = [lanes](const T* from) {
            return lanes == kLanes ? V::load(from) : V::load_partial(from, lanes);
        };
        V s = V::load(sums + j * kLanes) * V::broadcast(e.alpha);
        if (e.accumulate) s = s + load(p);
        if (e.bias) s = s + load(e.bias + j * kLanes);
        if (e.residual_offset != 0) {
            s = fma(V::broadcast(e.residual_scale), load(p + e.residual_offset), s);
        }
        s = activate(e.activation, s, e.slope);
        if (lanes == kLanes) {
            s.store(p);
        } else {
            s.store_partial(p, lanes);
        }
    }
}

// The usual last steps, unrolled with the tile in registers; kWhole: the last vector is.
template <class T, int kRows, int kVectors, bool kWhole, class Row>
PYCONV_INLINE void finish_plain(Vec<T> (&sum)[kRows][kVectors], Row&& c, int last, const T* bias,
                                bool relu) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    V biases[kVectors];
#pragma GCC unroll 3
    for (int j = 0; j < kVectors; ++j) {
        const bool whole = kWhole || j < kVectors - 1;
        biases[j] = !bias   ? V::zero()
                    : whole ? V::load(bias + j * kLanes)
                            : V::load_partial(bias + j * kLanes, last);
    }
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
        T* const row = c(i);
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) {
            V s = sum[i][j] + biases[j];
            if (relu) s = max(V::zero(), s);
            if (kWhole || j < kVectors - 1) {
                s.store(row + j * kLanes);
            } else {
                s.store_partial(row + j * kLanes, last);
            }
        }
    }
}

template <class T, int kRows, int kVectors, bool kWhole, class Row>
PYCONV_INLINE void finish_adding(Vec<T> (&sum)[kRows][kVectors], Row&& c, int last) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
        T* const row = c(i);
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) {
            T* const p = row + j * kLanes;
            if (kWhole || j < kVectors - 1) {
                (sum[i][j] + V::load(p)).store(p);
            } else {
                (sum[i][j] + V::load_partial(p, last)).store_partial(p, last);
            }
        }
    }
}

// Stores a tile; c(i) is its row i.
template <class T, int kRows, int kVectors, class Row>
PYCONV_INLINE void finish(Vec<T> (&sum)[kRows][kVectors], Row&& c, int last, const Epilogue<T>& e) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    const bool relu = e.activation == Activation::relu;
    if (e.alpha == T(1) && e.residual_offset == 0 && (e.activation == Activation::none || relu)) {
        if (!e.accumulate) {
            if (last == kLanes) {
                finish_plain<T, kRows, kVectors, true>(sum, c, last, e.bias, relu);
            } else {
                finish_plain<T, kRows, kVectors, false>(sum, c, last, e.bias, relu);
            }
            return;
        }
        if (!e.bias && !relu) {
            if (last == kLanes) {
                finish_adding<T, kRows, kVectors, true>(sum, c, last);
            } else {
                finish_adding<T, kRows, kVectors, false>(sum, c, last);
            }
            return;
        }
    }
    alignas(64) T sums[kRows][kVectors * kLanes];
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) sum[i][j].store(&sums[i][j * kLanes]);
    }
    for (int i = 0; i < kRows; ++i) finish_row(sums[i], c(i), kVectors, last, e);
}

template <class T, int kRows, int kVectors>
void row_tile(const RowTile<T>& tile, const Epilogue<T>& epilogue) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    V sum[kRows][kVectors];
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) sum[i][j] = V::zero();
    }
    // The lines of the result come while the sum runs.
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) __builtin_prefetch(tile.c[i] + j * kLanes, 1, 3);
    }
    const std::int64_t depth = tile.depth;
    const std::int64_t step = tile.b_step;
    const char* ahead = tile.ahead.at ? tile.ahead.at : reinterpret_cast<const char*>(tile.b);
    const std::int64_t ahead_step = tile.ahead.step;
    for (std::int64_t t = 0; t < tile.taps; ++t) {
        const T* a[kRows];
#pragma GCC unroll 14
        for (int i = 0; i < kRows; ++i) a[i] = tile.a[tile.tap[t].a * tile.a_tap + i];
        const T* b = tile.b + tile.tap[t].b * tile.b_tap;
        for (std::int64_t k = 0; k < depth; ++k) {
            V w[kVectors];
#pragma GCC unroll 3
            for (int j = 0; j < kVectors; ++j) w[j] = V::load(b + j * kLanes);
            prefetch(reinterpret_cast<const char*>(b) + 4096);
            prefetch_l2(ahead);
            ahead += ahead_step;
#pragma GCC unroll 14
            for (int i = 0; i < kRows; ++i) {
                const V x = V::broadcast(a[i][k]);
#pragma GCC unroll 3
                for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(x, w[j], sum[i][j]);
            }
            b += step;
        }
    }
    finish<T, kRows, kVectors>(sum, [&](int i) { return tile.c[i]; }, tile.last, epilogue);
}

template <class T, int kRows, int kVectors>
void outer_tile(const OuterTile<T>& tile, const Epilogue<T>& epilogue) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    V sum[kRows][kVectors];
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) sum[i][j] = V::zero();
    }
    const T* b = tile.b;
    const std::int64_t step = tile.b_step;
    const char* a_ahead = tile.a_ahead.at ? tile.a_ahead.at : reinterpret_cast<const char*>(b);
    const char* b_ahead = tile.b_ahead.at ? tile.b_ahead.at : reinterpret_cast<const char*>(b);
    const auto outer_product = [&](const T* a) PYCONV_INLINE_LAMBDA {
        V w[kVectors];
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) w[j] = V::load(b + j * kLanes);
        prefetch_l2(a_ahead);
        a_ahead += tile.a_ahead.step;
        prefetch_l2(b_ahead);
        b_ahead += tile.b_ahead.step;
#pragma GCC unroll 14
        for (int i = 0; i < kRows; ++i) {
            const V x = V::broadcast(a[i]);
#pragma GCC unroll 3
            for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(x, w[j], sum[i][j]);
        }
        b += step;
    };
    if (tile.offset) {
        for (std::int64_t k = 0; k < tile.depth; ++k) outer_product(tile.a + tile.offset[k]);
    } else {
        const T* a = tile.a;
        // Rows that lie where they are used come from L2 and further: some steps ahead.
        constexpr std::int64_t kAhead = 12;
        const std::int64_t a_soon = kAhead * tile.a_step;
        const std::int64_t b_soon = kAhead * step;
        for (std::int64_t k = 0; k < tile.depth; ++k, a += tile.a_step) {
            prefetch(a + a_soon);
#pragma GCC unroll 3
            for (int j = 0; j < kVectors; ++j) prefetch(b + b_soon + j * kLanes);
            outer_product(a);
        }
    }
    finish<T, kRows, kVectors>(
        sum, [&](int i) { return tile.c + i * tile.c_step; }, tile.last, epilogue);
}

}  // namespace pyconv::PYCONV_ISA
