// Which entries are kept, and the scaling of those. Plain loops, which the compiler vectorises.
#pragma once

#include <cstring>
#include <type_traits>

#include "cpu/dropout/kernels.h"
#include "cpu/dropout/philox.inl"

namespace pyconv::PYCONV_ISA {

// Entry i takes word i % 4 of the counter i / 4.
inline void keep(const Dropping& dropping, std::uint64_t first, std::int64_t n,
                 std::uint8_t* result) {
    constexpr std::int64_t kBlock = 1024;
    alignas(64) std::uint32_t words[kBlock + 4 * kPhiloxStep];
    const auto threshold = static_cast<std::int32_t>(dropping.threshold);
    while (n > 0) {
        const auto skip = static_cast<std::int64_t>(first % 4);
        const std::int64_t count = n < kBlock - skip ? n : kBlock - skip;
        philox(first / 4, (skip + count + 3) / 4, dropping.key, words);
        const std::uint32_t* const from = words + skip;
        for (std::int64_t i = 0; i < count; ++i) {
            result[i] = static_cast<std::int32_t>(from[i] >> 8) >= threshold;
        }
        first += static_cast<std::uint64_t>(count);
        result += count;
        n -= count;
    }
}

// Blocks of eight rows, so that their lines are read whole while they are in the cache.
inline void transpose(const std::uint8_t* from, std::int64_t from_step, std::int64_t rows,
                      std::int64_t columns, std::uint8_t* to, std::int64_t to_step) {
    std::int64_t i = 0;
    for (; i + 8 <= rows; i += 8) {
        const std::uint8_t* const block = from + i * from_step;
        for (std::int64_t j = 0; j < columns; ++j) {
            std::uint64_t bytes = 0;
            for (int k = 0; k < 8; ++k) {
                bytes |= static_cast<std::uint64_t>(block[k * from_step + j]) << (8 * k);
            }
            for (int k = 0; k < 8; ++k) {
                to[j * to_step + i + k] = static_cast<std::uint8_t>(bytes >> (8 * k));
            }
        }
    }
    for (; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) to[j * to_step + i] = from[i * from_step + j];
    }
}

// The choice is an "and" of bits, which the compiler vectorises where it doesn't a condition.
template <class T>
void apply(const T* x, const std::uint8_t* keep, T* y, std::int64_t n, T scale) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    for (std::int64_t i = 0; i < n; ++i) {
        T value = x[i] * scale;
        Bits bits;
        std::memcpy(&bits, &value, sizeof bits);
        bits &= -static_cast<Bits>(keep[i] != 0);
        std::memcpy(&value, &bits, sizeof bits);
        y[i] = value;
    }
}

}  // namespace pyconv::PYCONV_ISA
