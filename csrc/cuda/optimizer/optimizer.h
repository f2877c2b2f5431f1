// Steps of gradient descent, in place, all arrays in one launch; the norm of a list, and its
// product with a number.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "core/optimizer.h"
#include "cuda/common/launch.h"

namespace pyconv::cuda {

using Segment = pyconv::Segment<float>;

void sgd_step(const std::vector<Segment>& segments, const SgdSettings& settings,
              cudaStream_t stream);

void adam_step(const std::vector<Segment>& segments, const AdamSettings& settings,
               cudaStream_t stream);

// The sum of |gradient|^order over all segments, in float64; with order = infinity the largest.
void power_sum(const std::vector<Segment>& segments, double order, double* sum,
               const Allocate& allocate, cudaStream_t stream);

// parameter *= *factor.
void scale(const std::vector<Segment>& segments, const float* factor, cudaStream_t stream);

}  // namespace pyconv::cuda
