// What the depthwise drivers share: channels by vectors, repeated channels.
#pragma once

#include "core/memory.h"
#include "cpu/convolution/depthwise.h"

namespace pyconv {

// Depthwise kernels run at the speed of memory: flops a microsecond.
inline constexpr double kDepthwiseSpeed = 1.5e4;

inline std::int64_t rounded(std::int64_t channels, int lanes) {
    return (channels + lanes - 1) / lanes * lanes;
}

// Every input channel `multiplier` times.
template <class T>
const T* repeat_channels(const T* x, std::int64_t pixels, std::int64_t channels,
                         std::int64_t multiplier, Scratch& scratch) {
    T* const repeated = scratch.take<T>(pixels * channels * multiplier);
    T* to = repeated;
    for (std::int64_t i = 0; i < pixels * channels; ++i) {
        for (std::int64_t m = 0; m < multiplier; ++m) *to++ = x[i];
    }
    return repeated;
}

// The part of some memory that falls to the vector of channels from c on.
template <class T>
Ahead ahead_of(const DepthwiseKernels<T>& kernels, const T* at, std::int64_t size, std::int64_t c,
               std::int64_t channels) {
    if (size <= 0) return {};
    return {reinterpret_cast<const char*>(at + size / channels * c),
            kernels.lanes * static_cast<std::int64_t>(sizeof(T))};
}

inline ConvolutionProblem with_repeated_channels(const ConvolutionProblem& p) {
    ConvolutionProblem q = p;
    q.in_channels = q.groups = p.out_channels;
    return q;
}

}  // namespace pyconv
