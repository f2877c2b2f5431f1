// What a GEMM micro-kernel is told: one tile of the result, computed in registers.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace pyconv {

// The last step: c <- activation(alpha * sums + bias + residual_scale * residual [+ c]).
template <class T>
struct Epilogue {
    T alpha = 1;
    bool accumulate = false;             // add to what c holds
    const T* bias = nullptr;             // of the tile's first column
    std::ptrdiff_t residual_offset = 0;  // from an element of c to that of the residual, or 0
    T residual_scale = 1;
    Activation activation = Activation::none;
    T slope = 0;
};

// A line of the caches, in bytes.
inline constexpr std::int64_t kLine = 64;

// Memory that comes after what a tile reads: it is brought into L2 while the sum runs, `step` bytes
// each time that k goes on. The hardware can't guess it where rows are read side by side.
struct Ahead {
    const char* at = nullptr;
    std::int64_t step = 0;

    // What is left after `count` steps.
    Ahead after(std::int64_t count) const { return {at + count * step, step}; }
};

// `bytes` from `at` on, shared out over `steps` steps; at most a line a step.
inline Ahead spread_ahead(const void* at, std::int64_t bytes, std::int64_t steps) {
    if (!at || bytes <= 0 || steps <= 0) return {};
    const std::int64_t step = (bytes + steps - 1) / steps;
    return {static_cast<const char*>(at), step < kLine ? step : kLine};
}

// Rows of A by pointers: the sum runs over `taps` runs of `depth` neighbouring elements each.
//   c[i][j] = sum over t, k of a[tap[t].a * a_tap + i][k] * b[tap[t].b * b_tap + k * b_step + j]
struct TapPair {
    std::int32_t a, b;
};

template <class T>
struct RowTile {
    const T* const* a;
    std::int64_t a_tap;  // pointers from one tap to the next
    const TapPair* tap;  // which taps take part
    std::int64_t taps;
    std::int64_t depth;
    const T* b;
    std::int64_t b_tap;
    std::int64_t b_step;
    T* const* c;
    int last;                     // columns in the last vector; the others are whole
    const char* ahead = nullptr;  // brought into L2, a line for each step of the sum
};

// Outer products: column k of A is `rows` neighbouring elements at a + offset[k] (or a + k * a_step
// where offset is null).
//   c[i][j] = sum over k of a[.. + i] * b[k * b_step + j]
template <class T>
struct OuterTile {
    const T* a;
    std::int64_t a_step;
    const std::int32_t* offset;
    std::int64_t depth;
    const T* b;
    std::int64_t b_step;
    T* c;
    std::int64_t c_step;  // elements from one row of c to the next
    int last;
    Ahead ahead = {};
};

inline constexpr int kMaxTileRows = 14;
inline constexpr int kMaxTileVectors = 3;

template <class T>
using RowTileFunction = void (*)(const RowTile<T>&, const Epilogue<T>&);
template <class T>
using OuterTileFunction = void (*)(const OuterTile<T>&, const Epilogue<T>&);

}  // namespace pyconv
