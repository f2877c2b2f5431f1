// Which cells an output is made of, along one axis; host and device share it. An axis says:
// terms(o) how many, cell(t, i) which, weight(t, i) how much of each, divisor(o) of the sum.
#pragma once

#include <numeric>

#include "core/pooling.h"
#include "cuda/common/index.h"

namespace pyconv::cuda {

// Cells first, first + step, ...
struct Terms {
    int first, count, step = 1;
};

// Sums of cells with weights of 1, where an axis says nothing else.
struct PlainAxis {
    int size = 0, outputs = 0;  // cells, and what is made of them

    PYCONV_HOST_DEVICE int cell(const Terms& t, int i) const { return t.first + i * t.step; }
    template <class T>
    PYCONV_HOST_DEVICE float weight(const T&, int) const {
        return 1;
    }
    PYCONV_HOST_DEVICE float divisor(int) const { return 1; }
};

using DevicePoolAxis = PoolAxisOf<int, FastDivider>;

// Refuses what kernels can't count. What a single output or tap makes meaningless becomes 1.
inline DevicePoolAxis device_axis(const PoolAxis& a) {
    const std::int64_t dilation = a.kernel == 1 ? 1 : a.dilation;
    const std::int64_t stride = a.outputs == 1 ? 1 : a.stride;
    const std::int64_t span = dilation > kMostRows ? kMostRows : dilation * a.kernel;
    checked_int("cells of an image and a window", a.size + a.before + a.after + span + stride);
    return {static_cast<int>(a.size),  static_cast<int>(a.outputs), static_cast<int>(a.before),
            static_cast<int>(a.after), static_cast<int>(a.kernel),  FastDivider(stride),
            FastDivider(dilation)};
}

// What the sum of a window is divided by: the cells that count, or `fixed` where that is not 0.
struct Divisor {
    bool include_padding = true;
    float fixed = 0;

    PYCONV_HOST_DEVICE float of(const DevicePoolAxis& a, int output) const {
        return fixed != 0 ? fixed : static_cast<float>(pool_count(a, output, include_padding));
    }
};

struct WindowMeans : PlainAxis {
    DevicePoolAxis a;
    Divisor by;

    WindowMeans(const PoolAxis& axis, const Divisor& by)
        : PlainAxis{static_cast<int>(axis.size), static_cast<int>(axis.outputs)},
          a(device_axis(axis)),
          by(by) {}
    PYCONV_HOST_DEVICE Terms terms(int output) const {
        const auto w = pool_window(a, output);
        return {w.start + w.begin * a.dilation, w.end - w.begin, a.dilation};
    }
    PYCONV_HOST_DEVICE float divisor(int output) const { return by.of(a, output); }
};

// Gradient: a cell gets its part of every window that holds it.
struct WindowMeansGradient : PlainAxis {
    DevicePoolAxis a;  // of the means
    Divisor by;

    WindowMeansGradient(const PoolAxis& axis, const Divisor& by)
        : PlainAxis{static_cast<int>(axis.outputs), static_cast<int>(axis.size)},
          a(device_axis(axis)),
          by(by) {}
    PYCONV_HOST_DEVICE Terms terms(int cell) const {
        const auto windows = windows_over(a, cell);
        return {windows.begin, windows.end - windows.begin};
    }
    PYCONV_HOST_DEVICE float weight(const Terms& t, int i) const {
        return 1 / by.of(a, t.first + i);
    }
};

// Cells and outputs of an axis without their common divisor, so that products stay small.
struct Ratio {
    std::int64_t cells = 1, outputs = 1;

    Ratio(std::int64_t all_cells, std::int64_t all_outputs) {
        if (all_cells < 1 || all_outputs < 1) return;
        const std::int64_t common = std::gcd(all_cells, all_outputs);
        cells = all_cells / common;
        outputs = all_outputs / common;
        // Positions are counted in quarters at most.
        checked_int("four times the least common multiple of cells and outputs",
                    4 * checked_int("cells", all_cells) * outputs);
    }
};

struct AdaptiveMeans : PlainAxis {
    FastDivider cells, pieces;  // the ratio of size and outputs

    AdaptiveMeans(std::int64_t size, std::int64_t outputs)
        : PlainAxis{static_cast<int>(size), static_cast<int>(outputs)} {
        const Ratio ratio(size, outputs);
        cells = FastDivider(ratio.cells);
        pieces = FastDivider(ratio.outputs);
    }
    PYCONV_HOST_DEVICE RangeOf<int> window(int output) const {
        return adaptive_window(cells, pieces, output);
    }
    PYCONV_HOST_DEVICE Terms terms(int output) const {
        const auto w = window(output);
        return {w.begin, w.end - w.begin};
    }
    PYCONV_HOST_DEVICE float divisor(int output) const {
        const auto w = window(output);
        return static_cast<float>(w.end - w.begin);
    }
};

struct AdaptiveMeansGradient : PlainAxis {
    AdaptiveMeans means;

    AdaptiveMeansGradient(std::int64_t size, std::int64_t outputs)
        : PlainAxis{static_cast<int>(outputs), static_cast<int>(size)}, means(size, outputs) {}
    PYCONV_HOST_DEVICE Terms terms(int cell) const {
        const auto windows = adaptive_window(means.pieces, means.cells, cell);
        return {windows.begin, windows.end - windows.begin};
    }
    PYCONV_HOST_DEVICE float weight(const Terms& t, int i) const {
        return 1 / means.divisor(t.first + i);
    }
};

}  // namespace pyconv::cuda
