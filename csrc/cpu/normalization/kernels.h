// The table of the normalization family's micro-kernels. All see a matrix of `rows` rows of
// `columns` neighbouring elements, one row `step` elements after the other; what belongs to a
// column (a sum, a mean) is an array of `columns` elements.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/isa.h"

namespace pyconv {

// y = activation((x - mean) * scale + beta + residual); no residual where it is null.
template <class T>
struct NormalizeRows {
    const T* x;
    const T* residual;
    T* y;
    std::int64_t rows, columns, step;
    const T* mean;
    const T* scale;
    const T* beta;
    Activation activation;
    T slope;
    bool past_caches;  // y is aligned to vectors, and so large that it leaves the caches
};

// dy times the activation's derivative. It follows from the output y, or, where y is null, for an
// activation that clips, from its input, (x - mean) * scale + beta: that costs no reading of y.
template <class T>
struct Through {
    Activation activation;
    T slope;
    const T* y;
    const T* scale;
    const T* beta;
};

// dz = dy through the activation; sum += dz, product += dz * (x - mean). dz is stored where dz is
// not null.
template <class T>
struct GradientSums {
    const T* dy;
    const T* x;
    T* dz;
    std::int64_t rows, columns, step;
    const T* mean;
    Through<T> through;
    T* sum;
    T* product;
};

// dx = (x - mean) * slope + (dz * scale + offset), dz = dy through the activation.
template <class T>
struct GradientRows {
    const T* dy;
    const T* x;
    T* dx;
    std::int64_t rows, columns, step;
    const T* mean;
    const T* scale;
    const T* slope;
    const T* offset;
    Through<T> through;
    bool past_caches;  // as above, dx
};

template <class T>
struct NormalizationKernels {
    int lanes;
    // sum = the sums of the rows.
    void (*sums)(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step, T* sum);
    // m2 = the sums of (x - mean)^2.
    void (*deviations)(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step,
                       const T* mean, T* m2);
    // Adds the sums and m2 of other_rows rows to those of `rows`.
    void (*merge)(T* sum, T* m2, T rows, const T* other_sum, const T* other_m2, T other_rows,
                  std::int64_t columns);
    void (*normalize)(const NormalizeRows<T>& p);
    void (*gradient_sums)(const GradientSums<T>& p);
    void (*gradient)(const GradientRows<T>& p);
};

PYCONV_KERNEL_TABLE(NormalizationKernels, normalization_kernels)

}  // namespace pyconv
