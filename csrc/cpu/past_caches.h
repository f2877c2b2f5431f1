// Whether a result is written past the caches.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "core/memory.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

// That pays here, it is large enough, and its rows of `row` elements all begin at a line of the
// cache.
template <class T>
bool goes_past_caches(const T* result, std::int64_t rows, std::int64_t row) {
    const std::int64_t bytes = row * static_cast<std::int64_t>(sizeof(T));
    const auto line = static_cast<std::int64_t>(kAlignment);
    return stores_past_caches() && rows * bytes >= tuning::past_caches &&
           (rows == 1 || bytes % line == 0) &&
           reinterpret_cast<std::uintptr_t>(result) % kAlignment == 0;
}

}  // namespace pyconv
