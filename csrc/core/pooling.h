// The windows of pools along one axis. Shapes and windows are computed here, once, for every
// backend: Integer is what counts cells, Divisor what it is divided by.
#pragma once

#include <cstdint>

#include "core/host_device.h"
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

template <class Integer, class Divisor>
struct PoolAxisOf {
    Integer size, outputs, before, after, kernel;
    Divisor stride, dilation;
};
using PoolAxis = PoolAxisOf<std::int64_t, std::int64_t>;

// The taps [begin, end) of an output that lie in the image, and the cell of tap 0.
template <class Integer>
struct PoolWindowOf {
    Integer start, begin, end;
};
using PoolWindow = PoolWindowOf<std::int64_t>;

template <class Integer, class Divisor>
PYCONV_HOST_DEVICE constexpr PoolWindowOf<Integer> pool_window(
    const PoolAxisOf<Integer, Divisor>& a, Integer output) {
    const Integer start = output * a.stride - a.before;
    const Integer begin = start >= 0 ? 0 : (-start + a.dilation - 1) / a.dilation;
    Integer end = start >= a.size ? 0 : (a.size - 1 - start) / a.dilation + 1;
    if (end > a.kernel) end = a.kernel;
    return {start, begin, end < begin ? begin : end};
}

// How many cells the window of a mean counts. Padding counts with `include_padding`; what a window
// has beyond the padding never does.
template <class Integer, class Divisor>
PYCONV_HOST_DEVICE constexpr Integer pool_count(const PoolAxisOf<Integer, Divisor>& a,
                                                Integer output, bool include_padding) {
    Integer start = output * a.stride - a.before;
    Integer end = start + a.kernel;
    const Integer last = a.size + (include_padding ? a.after : 0);
    if (end > last) end = last;
    if (!include_padding && start < 0) start = 0;
    return end - start;
}

// The outputs [begin, end) whose windows reach over a cell; they hold it where there is no
// dilation.
template <class Integer>
struct RangeOf {
    Integer begin, end;
};
template <class Integer, class Divisor>
PYCONV_HOST_DEVICE constexpr RangeOf<Integer> windows_over(const PoolAxisOf<Integer, Divisor>& a,
                                                           Integer cell) {
    const Integer at = cell + a.before, reach = (a.kernel - 1) * a.dilation;
    const Integer begin = at <= reach ? 0 : (at - reach + a.stride - 1) / a.stride;
    const Integer end = at / a.stride + 1;
    return {begin, end < a.outputs ? end : a.outputs};
}

// The windows [begin, end) that share an axis as evenly as cells allow; they may overlap. With
// outputs and size exchanged these are the outputs whose windows hold a cell.
using AdaptiveWindow = RangeOf<std::int64_t>;
template <class Size, class Outputs, class Integer>
PYCONV_HOST_DEVICE constexpr RangeOf<Integer> adaptive_window(const Size& size,
                                                              const Outputs& outputs,
                                                              Integer output) {
    return {output * size / outputs, ((output + 1) * size + outputs - 1) / outputs};
}

}  // namespace pyconv
