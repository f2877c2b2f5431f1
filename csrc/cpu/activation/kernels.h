// The table of the activation family's micro-kernels.
#pragma once

#include "core/activation.h"
#include "core/isa.h"

namespace pyconv {

inline constexpr int kActivations = 8;

template <class T>
struct ActivationKernels {
    int lanes;
    // By the number of the activation (none has none); see elementwise.inl.
    void (*forward[kActivations])(const T* x, T* y, std::int64_t n, T slope, bool past_caches);
    void (*backward[kActivations])(const T* dy, const T* x, T* dx, std::int64_t n, T slope,
                                   bool past_caches);
    // [0] softmax, [1] its logarithm; see softmax.inl.
    void (*rows[2])(const T* x, T* y, std::int64_t rows, std::int64_t n);
    void (*backward_rows[2])(const T* dy, const T* y, T* dx, std::int64_t rows, std::int64_t n);
    void (*columns[2])(const T* x, T* y, std::int64_t length, std::int64_t step,
                       std::int64_t columns);
    void (*backward_columns[2])(const T* dy, const T* y, T* dx, std::int64_t length,
                                std::int64_t step, std::int64_t columns);
};

PYCONV_KERNEL_TABLE(ActivationKernels, activation_kernels)

}  // namespace pyconv
