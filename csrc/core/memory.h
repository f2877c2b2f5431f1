// Memory for results (a caching pool) and for scratch (an arena per thread).
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyconv {

inline constexpr std::size_t kAlignment = 64;

// A block of at least `bytes`, 64-byte aligned; from 2 MiB on it lies on huge pages where the
// system has them. Throws std::bad_alloc.
void* pool_allocate(std::size_t bytes);
// Any thread may call this at any time, also while the process ends.
void pool_release(void* block);
// Gives the cached blocks back to the system.
void pool_trim();

struct PoolStatistics {
    std::size_t live;        // bytes in use
    std::size_t cached;      // bytes kept for the next request
    std::size_t high_water;  // most bytes in use since the last trim
};
PoolStatistics pool_statistics();

// Scratch memory of the calling thread, taken in stack order and given back by the scope's end.
class Scratch {
  public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    void* bytes(std::size_t count);
    template <class T>
    T* take(std::int64_t count) {
        return static_cast<T*>(bytes(static_cast<std::size_t>(count) * sizeof(T)));
    }

  private:
    std::size_t mark_;
};

}  // namespace pyconv
