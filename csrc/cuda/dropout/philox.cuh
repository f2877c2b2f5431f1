// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, 2011): four 32-bit words from a counter and a key,
// by ten rounds of two products 32 x 32 -> 64 bits.
#pragma once

#include <cstdint>

namespace pyconv::cuda {

struct Words {
    std::uint32_t value[4];
};

__device__ inline Words philox(std::uint64_t counter, std::uint64_t key) {
    std::uint32_t c0 = static_cast<std::uint32_t>(counter);
    std::uint32_t c1 = static_cast<std::uint32_t>(counter >> 32);
    std::uint32_t c2 = 0, c3 = 0;
    std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
        const std::uint64_t p0 = static_cast<std::uint64_t>(0xD2511F53u) * c0;
        const std::uint64_t p1 = static_cast<std::uint64_t>(0xCD9E8D57u) * c2;
        c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
        c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
        c1 = static_cast<std::uint32_t>(p1);
        c3 = static_cast<std::uint32_t>(p0);
    }
    return {{c0, c1, c2, c3}};
}

}  // namespace pyconv::cuda
