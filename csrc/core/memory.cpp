#include "core/memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace pyconv {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// A block's size class stands in front of it; large ones have none.
struct Header {
    std::size_t size;
    int size_class;
};
static_assert(sizeof(Header) <= kAlignment);

// Large blocks lie in one range of addresses, each in the smallest gap that takes it; neighbouring
// gaps become one. So a training step, whose blocks come and go in the order of a stack, but in
// many sizes, needs little more than what is in use at a time, and touches nothing anew. The range
// is reserved once and made accessible as it is used. Not safe for several threads at a time.
class LargeBlocks {
  public:
    // From here on blocks are large.
    static constexpr std::size_t kLeast = std::size_t{256} << 10;

    LargeBlocks() {
        for (std::size_t size = std::size_t{1} << 40; size >= std::size_t{1} << 32; size /= 4) {
            void* const mapped =
                mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (mapped == MAP_FAILED) continue;
            const auto begin = reinterpret_cast<std::uintptr_t>(mapped);
            top_ = accessible_ =
                reinterpret_cast<char*>((begin + kHugePage - 1) / kHugePage * kHugePage);
            end_ = static_cast<char*>(mapped) + size;
            return;
        }
    }

    // A multiple of the page, which is what the system takes back.
    static std::size_t rounded(std::size_t size) {
        static const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        return (size + page - 1) / page * page;
    }

    // Bytes in gaps that hold memory.
    std::size_t resident() const { return resident_; }

    // Null: there is no room.
    char* allocate(std::size_t size) {
        auto best = gaps_.end();
        std::size_t best_size = 0;
        for (const bool whole : {true, false}) {
            for (auto gap = gaps_.begin(); gap != gaps_.end();) {
                // Neighbours differ in whether they hold memory.
                auto last = gap;
                std::size_t total = 0;
                char* next = gap->first;
                while (last != gaps_.end() && last->first == next && (last == gap || !whole)) {
                    total += last->second.size;
                    next += last->second.size;
                    ++last;
                }
                if (total >= size && (!whole || gap->second.resident) &&
                    (best == gaps_.end() || total < best_size)) {
                    best = gap;
                    best_size = total;
                }
                gap = last;
            }
            if (best != gaps_.end()) return take(best, size);
        }
        if (size > static_cast<std::size_t>(end_ - top_)) return nullptr;
        char* const block = top_;
        if (block + size > accessible_) {
            const std::size_t missing = static_cast<std::size_t>(block + size - accessible_);
            const std::size_t grown = std::min((missing + kHugePage - 1) / kHugePage * kHugePage,
                                               static_cast<std::size_t>(end_ - accessible_));
            if (mprotect(accessible_, grown, PROT_READ | PROT_WRITE) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
            // Touching fresh 4 KiB pages costs twenty times a copy; 2 MiB pages make it five times
            // less.
            madvise(accessible_, grown, MADV_HUGEPAGE);
#endif
            accessible_ += grown;
        }
        top_ += size;
        return block;
    }

    void release(char* block, std::size_t size, std::uint64_t time) {
        resident_ += size;
        auto gap = gaps_.emplace(block, Gap{size, time, true}).first;
        if (gap != gaps_.begin()) {
            const auto before = std::prev(gap);
            if (before->second.resident && before->first + before->second.size == block) {
                before->second.size += size;
                before->second.released = time;
                gaps_.erase(gap);
                gap = before;
            }
        }
        const auto after = std::next(gap);
        if (after != gaps_.end() && after->second.resident &&
            gap->first + gap->second.size == after->first) {
            gap->second.size += after->second.size;
            gaps_.erase(after);
        }
    }

    // When the gap that was used least lately was released; the largest number: there is none.
    std::uint64_t oldest() const {
        std::uint64_t time = std::numeric_limits<std::uint64_t>::max();
        for (const auto& gap : gaps_) {
            if (gap.second.resident) time = std::min(time, gap.second.released);
        }
        return time;
    }

    // Gives the memory of that gap back.
    void drop(std::uint64_t released) {
        for (auto& gap : gaps_) {
            if (!gap.second.resident || gap.second.released != released) continue;
            madvise(gap.first, gap.second.size, MADV_DONTNEED);
            gap.second.resident = false;
            resident_ -= gap.second.size;
            return;
        }
    }

  private:
    struct Gap {
        std::size_t size;
        std::uint64_t released;
        bool resident;
    };

    // From a gap and, where it is too small, those behind it.
    char* take(std::map<char*, Gap>::iterator gap, std::size_t size) {
        char* const block = gap->first;
        while (size > 0) {
            const Gap found = gap->second;
            char* const begin = gap->first;
            const std::size_t used = std::min(size, found.size);
            if (found.resident) resident_ -= used;
            gap = gaps_.erase(gap);
            if (used < found.size) {
                gaps_.emplace(begin + used, Gap{found.size - used, found.released, found.resident});
            }
            size -= used;
        }
        return block;
    }

    char *top_ = nullptr, *accessible_ = nullptr, *end_ = nullptr;
    std::size_t resident_ = 0;
    std::map<char*, Gap> gaps_;
};

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
        if (bytes >= LargeBlocks::kLeast) {
            const std::size_t exact = LargeBlocks::rounded(bytes + kAlignment);
            char* memory = nullptr;
            {
                std::lock_guard<std::mutex> lock(mutex);
                memory = large_.allocate(exact);
                if (memory) {
                    use(exact);
                    surplus = drop_surplus();
                }
            }
            for (char* block : surplus) std::free(block);
            if (memory) {
                new (memory) Header{exact, -1};
                return memory + kAlignment;
            }
        }
        {
            std::lock_guard<std::mutex> lock(mutex);
            use(size);
            if (size_class < static_cast<int>(free_.size()) && !free_[size_class].empty()) {
                char* memory = free_[size_class].back().memory;
                free_[size_class].pop_back();
                small_ -= size;
                return memory + kAlignment;
            }
            surplus = drop_surplus();  // before the new block adds to it
        }
        for (char* block : surplus) std::free(block);
        void* memory = nullptr;
        if (posix_memalign(&memory, kAlignment, size) != 0) {
            trim();  // the cache may hold what is missing
            if (posix_memalign(&memory, kAlignment, size) != 0) {
                std::lock_guard<std::mutex> lock(mutex);
                statistics_.live -= size;
                throw std::bad_alloc();
            }
        }
        new (memory) Header{size, size_class};
        return static_cast<char*>(memory) + kAlignment;
    }

    void release(void* block) {
        char* memory = static_cast<char*>(block) - kAlignment;
        const Header header = *reinterpret_cast<Header*>(memory);
        std::vector<char*> surplus;
        {
            std::lock_guard<std::mutex> lock(mutex);
            statistics_.live -= header.size;
            if (header.size_class < 0) {
                large_.release(memory, header.size, ++releases_);
            } else {
                if (header.size_class >= static_cast<int>(free_.size())) {
                    free_.resize(header.size_class + 1);
                }
                free_[header.size_class].push_back({memory, ++releases_});
                small_ += header.size;
            }
            surplus = drop_surplus();
        }
        for (char* old : surplus) std::free(old);
    }

    void trim() {
        std::vector<std::deque<Free>> blocks;
        {
            std::lock_guard<std::mutex> lock(mutex);
            blocks.swap(free_);
            small_ = 0;
            while (large_.resident() > 0) large_.drop(large_.oldest());
            statistics_.high_water = statistics_.live;
        }
        for (auto& list : blocks) {
            for (const Free& block : list) std::free(block.memory);
        }
    }

    PoolStatistics statistics() {
        std::lock_guard<std::mutex> lock(mutex);
        statistics_.cached = cached();
        return statistics_;
    }

    std::mutex mutex;

  private:
    static constexpr std::size_t kMargin = std::size_t{8} << 20;

    struct Free {
        char* memory;
        std::uint64_t released;  // counts up
    };

    std::size_t cached() const { return small_ + large_.resident(); }

    void use(std::size_t size) {
        statistics_.live += size;
        statistics_.high_water = std::max(statistics_.high_water, statistics_.live);
    }

    // What is cached above the limit, large blocks dropped, the others to be given back without the
    // lock. A little more than the high-water mark leaves room for gaps that nothing fits.
    std::vector<char*> drop_surplus() {
        std::vector<char*> surplus;
        const std::size_t most =
            std::min(limit_, statistics_.high_water + statistics_.high_water / 8 + kMargin -
                                 statistics_.live);
        while (cached() > most) {
            // What has not been asked for longest makes room.
            std::deque<Free>* oldest = nullptr;
            std::uint64_t time = large_.oldest();
            for (auto& list : free_) {
                if (!list.empty() && list.front().released < time) {
                    oldest = &list;
                    time = list.front().released;
                }
            }
            if (!oldest) {
                large_.drop(time);
                continue;
            }
            surplus.push_back(oldest->front().memory);
            oldest->pop_front();
            small_ -= reinterpret_cast<Header*>(surplus.back())->size;
        }
        return surplus;
    }

    std::size_t limit_;
    std::uint64_t releases_ = 0;
    std::vector<std::deque<Free>> free_;  // by size class, the last released last
    std::size_t small_ = 0;               // bytes in them
    LargeBlocks large_;
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
    static constexpr std::size_t kKeep = std::size_t{4} << 20;

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
