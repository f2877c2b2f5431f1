// The GEMM micro-kernels: a tile of kRows x (kVectors vectors) stays in registers while the sum
// runs. Every convolution that is not depthwise, and every dense layer, ends here.
//
// A step of the sum loads kVectors vectors of b and broadcasts one element of each row of a: for
// 6x16 on AVX2 12 FMAs (6 cycles) against 8 loads; for 14x32 on AVX-512 28 FMAs (14 cycles)
// against 16. The sums need kRows * kVectors registers, at least 8 of them to hide the latency of
// 4 cycles on two ports.
#pragma once

#include <type_traits>

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

// Calls f(sum, j, p) for every vector of a tile: vector j of a row, which belongs to p.
template <class T, int kRows, int kVectors, class Row, class Function>
PYCONV_INLINE void for_each_vector(Vec<T> (&sum)[kRows][kVectors], Row&& c, Function&& f) {
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
        T* const row = c(i);
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) f(sum[i][j], j, row + j * Vec<T>::kLanes);
    }
}

// The usual last steps, each a pass over the tile in registers; kWhole: the last vector is.
template <class T, int kRows, int kVectors, bool kWhole, class Row>
PYCONV_INLINE void finish_in_registers(Vec<T> (&sum)[kRows][kVectors], Row&& c, int last,
                                       const Epilogue<T>& e) {
    using V = Vec<T>;
    const auto load = [&](const T* p, int j) PYCONV_INLINE_LAMBDA {
        return kWhole || j < kVectors - 1 ? V::load(p) : V::load_partial(p, last);
    };
    if (e.accumulate) {
        for_each_vector<T>(
            sum, c, [&](V& s, int j, const T* p) PYCONV_INLINE_LAMBDA { s = s + load(p, j); });
    }
    if (e.bias) {
        V bias[kVectors];
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) bias[j] = load(e.bias + j * V::kLanes, j);
        for_each_vector<T>(sum, c,
                           [&](V& s, int j, const T*) PYCONV_INLINE_LAMBDA { s = s + bias[j]; });
    }
    if (e.residual_offset != 0) {
        const V scale = V::broadcast(e.residual_scale);
        for_each_vector<T>(sum, c, [&](V& s, int j, const T* p) PYCONV_INLINE_LAMBDA {
            s = fma(scale, load(p + e.residual_offset, j), s);
        });
    }
    if (e.activation != Activation::none) {
        for_each_vector<T>(sum, c,
                           [](V& s, int, const T*) PYCONV_INLINE_LAMBDA { s = max(V::zero(), s); });
        if (e.activation == Activation::relu6) {
            const V six = V::broadcast(T(6));
            for_each_vector<T>(
                sum, c, [six](V& s, int, const T*) PYCONV_INLINE_LAMBDA { s = min(six, s); });
        }
    }
    for_each_vector<T>(sum, c, [&](V& s, int j, T* p) PYCONV_INLINE_LAMBDA {
        if (kWhole || j < kVectors - 1) {
            s.store(p);
        } else {
            s.store_partial(p, last);
        }
    });
}

// Stores a tile; c(i) is its row i.
template <class T, int kRows, int kVectors, class Row>
PYCONV_INLINE void finish(Vec<T> (&sum)[kRows][kVectors], Row&& c, int last, const Epilogue<T>& e) {
    constexpr int kLanes = Vec<T>::kLanes;
    if (e.alpha == T(1) && e.activation <= Activation::relu6) {
        if (last == kLanes) {
            finish_in_registers<T, kRows, kVectors, true>(sum, c, last, e);
        } else {
            finish_in_registers<T, kRows, kVectors, false>(sum, c, last, e);
        }
        return;
    }
    T sums[kRows][kVectors * kLanes];
    for_each_vector<T>(
        sum, [&](int i) { return sums[i]; },
        [](Vec<T>& s, int, T* p) PYCONV_INLINE_LAMBDA { s.store(p); });
    for (int i = 0; i < kRows; ++i) finish_row(sums[i], c(i), kVectors, last, e);
}

// One step of rows that lie evenly: every third has a pointer, which the other two are found from.
// So all pointers fit the registers.
template <class T, int kRows, int kVectors, int kOffset>
PYCONV_INLINE void add_even_rows(const T* const* third, std::ptrdiff_t step,
                                 const Vec<T> (&w)[kVectors], Vec<T> (&sum)[kRows][kVectors]) {
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
        const T* const p = third[i / 3];
        if (i % 3 == 0) {
#pragma GCC unroll 3
            for (int j = 0; j < kVectors; ++j) {
                sum[i][j] = fma_broadcast(p + kOffset, w[j], sum[i][j]);
            }
            continue;
        }
        if (i % 3 == 1) {
            add_products_at<1, kOffset>(p, step, w, sum[i]);
        } else {
            add_products_at<2, kOffset>(p, step, w, sum[i]);
        }
    }
}

template <class T, int kRows, int kVectors>
PYCONV_INLINE void clear(Vec<T> (&sum)[kRows][kVectors]) {
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) sum[i][j] = Vec<T>::zero();
    }
}

// The lines of the result, and what is added to it, come while the sum runs.
template <int kRows, int kVectors, class T>
PYCONV_INLINE void bring_result(const RowTile<T>& tile, const Epilogue<T>& epilogue) {
    constexpr int kLanes = Vec<T>::kLanes;
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) prefetch_write(tile.c[i] + j * kLanes);
    }
    if (epilogue.residual_offset != 0) {
        for (int i = 0; i < kRows; ++i) {
            const T* const row = tile.c[i] + epilogue.residual_offset;
#pragma GCC unroll 3
            for (int j = 0; j < kVectors; ++j) prefetch(row + j * kLanes);
        }
    }
}

// Whether the rows of every tap lie at one distance.
template <int kRows, class T>
PYCONV_INLINE bool lies_evenly(const RowTile<T>& tile) {
    const T* const* const first = tile.a + tile.tap[0].a * tile.a_tap;
    const std::ptrdiff_t step = first[1] - first[0];
    bool evenly = true;
    for (std::int64_t t = 0; t < tile.taps; ++t) {
        const T* const* const a = tile.a + tile.tap[t].a * tile.a_tap;
#pragma GCC unroll 14
        for (int i = 1; i < kRows; ++i) evenly = evenly && a[i] - a[i - 1] == step;
    }
    return evenly;
}

// The tile where they do: every third row has a pointer, which the other two are found from, so
// that all pointers fit the registers, and its broadcast is part of the FMA. A step of 14 x 2 takes
// 46 slots of a processor that issues four instructions a cycle, and its FMAs the time of 56;
// row_tile takes 54, which is too much where two threads share a core.
template <class T, int kRows, int kVectors>
__attribute__((noinline)) void even_row_tile(const RowTile<T>& tile, const Epilogue<T>& epilogue) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    constexpr int kThirds = (kRows + 2) / 3;
    V sum[kRows][kVectors];
    clear(sum);
    bring_result<kRows, kVectors>(tile, epilogue);
    const std::int64_t depth = tile.depth;
    const std::int64_t step = tile.b_step;
    const T* const* const rows = tile.a + tile.tap[0].a * tile.a_tap;
    const std::ptrdiff_t bytes = (rows[1] - rows[0]) * static_cast<std::ptrdiff_t>(sizeof(T));
    // Where there is nothing to look ahead to, it looks at one line again and again.
    const char* ahead = tile.ahead ? tile.ahead : reinterpret_cast<const char*>(tile.b);
    const std::int64_t ahead_step = tile.ahead ? kLine : 0;
    for (std::int64_t t = 0; t < tile.taps; ++t) {
        const T* const* const a = tile.a + tile.tap[t].a * tile.a_tap;
        const T* b = tile.b + tile.tap[t].b * tile.b_tap;
        const T* third[kThirds];
#pragma GCC unroll 5
        for (int i = 0; i < kThirds; ++i) third[i] = a[3 * i];
        const auto product = [&](auto offset) PYCONV_INLINE_LAMBDA {
            constexpr int kOffset = decltype(offset)::value;
            V w[kVectors];
#pragma GCC unroll 3
            for (int j = 0; j < kVectors; ++j) w[j] = V::load(b + j * kLanes);
            prefetch(reinterpret_cast<const char*>(b) + 4096);
            b += step;
            prefetch_l2(ahead);
            ahead += ahead_step;
            add_even_rows<T, kRows, kVectors, kOffset>(third, bytes, w, sum);
        };
        std::int64_t k = 0;
        for (; k + 2 <= depth; k += 2) {
            product(std::integral_constant<int, 0>());
            product(std::integral_constant<int, 1>());
#pragma GCC unroll 5
            for (int i = 0; i < kThirds; ++i) third[i] += 2;
        }
        if (k < depth) product(std::integral_constant<int, 0>());
    }
    finish<T, kRows, kVectors>(sum, [&](int i) { return tile.c[i]; }, tile.last, epilogue);
}

template <class T, int kRows, int kVectors>
void row_tile(const RowTile<T>& tile, const Epilogue<T>& epilogue) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    if constexpr (kBroadcastsInFma && kRows > 7) {
        constexpr std::int64_t kLeast = 20;  // fewer steps don't pay for the look at the rows
        if (tile.taps > 0 && tile.depth >= kLeast && lies_evenly<kRows>(tile)) {
            even_row_tile<T, kRows, kVectors>(tile, epilogue);
            return;
        }
    }
    V sum[kRows][kVectors];
    clear(sum);
    bring_result<kRows, kVectors>(tile, epilogue);
    // The pointers of more than seven rows don't fit the registers, and a processor that decodes
    // four instructions a cycle has little room beside two FMAs: two steps share what they can, and
    // there is a loop without the prefetches that lie further ahead.
    constexpr bool kTall = kRows > 7;
    constexpr int kUnroll = kTall ? 2 : 1;
    const std::int64_t depth = tile.depth;
    const std::int64_t step = tile.b_step;
    const char* ahead = tile.ahead;
    const auto add_products = [&](auto looks_ahead) PYCONV_INLINE_LAMBDA {
        for (std::int64_t t = 0; t < tile.taps; ++t) {
            const T* a[kRows];
#pragma GCC unroll 14
            for (int i = 0; i < kRows; ++i) a[i] = tile.a[tile.tap[t].a * tile.a_tap + i];
            const T* b = tile.b + tile.tap[t].b * tile.b_tap;
            const auto product = [&](std::int64_t k, int u) PYCONV_INLINE_LAMBDA {
                const T* const from = b + u * step;
                V w[kVectors];
#pragma GCC unroll 3
                for (int j = 0; j < kVectors; ++j) w[j] = V::load(from + j * kLanes);
                prefetch(reinterpret_cast<const char*>(from) + 4096);
                if constexpr (looks_ahead) {
                    prefetch_l2(ahead);
                    ahead += kLine;
                }
#pragma GCC unroll 14
                for (int i = 0; i < kRows; ++i) {
                    const V x = V::broadcast(a[i][k + u]);
#pragma GCC unroll 3
                    for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(x, w[j], sum[i][j]);
                }
            };
            std::int64_t k = 0;
            for (; k + kUnroll <= depth; k += kUnroll, b += kUnroll * step) {
#pragma GCC unroll 2
                for (int u = 0; u < kUnroll; ++u) product(k, u);
            }
            if (k < depth) product(k, 0);
        }
    };
    if (kFusedMultiplyAdd && ahead) {  // else it isn't made for speed, but to be small
        add_products(std::true_type());
    } else {
        add_products(std::false_type());
    }
    finish<T, kRows, kVectors>(sum, [&](int i) { return tile.c[i]; }, tile.last, epilogue);
}

template <class T, int kRows, int kVectors>
void outer_tile(const OuterTile<T>& tile, const Epilogue<T>& epilogue) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    V sum[kRows][kVectors];
    clear(sum);
    // As above: two steps share what they can, and there is a loop without far prefetches.
    constexpr int kUnroll = kRows > 7 ? 2 : 1;
    const T* b = tile.b;
    const std::int64_t step = tile.b_step;
    const char* ahead = tile.ahead.at;
    const auto add_products = [&](auto looks_ahead) PYCONV_INLINE_LAMBDA {
        const auto outer_product = [&](const T* a, int u) PYCONV_INLINE_LAMBDA {
            V w[kVectors];
#pragma GCC unroll 3
            for (int j = 0; j < kVectors; ++j) w[j] = V::load(b + u * step + j * kLanes);
            if constexpr (looks_ahead) {
                prefetch_l2(ahead);
                ahead += tile.ahead.step;
            }
#pragma GCC unroll 14
            for (int i = 0; i < kRows; ++i) {
                const V x = V::broadcast(a[i]);
#pragma GCC unroll 3
                for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(x, w[j], sum[i][j]);
            }
        };
        const std::int64_t depth = tile.depth;
        std::int64_t k = 0;
        if (tile.offset) {
            for (; k + kUnroll <= depth; k += kUnroll, b += kUnroll * step) {
#pragma GCC unroll 2
                for (int u = 0; u < kUnroll; ++u) {
                    prefetch(reinterpret_cast<const char*>(b + u * step) + 2048);
                    outer_product(tile.a + tile.offset[k + u], u);
                }
            }
            if (k < depth) outer_product(tile.a + tile.offset[k], 0);
        } else {
            // Rows that lie where they are used come from L2 and further: some steps ahead.
            constexpr std::int64_t kAhead = 12;
            const std::int64_t a_soon = kAhead * tile.a_step;
            const std::int64_t b_soon = kAhead * step;
            for (const T* a = tile.a; k < depth; ++k, a += tile.a_step, b += step) {
                prefetch(a + a_soon);
#pragma GCC unroll 3
                for (int j = 0; j < kVectors; ++j) prefetch(b + b_soon + j * kLanes);
                outer_product(a, 0);
            }
        }
    };
    if (kFusedMultiplyAdd && ahead) {
        add_products(std::true_type());
    } else {
        add_products(std::false_type());
    }
    finish<T, kRows, kVectors>(
        sum, [&](int i) { return tile.c + i * tile.c_step; }, tile.last, epilogue);
}

}  // namespace pyconv::PYCONV_ISA
