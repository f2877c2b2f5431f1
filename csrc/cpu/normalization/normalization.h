// Batch and instance normalization on channels-last memory: a matrix of one row a pixel.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "core/normalization.h"

namespace pyconv {

// y = activation(gamma (x - mean) / sqrt(var + eps) + beta + residual) by the image's own mean and
// biased variance, which are stored for every image where the pointers are not null. Null gamma,
// beta, residual are ones, zeros, none.
template <class T>
void normalize(Isa isa, const NormalizationProblem& p, const T* x, const T* gamma, const T* beta,
               const T* residual, T* y, T* mean, T* var);

// The same by given statistics, for all images.
template <class T>
void normalize_by(Isa isa, const NormalizationProblem& p, const T* x, const T* gamma, const T* beta,
                  const T* mean, const T* var, const T* residual, T* y);

// The gradients of `normalize`; those of gamma and beta are summed over the images. Null mean and
// var are computed again. y, or beta for an activation that clips and no residual, tell the
// activation's derivative; without both there is none. dz, dy through the activation, may be null.
template <class T>
void normalize_backward(Isa isa, const NormalizationProblem& p, const T* dy, const T* x,
                        const T* gamma, const T* beta, const T* mean, const T* var, const T* y,
                        T* dx, T* dgamma, T* dbeta, T* dz);

}  // namespace pyconv
