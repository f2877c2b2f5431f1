#include "core/precision.h"

#include <atomic>

namespace pyconv {

namespace {

std::atomic<bool> default_strict{false};
thread_local std::optional<bool> thread_strict;

}  // namespace

bool strict_float32() {
    return thread_strict.value_or(default_strict.load(std::memory_order_relaxed));
}
void set_default_strict(bool strict) { default_strict.store(strict, std::memory_order_relaxed); }
void set_thread_strict(std::optional<bool> strict) { thread_strict = strict; }

}  // namespace pyconv
