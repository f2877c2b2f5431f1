// The table of the optimizer family's micro-kernels: every one reads and writes each element once.
#pragma once

#include "core/isa.h"

namespace pyconv {

template <class T>
struct SgdFactors {
    T lr, momentum, undamped /* 1 - dampening */, weight_decay;
    bool nesterov;
};

template <class T>
struct AdamFactors {
    T beta1, rest1 /* 1 - beta1 */, beta2, rest2, eps;
    T step;          // lr / (1 - beta1^t)
    T correction;    // 1 / sqrt(1 - beta2^t)
    T weight_decay;  // added to the gradient
    T shrink;        // times the parameter
};

template <class T>
struct OptimizerKernels {
    // `velocity` is null where there is no momentum.
    void (*sgd)(T* parameter, const T* gradient, T* velocity, std::int64_t n,
                const SgdFactors<T>& factors);
    void (*adam)(T* parameter, const T* gradient, T* first, T* second, std::int64_t n,
                 const AdamFactors<T>& factors);
    // Sums in float64 of |x|, of x^2, of |x|^order; and the largest |x|, or a NaN.
    double (*sum_abs)(const T* x, std::int64_t n);
    double (*sum_squares)(const T* x, std::int64_t n);
    double (*sum_powers)(const T* x, std::int64_t n, double order);
    double (*max_abs)(const T* x, std::int64_t n);
};

PYCONV_KERNEL_TABLE(OptimizerKernels, optimizer_kernels)

}  // namespace pyconv
