// Cross-entropy over logits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/common/launch.h"

namespace pyconv::cuda {

// loss: the mean of `rows` rows of n logits; a NaN without rows, and where a class is none of the
// n.
template <class T>
void cross_entropy(const T* logits, const std::int64_t* targets, std::int64_t rows, std::int64_t n,
                   T* probabilities, float* loss, const Allocate& allocate, cudaStream_t stream);

// The gradient of the loss is a number, or (`d_loss_array` is not null) lies on the device. NaN in
// the row of a class that is none of the n.
template <class T>
void cross_entropy_backward(const T* probabilities, const std::int64_t* targets, std::int64_t rows,
                            std::int64_t n, double d_loss, const float* d_loss_array, T* d_logits,
                            cudaStream_t stream);

}  // namespace pyconv::cuda
