// Batch and instance normalization on channels-last memory: a matrix of one row a pixel. Images are
// float, half or bfloat16; all that has one entry a channel is float.
#pragma once

#include <cuda_runtime.h>

#include "core/normalization.h"
#include "cuda/common/launch.h"

namespace pyconv::cuda {

// Mean and biased variance of each image.
template <class T>
void statistics(const NormalizationProblem& p, const T* x, float* mean, float* var,
                const Allocate& allocate, cudaStream_t stream);

// y = activation(gamma (x - mean) / sqrt(var + eps) + beta + residual); mean and var of each image.
// Null gamma, beta, residual are ones, zeros, none.
template <class T>
void normalize(const NormalizationProblem& p, const T* x, const float* gamma, const float* beta,
               const float* mean, const float* var, const T* residual, T* y, cudaStream_t stream);

// The gradients, where mean and var are those of x; dgamma and dbeta are summed over the images.
// y, or beta for an activation that clips and no residual, tell the activation's derivative;
// without both there is none. dz, dy through the activation, may be null.
template <class T>
void normalize_backward(const NormalizationProblem& p, const T* dy, const T* x, const float* gamma,
                        const float* beta, const float* mean, const float* var, const T* y, T* dx,
                        float* dgamma, float* dbeta, T* dz, const Allocate& allocate,
                        cudaStream_t stream);

// running = (1 - momentum) running + momentum new, of mean and variance; the new variance is scaled
// first.
void move_statistics(std::int64_t channels, float* running_mean, float* running_var,
                     const float* mean, const float* var, double momentum, double scale,
                     cudaStream_t stream);

}  // namespace pyconv::cuda
