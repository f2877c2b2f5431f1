// Index arithmetic that host and device share.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/host_device.h"

namespace pyconv::cuda {

// n / divisor for 0 <= n < 2^31 by a multiplication: with s = ceil(log2 d), m = 2^(31+s) / d
// rounded up, the quotient is n m / 2^(31+s) (Granlund and Montgomery, 1994).
struct FastDivider {
    std::uint32_t divisor = 1, multiplier = 1u << 31, shift = 31;

    FastDivider() = default;
    explicit FastDivider(std::int64_t d) : divisor(static_cast<std::uint32_t>(d)) {
        std::uint32_t s = 0;
        while ((std::uint64_t{1} << s) < divisor) ++s;
        shift = 31 + s;
        multiplier =
            static_cast<std::uint32_t>(((std::uint64_t{1} << shift) + divisor - 1) / divisor);
    }
    PYCONV_HOST_DEVICE int divide(int n) const {
        return static_cast<int>(
            (static_cast<std::uint64_t>(static_cast<std::uint32_t>(n)) * multiplier) >> shift);
    }
    // The quotient; `rest` becomes the remainder.
    PYCONV_HOST_DEVICE int divide(int n, int& rest) const {
        const int quotient = divide(n);
        rest = n - quotient * static_cast<int>(divisor);
        return quotient;
    }
    // So that the formulas of csrc/core hold for it: a * d and a / d.
    PYCONV_HOST_DEVICE operator int() const { return static_cast<int>(divisor); }
    PYCONV_HOST_DEVICE friend int operator/(int n, const FastDivider& d) { return d.divide(n); }
};

// One number for each axis.
struct Axes {
    std::int64_t value[4] = {0, 0, 0, 0};
    PYCONV_HOST_DEVICE std::int64_t& operator[](int axis) { return value[axis]; }
    PYCONV_HOST_DEVICE const std::int64_t& operator[](int axis) const { return value[axis]; }
};

// Kernels count rows, columns and terms in 31 bits, and go past the end by less than a tile.
inline constexpr std::int64_t kMostRows = INT32_MAX - 1024;
inline int checked_int(const char* what, std::int64_t n) {
    if (n > kMostRows) {
        throw std::invalid_argument(std::string(what) + " must be at most " +
                                    std::to_string(kMostRows) + " on CUDA, got " +
                                    std::to_string(n));
    }
    return static_cast<int>(n);
}

constexpr std::int64_t divide_up(std::int64_t n, std::int64_t d) { return (n + d - 1) / d; }

// Whether all these pointers (null ones don't matter) take accesses of `bytes`.
template <class... T>
bool aligned_to(std::uintptr_t bytes, const T*... pointers) {
    return (reinterpret_cast<std::uintptr_t>(pointers) | ...) % bytes == 0;
}

}  // namespace pyconv::cuda
