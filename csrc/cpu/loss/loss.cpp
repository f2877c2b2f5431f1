#include "cpu/loss/loss.h"

#include <algorithm>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/loss/kernels.h"

namespace pyconv {

namespace {

// f(first row, rows) for groups of about 16384 elements.
template <class F>
void by_rows(std::int64_t rows, std::int64_t n, double nanoseconds, F f) {
    const std::int64_t group = std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(n, 1));
    const double work = static_cast<double>(rows * n) * nanoseconds * 1e-3;
    parallel_for((rows + group - 1) / group, work,
                 [&](std::int64_t task) { f(task * group, std::min(group, rows - task * group)); });
}

}  // namespace

template <class T>
double cross_entropy(Isa isa, const T* logits, const std::int64_t* targets, std::int64_t rows,
                     std::int64_t n, T* probabilities) {
    Scratch scratch;
    double* const losses = scratch.take<double>(rows);
    const auto kernel = loss_kernels<T>(isa).cross_entropy;
    by_rows(rows, n, 1.5, [&](std::int64_t begin, std::int64_t count) {
        kernel(logits + begin * n, targets + begin, count, n, probabilities + begin * n,
               losses + begin);
    });
    double sum = 0;
    for (std::int64_t r = 0; r < rows; ++r) sum += losses[r];
    return sum / static_cast<double>(rows);
}

template <class T>
void cross_entropy_backward(Isa isa, const T* probabilities, const std::int64_t* targets,
                            std::int64_t rows, std::int64_t n, double d_loss, T* d_logits) {
    const auto kernel = loss_kernels<T>(isa).cross_entropy_backward;
    const T scale = static_cast<T>(d_loss / static_cast<double>(std::max<std::int64_t>(rows, 1)));
    by_rows(rows, n, 0.3, [&](std::int64_t begin, std::int64_t count) {
        kernel(probabilities + begin * n, targets + begin, count, n, scale, d_logits + begin * n);
    });
}

template double cross_entropy<float>(Isa, const float*, const std::int64_t*, std::int64_t,
                                     std::int64_t, float*);
template double cross_entropy<double>(Isa, const double*, const std::int64_t*, std::int64_t,
                                      std::int64_t, double*);
template void cross_entropy_backward<float>(Isa, const float*, const std::int64_t*, std::int64_t,
                                            std::int64_t, double, float*);
template void cross_entropy_backward<double>(Isa, const double*, const std::int64_t*, std::int64_t,
                                             std::int64_t, double, double*);

}  // namespace pyconv
