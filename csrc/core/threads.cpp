#include "core/threads.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pyconv {

namespace {

// Below this much work, in microseconds, waking another core costs more than it saves.
constexpr double kSerialMicroseconds = 30.0;
constexpr std::chrono::microseconds kSpin{150};

inline void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

thread_local bool inside_task = false;

class Pool {
  public:
    // A call's work. It lies on the heap and is shared, because a worker may still look at a
    // call's counters when the caller has gone on.
    struct Job {
        Job(std::int64_t tasks, FunctionRef<void(std::int64_t)> body) : tasks(tasks), body(body) {}
        const std::int64_t tasks;
        FunctionRef<void(std::int64_t)> body;
        std::atomic<std::int64_t> next{0};
        std::atomic<std::int64_t> done{0};
        std::mutex error_mutex;
        std::exception_ptr error;
    };

    // The caller holds `busy`.
    void run(std::int64_t tasks, int threads, FunctionRef<void(std::int64_t)> body) {
        start_workers(threads - 1);
        auto job = std::make_shared<Job>(tasks, body);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = job;
            allowed_ = threads - 1;
            generation_.fetch_add(1, std::memory_order_release);
        }
        if (sleepers_.load(std::memory_order_seq_cst) > 0) wake_.notify_all();
        work(*job);
        while (job->done.load(std::memory_order_acquire) < tasks) pause();
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_.reset();
        }
        if (job->error) std::rethrow_exception(job->error);
    }

    std::mutex busy;

  private:
    void start_workers(int count) {
        while (static_cast<int>(workers_) < count) {
            const int index = workers_++;
            std::thread([this, index] { loop(index); }).detach();
        }
    }

    static void work(Job& job) {
        inside_task = true;
        for (;;) {
            const std::int64_t task = job.next.fetch_add(1, std::memory_order_relaxed);
            if (task >= job.tasks) break;
            try {
                job.body(task);
            } catch (...) {
                std::lock_guard<std::mutex> lock(job.error_mutex);
                if (!job.error) job.error = std::current_exception();
            }
            job.done.fetch_add(1, std::memory_order_acq_rel);
        }
        inside_task = false;
    }

    void loop(int index) {
        FlushDenormals flush;
        std::uint64_t seen = 0;
        for (;;) {
            const bool may_spin = index + 1 < available_cores();
            const auto limit = std::chrono::steady_clock::now() + kSpin;
            while (may_spin && generation_.load(std::memory_order_acquire) == seen) {
                for (int i = 0; i < 32; ++i) pause();
                if (std::chrono::steady_clock::now() > limit) break;
            }
            std::shared_ptr<Job> job;
            {
                std::unique_lock<std::mutex> lock(mutex_);
                if (generation_.load(std::memory_order_relaxed) == seen) {
                    sleepers_.fetch_add(1, std::memory_order_seq_cst);
                    wake_.wait(lock,
                               [&] { return generation_.load(std::memory_order_relaxed) != seen; });
                    sleepers_.fetch_sub(1, std::memory_order_relaxed);
                }
                seen = generation_.load(std::memory_order_relaxed);
                if (index < allowed_) job = job_;
            }
            if (job) work(*job);
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_;
    std::shared_ptr<Job> job_;
    int allowed_ = 0;
    int workers_ = 0;
    std::atomic<std::uint64_t> generation_{0};
    std::atomic<int> sleepers_{0};
};

// The pool is never destroyed: workers may wait in it while the process ends. After fork the
// child leaves the parent's behind, whose workers do not exist there, and makes its own.
std::atomic<Pool*> current_pool{nullptr};

Pool& pool() {
    Pool* found = current_pool.load(std::memory_order_acquire);
    if (found) return *found;
    static std::once_flag registered;
    std::call_once(registered, [] {
        pthread_atfork(nullptr, nullptr, [] {
            current_pool.store(nullptr, std::memory_order_release);
            inside_task = false;
        });
    });
    Pool* fresh = new Pool;
    if (!current_pool.compare_exchange_strong(found, fresh)) {
        delete fresh;
        return *found;
    }
    return *fresh;
}

int initial_thread_count() {
    if (const char* text = std::getenv("PYCONV_NUM_THREADS")) {
        char* end = nullptr;
        const long value = std::strtol(text, &end, 10);
        if (end != text && *end == '\0' && value >= 1 && value <= 1024) {
            return static_cast<int>(value);
        }
    }
    return available_cores();
}

std::atomic<int>& configured_threads() {
    static std::atomic<int> count{initial_thread_count()};
    return count;
}

}  // namespace

int available_cores() {
    static const int cores = [] {
#if defined(__linux__)
        cpu_set_t set;
        if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
        const unsigned count = std::thread::hardware_concurrency();
        return count ? static_cast<int>(count) : 1;
    }();
    return cores;
}

int thread_count() { return configured_threads().load(std::memory_order_relaxed); }

void set_thread_count(int count) { configured_threads().store(count, std::memory_order_relaxed); }

void parallel_for(std::int64_t tasks, double microseconds, FunctionRef<void(std::int64_t)> body) {
    const int threads = static_cast<int>(std::min<std::int64_t>(thread_count(), tasks));
    if (threads > 1 && microseconds > kSerialMicroseconds && !inside_task) {
        Pool& shared = pool();
        std::unique_lock<std::mutex> lock(shared.busy, std::try_to_lock);
        if (lock.owns_lock()) {
            shared.run(tasks, threads, body);
            return;
        }
    }
    for (std::int64_t task = 0; task < tasks; ++task) body(task);
}

#if defined(__x86_64__)

FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) {
    _mm_setcsr(static_cast<unsigned>(saved_) | 0x8040u);  // flush to zero, denormals are zero
}
FlushDenormals::~FlushDenormals() { _mm_setcsr(static_cast<unsigned>(saved_)); }

#elif defined(__aarch64__)

FlushDenormals::FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" ::"r"(saved_ | (1ul << 24)));
}
FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }

#else

FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() = default;

#endif

}  // namespace pyconv
