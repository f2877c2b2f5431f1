// Pooling micro-kernels: four vectors at a time, neighbours along the channels, or (what is left
// over of them) one of each of four outputs, so that four chains of operations overlap.
#pragma once

#include "cpu/pooling/kernels.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// Terms of a sum that are added up before they join the rest: the error grows with the longest
// chain, not with the window.
inline constexpr std::int64_t kChain = 64;

// Integers, as the bits of a Vec.
template <class T, class L>
PYCONV_INLINE Vec<T> load_integers(const LaneInteger<T>* p, L lanes) {
    return load(reinterpret_cast<const T*>(p), lanes);
}
template <class T, class L>
PYCONV_INLINE void store_integers(Vec<T> v, LaneInteger<T>* p, L lanes) {
    store(v, reinterpret_cast<T*>(p), lanes);
}

// A block of vectors: the first lies at these offsets, each other one that much further on.
struct Block {
    std::int64_t in, out;            // of the first vector
    std::int64_t in_next, out_next;  // from a vector to the next
    std::int64_t output, output_next;
};

// f(count of vectors, lanes, block), over all vectors of a run.
template <class T, class P, class F>
PYCONV_INLINE void for_blocks(const P& p, F&& f) {
    constexpr int kLanes = Vec<T>::kLanes;
    using Four = std::integral_constant<int, 4>;
    using One = std::integral_constant<int, 1>;
    const std::int64_t wide = p.channels / (4 * kLanes) * (4 * kLanes);
    if (wide > 0) {
        for (std::int64_t q = 0; q < p.count; ++q) {
            for (std::int64_t c = 0; c < wide; c += 4 * kLanes) {
                f(Four(), Whole<T>(),
                  Block{q * p.in_step + c, q * p.out_step + c, kLanes, kLanes, q, 0});
            }
        }
    }
    for (std::int64_t c = wide; c < p.channels; c += kLanes) {
        const auto sweep = [&](auto lanes) PYCONV_INLINE_LAMBDA {
            std::int64_t q = 0;
            for (; q + 4 <= p.count; q += 4) {
                f(Four(), lanes,
                  Block{q * p.in_step + c, q * p.out_step + c, p.in_step, p.out_step, q, 1});
            }
            for (; q < p.count; ++q) {
                f(One(), lanes, Block{q * p.in_step + c, q * p.out_step + c, 0, 0, q, 0});
            }
        };
        if (p.channels - c >= kLanes) {
            sweep(Whole<T>());
        } else {
            sweep(static_cast<int>(p.channels - c));
        }
    }
}

template <class T, bool kWeighted>
PYCONV_INLINE void sum_run_with(const SumRun<T>& p) {
    using V = Vec<T>;
    for_blocks<T>(p, [&](auto vectors, auto lanes, const Block& block) PYCONV_INLINE_LAMBDA {
        constexpr int kCount = decltype(vectors)::value;
        const T* const in = p.in + block.in;
        V total[kCount];
#pragma GCC unroll 4
        for (int v = 0; v < kCount; ++v) total[v] = V::zero();
        for (std::int64_t begin = 0; begin < p.taps; begin += kChain) {
            const std::int64_t end = begin + kChain < p.taps ? begin + kChain : p.taps;
            V sum[kCount];
#pragma GCC unroll 4
            for (int v = 0; v < kCount; ++v) sum[v] = V::zero();
            std::int64_t tap = begin;
            if constexpr (!kWeighted) {
                for (; tap + 2 <= end; tap += 2) {
                    const T* const cell = in + p.offsets[tap];
                    const T* const next = in + p.offsets[tap + 1];
#pragma GCC unroll 4
                    for (int v = 0; v < kCount; ++v) {
                        sum[v] = sum[v] + (load(cell + v * block.in_next, lanes) +
                                           load(next + v * block.in_next, lanes));
                    }
                }
            }
            for (; tap < end; ++tap) {
                const T* const cell = in + p.offsets[tap];
                const V weight = kWeighted ? V::broadcast(p.weights[tap]) : V::zero();
#pragma GCC unroll 4
                for (int v = 0; v < kCount; ++v) {
                    const V value = load(cell + v * block.in_next, lanes);
                    sum[v] = kWeighted ? fma(value, weight, sum[v]) : sum[v] + value;
                }
            }
#pragma GCC unroll 4
            for (int v = 0; v < kCount; ++v) total[v] = total[v] + sum[v];
        }
        if (p.divisor != T(1)) {
            const V divisor = V::broadcast(p.divisor);
#pragma GCC unroll 4
            for (int v = 0; v < kCount; ++v) total[v] = total[v] / divisor;
        }
#pragma GCC unroll 4
        for (int v = 0; v < kCount; ++v) {
            put_in_order(total[v], p.out + block.out + v * block.out_next, lanes, p.past_caches);
        }
    });
}

// A single cell as it is: nearest neighbours, padding.
template <class T>
PYCONV_INLINE void copy_run(const SumRun<T>& p) {
    const T* const in = p.in + p.offsets[0];
    for_blocks<T>(p, [&](auto vectors, auto lanes, const Block& block) PYCONV_INLINE_LAMBDA {
#pragma GCC unroll 4
        for (int v = 0; v < decltype(vectors)::value; ++v) {
            put_in_order(load(in + block.in + v * block.in_next, lanes),
                         p.out + block.out + v * block.out_next, lanes, p.past_caches);
        }
    });
}

template <class T>
void sum_run(const SumRun<T>& p) {
    if (p.weights) {
        sum_run_with<T, true>(p);
    } else if (p.taps == 1 && p.divisor == T(1)) {
        copy_run(p);
    } else {
        sum_run_with<T, false>(p);
    }
    if (p.past_caches) stream_fence();
}

template <class T, bool kIndex>
PYCONV_INLINE void max_run_with(const MaxRun<T>& p) {
    using V = Vec<T>;
    using Integer = LaneInteger<T>;
    for_blocks<T>(p, [&](auto vectors, auto lanes, const Block& block) PYCONV_INLINE_LAMBDA {
        constexpr int kCount = decltype(vectors)::value;
        const T* const in = p.in + block.in;
        // Numbers of the taps, for the first vector's output and the others'.
        const auto number = [&](std::int64_t tap, int v) PYCONV_INLINE_LAMBDA {
            if (p.places) {
                return load_integers<T>(p.places + p.offsets[tap] + block.in + v * block.in_next,
                                        lanes);
            }
            const auto output = static_cast<Integer>(block.output + v * block.output_next);
            return V::from_bits(p.numbers[tap] + output * p.number_step);
        };
        V best[kCount], index[kCount];
#pragma GCC unroll 4
        for (int v = 0; v < kCount; ++v) {
            best[v] = load(in + p.offsets[0] + v * block.in_next, lanes);
            if constexpr (kIndex) index[v] = number(0, v);
        }
        for (std::int64_t tap = 1; tap < p.taps; ++tap) {
            const T* const cell = in + p.offsets[tap];
#pragma GCC unroll 4
            for (int v = 0; v < kCount; ++v) {
                const V value = load(cell + v * block.in_next, lanes);
                if constexpr (kIndex) {
                    const auto stays = less_equal(value, best[v]) | is_nan(best[v]);
                    best[v] = select(stays, best[v], value);
                    index[v] = select(stays, index[v], number(tap, v));
                } else {
                    // max gives its second operand where either is NaN.
                    best[v] = select(is_nan(value), value, max(value, best[v]));
                }
            }
        }
#pragma GCC unroll 4
        for (int v = 0; v < kCount; ++v) {
            const std::int64_t at = block.out + v * block.out_next;
            if (p.relu) {
                const auto flat = less_equal(best[v], V::zero());
                best[v] = select(flat, V::zero(), best[v]);
                if constexpr (kIndex) index[v] = select(flat, V::from_bits(-1), index[v]);
            }
            store(best[v], p.out + at, lanes);
            if constexpr (kIndex) store_integers<T>(index[v], p.index + at, lanes);
        }
    });
}

template <class T>
void max_run(const MaxRun<T>& p) {
    if (p.index) {
        max_run_with<T, true>(p);
    } else {
        max_run_with<T, false>(p);
    }
}

template <class T>
void max_gradient_run(const MaxGradientRun<T>& p) {
    using V = Vec<T>;
    using Integer = LaneInteger<T>;
    for_blocks<T>(p, [&](auto vectors, auto lanes, const Block& block) PYCONV_INLINE_LAMBDA {
        constexpr int kCount = decltype(vectors)::value;
        V sum[kCount], number[kCount];
#pragma GCC unroll 4
        for (int v = 0; v < kCount; ++v) {
            const auto output = static_cast<Integer>(block.output + v * block.output_next);
            sum[v] = V::zero();
            number[v] = p.places
                            ? load_integers<T>(p.places + block.out + v * block.out_next, lanes)
                            : V::from_bits(p.number + output * p.number_step);
        }
        for (std::int64_t tap = 0; tap < p.taps; ++tap) {
            const std::int64_t cell = block.in + p.offsets[tap];
#pragma GCC unroll 4
            for (int v = 0; v < kCount; ++v) {
                const std::int64_t at = cell + v * block.in_next;
                const auto won = equal_bits(load_integers<T>(p.index + at, lanes), number[v]);
                sum[v] = sum[v] + select(won, load(p.in + at, lanes), V::zero());
            }
        }
#pragma GCC unroll 4
        for (int v = 0; v < kCount; ++v) {
            store(sum[v], p.out + block.out + v * block.out_next, lanes);
        }
    });
}

}  // namespace pyconv::PYCONV_ISA
