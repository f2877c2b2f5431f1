// The table of the dropout family's micro-kernels.
#pragma once

#include "core/isa.h"

namespace pyconv {

// What decides over an entry: the key of the random numbers, and the least upper 24 bits of a word
// that keep it.
struct Dropping {
    std::uint32_t key[2];
    std::uint32_t threshold;
};

template <class T>
struct DropoutKernels {
    // keep[i] = 1 or 0 for the entries from the flat index `first` on.
    void (*keep)(const Dropping& dropping, std::uint64_t first, std::int64_t n, std::uint8_t* keep);
    // to[j * to_step + i] = from[i * from_step + j] for i < rows, j < columns.
    void (*transpose)(const std::uint8_t* from, std::int64_t from_step, std::int64_t rows,
                      std::int64_t columns, std::uint8_t* to, std::int64_t to_step);
    // y = scale x where kept, else 0.
    void (*apply)(const T* x, const std::uint8_t* keep, T* y, std::int64_t n, T scale);
};

PYCONV_KERNEL_TABLE(DropoutKernels, dropout_kernels)

}  // namespace pyconv
