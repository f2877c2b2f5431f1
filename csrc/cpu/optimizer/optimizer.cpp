#include "cpu/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/threads.h"
#include "cpu/optimizer/kernels.h"

namespace pyconv {

namespace {

// Elements of a task, counted through the whole list.
constexpr std::int64_t kChunk = 16384;

// f(segment, first element, elements, task), over tasks of kChunk elements.
template <class T, class F>
void over_segments(const std::vector<Segment<T>>& segments, double nanoseconds, F f) {
    std::vector<std::int64_t> ends;  // of each segment in the count through the list
    ends.reserve(segments.size());
    std::int64_t total = 0;
    for (const Segment<T>& segment : segments) ends.push_back(total += segment.n);
    const std::int64_t tasks = (total + kChunk - 1) / kChunk;
    parallel_for(tasks, static_cast<double>(total) * nanoseconds * 1e-3, [&](std::int64_t task) {
        std::int64_t at = task * kChunk;
        const std::int64_t end = std::min(total, at + kChunk);
        auto segment = std::upper_bound(ends.begin(), ends.end(), at) - ends.begin();
        for (; at < end; ++segment) {
            const std::int64_t count = std::min(end, ends[segment]) - at;
            if (count == 0) continue;
            f(segments[segment], at - (ends[segment] - segments[segment].n), count, task);
            at += count;
        }
    });
}

template <class T>
T* shifted(T* p, std::int64_t by) {
    return p ? p + by : nullptr;
}

}  // namespace

template <class T>
void sgd_step(Isa isa, const std::vector<Segment<T>>& segments, const SgdSettings& s) {
    const auto kernel = optimizer_kernels<T>(isa).sgd;
    const SgdFactors<T> factors{static_cast<T>(s.lr), static_cast<T>(s.momentum),
                                static_cast<T>(1 - s.dampening), static_cast<T>(s.weight_decay),
                                s.nesterov};
    over_segments(segments, 0.6, [&](const Segment<T>& a, std::int64_t at, std::int64_t n, auto) {
        kernel(a.parameter + at, a.gradient + at, shifted(a.first, at), n, factors);
    });
}

template <class T>
void adam_step(Isa isa, const std::vector<Segment<T>>& segments, const AdamSettings& s) {
    const auto kernel = optimizer_kernels<T>(isa).adam;
    const double steps = static_cast<double>(s.step);
    AdamFactors<T> factors;
    factors.beta1 = static_cast<T>(s.beta1);
    factors.rest1 = static_cast<T>(1 - s.beta1);
    factors.beta2 = static_cast<T>(s.beta2);
    factors.rest2 = static_cast<T>(1 - s.beta2);
    factors.eps = static_cast<T>(s.eps);
    factors.step = static_cast<T>(s.lr / (1 - std::pow(s.beta1, steps)));
    factors.correction = static_cast<T>(1 / std::sqrt(1 - std::pow(s.beta2, steps)));
    factors.weight_decay = static_cast<T>(s.decoupled ? 0 : s.weight_decay);
    factors.shrink = static_cast<T>(s.decoupled ? 1 - s.lr * s.weight_decay : 1);
    over_segments(segments, 1.0, [&](const Segment<T>& a, std::int64_t at, std::int64_t n, auto) {
        kernel(a.parameter + at, a.gradient + at, a.first + at, a.second + at, n, factors);
    });
}

template <class T>
double power_sum(Isa isa, const std::vector<Segment<T>>& segments, double order) {
    const OptimizerKernels<T>& kernels = optimizer_kernels<T>(isa);
    std::int64_t total = 0;
    for (const Segment<T>& segment : segments) total += segment.n;
    const bool largest = std::isinf(order);
    const auto combine = [largest](double a, double b) {
        return !largest ? a + b : b > a || std::isnan(b) ? b : a;
    };
    std::vector<double> partial(static_cast<std::size_t>((total + kChunk - 1) / kChunk), 0.0);
    const double nanoseconds = largest || order == 1 || order == 2 ? 0.3 : 20;
    over_segments(segments, nanoseconds,
                  [&](const Segment<T>& a, std::int64_t at, std::int64_t n, std::int64_t task) {
                      const T* x = a.gradient + at;
                      const double sum = largest      ? kernels.max_abs(x, n)
                                         : order == 1 ? kernels.sum_abs(x, n)
                                         : order == 2 ? kernels.sum_squares(x, n)
                                                      : kernels.sum_powers(x, n, order);
                      partial[task] = combine(partial[task], sum);
                  });
    double sum = 0;
    for (const double value : partial) {
        sum = combine(sum, value);
        if (std::isnan(sum)) break;
    }
    return sum;
}

#define PYCONV_INSTANTIATE(T)                                                             \
    template void sgd_step<T>(Isa, const std::vector<Segment<T>>&, const SgdSettings&);   \
    template void adam_step<T>(Isa, const std::vector<Segment<T>>&, const AdamSettings&); \
    template double power_sum<T>(Isa, const std::vector<Segment<T>>&, double);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)
#undef PYCONV_INSTANTIATE

}  // namespace pyconv
