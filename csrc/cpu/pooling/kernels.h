// The table of the pooling family's micro-kernels. Each makes one run of outputs: output q of
// `count` lies at out + q * out_step and is made of `taps` cells at in + q * in_step +
// offsets[tap], all of `channels` neighbouring elements.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/isa.h"

namespace pyconv {

// An integer as wide as a float: what a lane holds.
template <class T>
using LaneInteger = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

// out = sum of weights[tap] * in / divisor; null weights are ones.
template <class T>
struct SumRun {
    const T* in;
    const std::int64_t* offsets;
    const T* weights;
    std::int64_t taps;
    T divisor;
    T* out;
    std::int64_t count, in_step, out_step, channels;
    bool past_caches;  // out is aligned to vectors, and so large that it leaves the caches
};

// out = the largest, and the number of its cell: numbers[tap] + q * number_step. The first wins a
// tie, the first NaN wins over all. At least one tap; no numbers where `index` is null.
template <class T>
struct MaxRun {
    const T* in;
    const std::int64_t* offsets;
    const LaneInteger<T>* numbers;
    std::int64_t taps;
    T* out;
    LaneInteger<T>* index;  // lies as out does
    std::int64_t count, in_step, out_step, channels;
    LaneInteger<T> number_step;
    bool relu;  // then zeros have the number -1
    // With a single output (count = 1) of several pixels: the numbers, which lie as `in` does.
    const LaneInteger<T>* places;
};

// out = the sum of `in` where `index`, which lies as `in` does, is number + q * number_step.
template <class T>
struct MaxGradientRun {
    const T* in;
    const LaneInteger<T>* index;
    const std::int64_t* offsets;
    std::int64_t taps;
    T* out;
    std::int64_t count, in_step, out_step, channels;
    LaneInteger<T> number, number_step;
    // With a single output of several pixels: the numbers, which lie as `out` does.
    const LaneInteger<T>* places;
};

template <class T>
struct PoolingKernels {
    int lanes;
    void (*sum)(const SumRun<T>& p);
    void (*max)(const MaxRun<T>& p);
    void (*max_gradient)(const MaxGradientRun<T>& p);
};

PYCONV_KERNEL_TABLE(PoolingKernels, pooling_kernels)

}  // namespace pyconv
