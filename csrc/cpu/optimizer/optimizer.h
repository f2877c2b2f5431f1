// Steps of gradient descent, in place, over lists of arrays; and the norm of such a list.
#pragma once

#include <cstdint>
#include <vector>

#include "core/isa.h"

namespace pyconv {

// Arrays of n elements that lie in the same order. What an operation doesn't use is null.
template <class T>
struct Segment {
    T* parameter = nullptr;
    const T* gradient = nullptr;
    T* first = nullptr;   // velocity, or first moment
    T* second = nullptr;  // second moment
    std::int64_t n = 0;
};

struct SgdSettings {
    double lr, momentum, dampening, weight_decay;
    bool nesterov;
};

struct AdamSettings {
    double lr, beta1, beta2, eps, weight_decay;
    bool decoupled;
    std::int64_t step;
};

template <class T>
void sgd_step(Isa isa, const std::vector<Segment<T>>& segments, const SgdSettings& settings);

template <class T>
void adam_step(Isa isa, const std::vector<Segment<T>>& segments, const AdamSettings& settings);

// The sum of |gradient|^order over all segments, in float64; with order = infinity the largest.
template <class T>
double power_sum(Isa isa, const std::vector<Segment<T>>& segments, double order);

}  // namespace pyconv
