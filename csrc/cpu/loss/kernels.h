// The table of the loss family's micro-kernels.
#pragma once

#include "core/isa.h"

namespace pyconv {

template <class T>
struct LossKernels {
    // The probabilities of rows of n logits, and of each row -log of the one at its target.
    void (*cross_entropy)(const T* logits, const std::int64_t* targets, std::int64_t rows,
                          std::int64_t n, T* probabilities, double* losses);
    // scale (p - 1 at the target).
    void (*cross_entropy_backward)(const T* probabilities, const std::int64_t* targets,
                                   std::int64_t rows, std::int64_t n, T scale, T* d_logits);
};

PYCONV_KERNEL_TABLE(LossKernels, loss_kernels)

}  // namespace pyconv
