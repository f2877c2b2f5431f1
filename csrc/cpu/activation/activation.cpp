#include "cpu/activation/activation.h"

#include <algorithm>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/activation/kernels.h"
#include "cpu/past_caches.h"

namespace pyconv {

namespace {

// Elements of a task: 128 KB of floats.
constexpr std::int64_t kChunk = 32768;

double microseconds(Activation activation, std::int64_t n) {
    const bool smooth = activation >= Activation::sigmoid;
    return static_cast<double>(n) * (smooth ? 1e-3 : 2e-4);
}

template <class F>
void in_chunks(Activation activation, std::int64_t n, F f) {
    parallel_for((n + kChunk - 1) / kChunk, microseconds(activation, n),
                 [&](std::int64_t task) { f(task * kChunk, std::min(kChunk, n - task * kChunk)); });
}

// The rows that make about a chunk.
std::int64_t rows_of_task(std::int64_t length) {
    return std::max<std::int64_t>(1, kChunk / 2 / std::max<std::int64_t>(length, 1));
}

// Columns of a task: some lines of memory.
constexpr std::int64_t kColumns = 128;

template <class Rows, class Columns>
void softmax_tasks(const SoftmaxShape& s, Rows rows, Columns columns) {
    const double work = static_cast<double>(s.outer * s.length * s.inner) * 1.5e-3;
    if (work == 0) return;
    if (s.inner == 1) {
        const std::int64_t group = rows_of_task(s.length);
        parallel_for((s.outer + group - 1) / group, work, [&](std::int64_t task) {
            const std::int64_t begin = task * group;
            rows(begin * s.length, std::min(group, s.outer - begin));
        });
        return;
    }
    const std::int64_t blocks = (s.inner + kColumns - 1) / kColumns;
    const std::int64_t group = rows_of_task(s.length * std::min(s.inner, kColumns));
    const std::int64_t groups = (s.outer * blocks + group - 1) / group;
    parallel_for(groups, work, [&](std::int64_t task) {
        const std::int64_t end = std::min(s.outer * blocks, (task + 1) * group);
        for (std::int64_t i = task * group; i < end; ++i) {
            const std::int64_t begin = i % blocks * kColumns;
            columns(i / blocks * s.length * s.inner + begin, std::min(kColumns, s.inner - begin));
        }
    });
}

}  // namespace

template <class T>
void activation_forward(Isa isa, Activation activation, const T* x, T* y, std::int64_t n, T slope) {
    const auto kernel = activation_kernels<T>(isa).forward[static_cast<int>(activation)];
    const bool stream = goes_past_caches(y, 1, n);
    in_chunks(activation, n, [&](std::int64_t begin, std::int64_t count) {
        kernel(x + begin, y + begin, count, slope, stream);
    });
}

template <class T>
void activation_backward(Isa isa, Activation activation, const T* dy, const T* x, T* dx,
                         std::int64_t n, T slope) {
    const auto kernel = activation_kernels<T>(isa).backward[static_cast<int>(activation)];
    const bool stream = goes_past_caches(dx, 1, n);
    in_chunks(activation, n, [&](std::int64_t begin, std::int64_t count) {
        kernel(dy + begin, x + begin, dx + begin, count, slope, stream);
    });
}

template <class T>
void softmax(Isa isa, bool logarithm, const SoftmaxShape& s, const T* x, T* y) {
    const ActivationKernels<T>& kernels = activation_kernels<T>(isa);
    softmax_tasks(
        s,
        [&](std::int64_t at, std::int64_t count) {
            kernels.rows[logarithm](x + at, y + at, count, s.length);
        },
        [&](std::int64_t at, std::int64_t count) {
            kernels.columns[logarithm](x + at, y + at, s.length, s.inner, count);
        });
}

template <class T>
void softmax_backward(Isa isa, bool logarithm, const SoftmaxShape& s, const T* dy, const T* y,
                      T* dx) {
    const ActivationKernels<T>& kernels = activation_kernels<T>(isa);
    softmax_tasks(
        s,
        [&](std::int64_t at, std::int64_t count) {
            kernels.backward_rows[logarithm](dy + at, y + at, dx + at, count, s.length);
        },
        [&](std::int64_t at, std::int64_t count) {
            kernels.backward_columns[logarithm](dy + at, y + at, dx + at, s.length, s.inner, count);
        });
}

#define PYCONV_INSTANTIATE(T)                                                                   \
    template void activation_forward<T>(Isa, Activation, const T*, T*, std::int64_t, T);        \
    template void activation_backward<T>(Isa, Activation, const T*, const T*, T*, std::int64_t, \
                                         T);                                                    \
    template void softmax<T>(Isa, bool, const SoftmaxShape&, const T*, T*);                     \
    template void softmax_backward<T>(Isa, bool, const SoftmaxShape&, const T*, const T*, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)
#undef PYCONV_INSTANTIATE

}  // namespace pyconv
