#include "core/memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <limits>
#include <mutex>
#include <new>
#include <vector>

namespace pyconv {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// A block's size class stands in front of it.
struct Header {
    std::size_t size;
    int size_class;
};
static_assert(sizeof(Header) <= kAlignment);

// Large blocks are mapped by themselves: malloc would lose half as much again to the gaps between
// blocks of this alignment, and keep what is given back.
void* map_huge_pages(std::size_t size) {
    void* const mapped =
        mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    char* const begin = static_cast<char*>(mapped);
    const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(begin)) % kHugePage;
    const std::size_t used = before + (size + page - 1) / page * page;
    if (before > 0) munmap(begin, before);
    munmap(begin + used, size + kHugePage - used);
#if defined(MADV_HUGEPAGE)
    // Touching fresh 4 KiB pages costs twenty times a copy; 2 MiB pages make it five times less.
    madvise(begin + before, size, MADV_HUGEPAGE);
#endif
    return begin + before;
}

void* system_allocate(std::size_t size) {
    if (size >= kHugePage) return map_huge_pages(size);
    void* memory = nullptr;
    if (posix_memalign(&memory, kAlignment, size) != 0) throw std::bad_alloc();
    return memory;
}

void system_release(char* memory) {
    const std::size_t size = reinterpret_cast<Header*>(memory)->size;
    if (size >= kHugePage) {
        munmap(memory, size);
    } else {
        std::free(memory);
    }
}

// Sizes in quarter steps between powers of two: at most a quarter is wasted.
int size_class_of(std::size_t bytes, std::size_t* rounded) {
    std::size_t power = 256;
    int index = 0;
    while (power < bytes) {
        if (power > std::numeric_limits<std::size_t>::max() / 4) throw std::bad_alloc();
        for (std::size_t quarter = 1; quarter <= 4; ++quarter) {
            const std::size_t size = power + power / 4 * quarter;
            if (bytes <= size) {
                *rounded = size;
                return index + static_cast<int>(quarter);
            }
        }
        power *= 2;
        index += 4;
    }
    *rounded = power;
    return index;
}

class CachingPool {
  public:
    CachingPool() : limit_(std::numeric_limits<std::size_t>::max()) {
        if (const char* text = std::getenv("PYCONV_POOL_MB")) {
            char* end = nullptr;
            const long long value = std::strtoll(text, &end, 10);
            if (end != text && value >= 0) limit_ = static_cast<std::size_t>(value) << 20;
        }
    }

    void* allocate(std::size_t bytes) {
        if (bytes > std::numeric_limits<std::size_t>::max() / 2) throw std::bad_alloc();
        std::size_t size = 0;
        const int size_class = size_class_of(bytes, &size);
        size += kAlignment;  // the header's; counted before, it would push 2^n into the next class
        std::vector<char*> surplus;
        {
            std::lock_guard<std::mutex> lock(mutex);
            statistics_.live += size;
            statistics_.high_water = std::max(statistics_.high_water, statistics_.live);
            if (size_class < static_cast<int>(free_.size()) && !free_[size_class].empty()) {
                char* memory = free_[size_class].back().memory;
                free_[size_class].pop_back();
                statistics_.cached -= size;
                return memory + kAlignment;
            }
            surplus = drop_surplus();  // before the new block adds to it
        }
        for (char* block : surplus) system_release(block);
        char* memory = nullptr;
        try {
            memory = static_cast<char*>(system_allocate(size));
        } catch (...) {
            trim();  // the cache may hold what is missing
            try {
                memory = static_cast<char*>(system_allocate(size));
            } catch (...) {
                std::lock_guard<std::mutex> lock(mutex);
                statistics_.live -= size;
                throw;
            }
        }
        new (memory) Header{size, size_class};
        return memory + kAlignment;
    }

    void release(void* block) {
        char* memory = static_cast<char*>(block) - kAlignment;
        const Header header = *reinterpret_cast<Header*>(memory);
        std::vector<char*> surplus;
        {
            std::lock_guard<std::mutex> lock(mutex);
            statistics_.live -= header.size;
            if (header.size_class >= static_cast<int>(free_.size())) {
                free_.resize(header.size_class + 1);
            }
            free_[header.size_class].push_back({memory, ++releases_});
            statistics_.cached += header.size;
            surplus = drop_surplus();
        }
        for (char* block : surplus) system_release(block);
    }

    void trim() {
        std::vector<std::deque<Free>> blocks;
        {
            std::lock_guard<std::mutex> lock(mutex);
            blocks.swap(free_);
            statistics_.cached = 0;
            statistics_.high_water = statistics_.live;
        }
        for (auto& list : blocks) {
            for (const Free& block : list) system_release(block.memory);
        }
    }

    PoolStatistics statistics() {
        std::lock_guard<std::mutex> lock(mutex);
        return statistics_;
    }

    std::mutex mutex;

  private:
    struct Free {
        char* memory;
        std::uint64_t released;  // counts up
    };

    // What is cached above the limit; it is to be given back without the lock.
    std::vector<char*> drop_surplus() {
        std::vector<char*> surplus;
        const std::size_t wanted = std::max(statistics_.high_water, kLeast);
        const std::size_t most = std::min(limit_, wanted - statistics_.live);
        while (statistics_.cached > most) surplus.push_back(drop_oldest());
        return surplus;
    }

    // What has not been asked for longest makes room; there is at least one block.
    char* drop_oldest() {
        std::deque<Free>* oldest = nullptr;
        for (auto& list : free_) {
            if (!list.empty() && (!oldest || list.front().released < oldest->front().released)) {
                oldest = &list;
            }
        }
        char* const memory = oldest->front().memory;
        oldest->pop_front();
        statistics_.cached -= reinterpret_cast<Header*>(memory)->size;
        return memory;
    }

    // A network has results of many sizes, of which inference has two or three in use at a time:
    // all sizes may stay, if they are no more than this together.
    static constexpr std::size_t kLeast = std::size_t{64} << 20;

    std::size_t limit_;
    std::uint64_t releases_ = 0;
    std::vector<std::deque<Free>> free_;  // by size class, the last released last
    PoolStatistics statistics_{0, 0, 0};
};

// Never destroyed: arrays may be freed after the statics are gone. Held through a fork, so that
// the child finds it whole.
CachingPool& caching_pool() {
    static CachingPool* pool = [] {
        auto* made = new CachingPool;
        pthread_atfork([] { caching_pool().mutex.lock(); }, [] { caching_pool().mutex.unlock(); },
                       [] { caching_pool().mutex.unlock(); });
        return made;
    }();
    return *pool;
}

// The arena: chunks in stack order. A chunk that is too small for a request is followed by a
// larger one; what exceeds kKeep is given back when the last scope ends.
class Arena {
  public:
    ~Arena() {
        for (auto& chunk : chunks_) pool_release(chunk.memory);
    }

    std::size_t mark() const { return used_before_ + used_; }

    void* take(std::size_t bytes) {
        bytes = (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
        while (current_ < chunks_.size() && used_ + bytes > chunks_[current_].size) next_chunk();
        if (current_ == chunks_.size()) {
            const std::size_t size = std::max<std::size_t>(bytes, kFirst);
            chunks_.push_back({static_cast<char*>(pool_allocate(size)), size});
        }
        void* block = chunks_[current_].memory + used_;
        used_ += bytes;
        return block;
    }

    void rewind(std::size_t mark) {
        while (mark < used_before_) {
            --current_;
            used_before_ -= chunks_[current_].size;
        }
        used_ = mark - used_before_;
        if (mark == 0) {
            std::size_t total = 0;
            std::size_t keep = 0;
            while (keep < chunks_.size() && total + chunks_[keep].size <= kKeep) {
                total += chunks_[keep++].size;
            }
            while (chunks_.size() > keep) {
                pool_release(chunks_.back().memory);
                chunks_.pop_back();
            }
        }
    }

  private:
    struct Chunk {
        char* memory;
        std::size_t size;
    };
    static constexpr std::size_t kFirst = std::size_t{1} << 20;
    static constexpr std::size_t kKeep = std::size_t{64} << 20;

    void next_chunk() {
        used_before_ += chunks_[current_].size;
        used_ = 0;
        ++current_;
    }

    std::vector<Chunk> chunks_;
    std::size_t current_ = 0;
    std::size_t used_ = 0;
    std::size_t used_before_ = 0;
};

Arena& arena() {
    thread_local Arena own;
    return own;
}

}  // namespace

void* pool_allocate(std::size_t bytes) { return caching_pool().allocate(bytes); }
void pool_release(void* block) { caching_pool().release(block); }
void pool_trim() { caching_pool().trim(); }
PoolStatistics pool_statistics() { return caching_pool().statistics(); }

Scratch::Scratch() : mark_(arena().mark()) {}
Scratch::~Scratch() { arena().rewind(mark_); }
void* Scratch::bytes(std::size_t count) { return arena().take(count); }

}  // namespace pyconv
