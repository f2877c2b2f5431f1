// The thread pool and the memory pool under load from several threads at once. Meant to be built
// with ThreadSanitizer; it also checks its results.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/memory.h"
#include "core/threads.h"

namespace {

void check(bool ok, const char* what) {
    if (ok) return;
    std::fprintf(stderr, "failed: %s\n", what);
    std::exit(1);
}

constexpr double kLong = 1e6;  // an estimate, in microseconds, that asks for all threads

// Every task runs once, and what the tasks wrote is seen after the call.
void sums(int rounds) {
    for (int round = 0; round < rounds; ++round) {
        const std::int64_t tasks = 1 + round % 97;
        std::vector<std::int64_t> out(tasks, 0);
        pyconv::parallel_for(tasks, kLong, [&](std::int64_t task) {
            pyconv::Scratch scratch;
            auto* local = scratch.take<std::int64_t>(100 + task);
            for (std::int64_t i = 0; i < 100 + task; ++i) local[i] = i;
            std::int64_t parts[4];
            pyconv::parallel_for(4, kLong, [&](std::int64_t i) { parts[i] = local[task + i]; });
            out[task] = parts[0] + parts[1] + parts[2] + parts[3];
        });
        for (std::int64_t task = 0; task < tasks; ++task) {
            check(out[task] == 4 * task + 6, "a sum of a task");
        }
    }
}

void errors(int rounds) {
    for (int round = 0; round < rounds; ++round) {
        bool caught = false;
        try {
            pyconv::parallel_for(20, kLong, [&](std::int64_t task) {
                if (task % 7 == 3) throw std::runtime_error("task");
            });
        } catch (const std::runtime_error&) {
            caught = true;
        }
        check(caught, "an exception reaches the caller");
    }
}

void blocks(int rounds) {
    std::vector<void*> held;
    for (int round = 0; round < rounds; ++round) {
        const std::size_t size = 64 + static_cast<std::size_t>(round) * 977 % 300000;
        auto* block = static_cast<char*>(pyconv::pool_allocate(size));
        check(reinterpret_cast<std::uintptr_t>(block) % pyconv::kAlignment == 0, "alignment");
        block[0] = block[size - 1] = 1;
        held.push_back(block);
        if (held.size() > 16) {
            pyconv::pool_release(held[round % 16]);
            held[round % 16] = held.back();
            held.pop_back();
        }
        if (round % 500 == 0) pyconv::pool_trim();
    }
    for (void* block : held) pyconv::pool_release(block);
}

}  // namespace

int main() {
    for (const int threads : {1, 2, 3, 7}) {
        pyconv::set_thread_count(threads);
        sums(300);
        errors(50);
    }
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i) {
        callers.emplace_back([i] {
            for (int round = 0; round < 5; ++round) {
                pyconv::set_thread_count(2 + (i + round) % 3);
                sums(100);
                errors(10);
                blocks(1000);
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    check(pyconv::pool_statistics().high_water > 0, "statistics");
    std::puts("ok");
    return 0;
}
