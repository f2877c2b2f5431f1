// Steps of gradient descent, in place, all arrays in one launch; the norm of a list, and its
// product with a number.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "cuda/common/launch.h"

namespace pyconv::cuda {

// Arrays of n elements that lie in the same order. What an operation doesn't use is null.
struct Segment {
    float* parameter = nullptr;
    const float* gradient = nullptr;
    float* first = nullptr;   // velocity, or first moment
    float* second = nullptr;  // second moment
    std::int64_t n = 0;
};

struct SgdSettings {
    double lr, momentum, dampening, weight_decay;
    bool nesterov;
};
void sgd_step(const std::vector<Segment>& segments, const SgdSettings& settings,
              cudaStream_t stream);

struct AdamSettings {
    double lr, beta1, beta2, eps, weight_decay;
    bool decoupled;
    std::int64_t step;
};
void adam_step(const std::vector<Segment>& segments, const AdamSettings& settings,
               cudaStream_t stream);

// The sum of |gradient|^order over all segments, in float64; with order = infinity the largest.
void power_sum(const std::vector<Segment>& segments, double order, double* sum,
               const Allocate& allocate, cudaStream_t stream);

// parameter *= *factor.
void scale(const std::vector<Segment>& segments, const float* factor, cudaStream_t stream);

}  // namespace pyconv::cuda
