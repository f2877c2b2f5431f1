// The windows of pools along one axis. Shapes are computed here, once, for every backend.
#pragma once

#include <cstdint>

#include "core/problem.h"

namespace pyconv {

// As a convolution's, or rounded up; but no window starts in the padding after the image. 0 or less
// means that the window does not fit.
constexpr std::int64_t pool_output_size(std::int64_t size, std::int64_t before, std::int64_t after,
                                        std::int64_t kernel, std::int64_t stride,
                                        std::int64_t dilation, bool ceil_mode) {
    if (!ceil_mode) {
        return convolution_output_size(size, before, after, kernel, stride, dilation);
    }
    const std::int64_t span = size + before + after - dilation * (kernel - 1) - 1;
    const std::int64_t outputs = (span > 0 ? (span + stride - 1) / stride : -(-span / stride)) + 1;
    return (outputs - 1) * stride >= size + before ? outputs - 1 : outputs;
}

struct PoolAxis {
    std::int64_t size, outputs, before, after, kernel, stride, dilation;
};

// The taps [begin, end) of an output that lie in the image, and the cell of tap 0.
struct PoolWindow {
    std::int64_t start, begin, end;
};
constexpr PoolWindow pool_window(const PoolAxis& a, std::int64_t output) {
    const std::int64_t start = output * a.stride - a.before;
    const std::int64_t begin = start >= 0 ? 0 : (-start + a.dilation - 1) / a.dilation;
    std::int64_t end = start >= a.size ? 0 : (a.size - 1 - start) / a.dilation + 1;
    if (end > a.kernel) end = a.kernel;
    return {start, begin, end < begin ? begin : end};
}

// How many cells the window of a mean counts. Padding counts with `include_padding`; what a window
// has beyond the padding never does.
constexpr std::int64_t pool_count(const PoolAxis& a, std::int64_t output, bool include_padding) {
    std::int64_t start = output * a.stride - a.before;
    std::int64_t end = start + a.kernel;
    const std::int64_t last = a.size + (include_padding ? a.after : 0);
    if (end > last) end = last;
    if (!include_padding && start < 0) start = 0;
    return end - start;
}

// The windows [begin, end) that share an axis as evenly as cells allow; they may overlap.
struct AdaptiveWindow {
    std::int64_t begin, end;
};
constexpr AdaptiveWindow adaptive_window(std::int64_t size, std::int64_t outputs,
                                         std::int64_t output) {
    return {output * size / outputs, ((output + 1) * size + outputs - 1) / outputs};
}

}  // namespace pyconv
