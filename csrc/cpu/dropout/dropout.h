// Dropout, by random numbers that depend on the seed and on an entry's place alone.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyconv {

// The place of an entry is its flat index in the order image, channel, pixel. In memory the
// channels come last; with one channel that is a flat array.
struct DropoutShape {
    std::int64_t images, channels, pixels;
};

template <class T>
void dropout(Isa isa, const DropoutShape& shape, double p, std::uint64_t seed, const T* x, T* y,
             bool* mask);

// y = x / (1 - p) where the mask is set, else 0.
template <class T>
void dropout_backward(Isa isa, std::int64_t n, double p, const T* x, const bool* mask, T* y);

}  // namespace pyconv
