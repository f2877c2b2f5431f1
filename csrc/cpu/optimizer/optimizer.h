// Steps of gradient descent, in place, over lists of arrays; and the norm of such a list.
#pragma once

#include <cstdint>
#include <vector>

#include "core/isa.h"
#include "core/optimizer.h"

namespace pyconv {

template <class T>
void sgd_step(Isa isa, const std::vector<Segment<T>>& segments, const SgdSettings& settings);

template <class T>
void adam_step(Isa isa, const std::vector<Segment<T>>& segments, const AdamSettings& settings);

// The sum of |gradient|^order over all segments, in float64; with order = infinity the largest.
template <class T>
double power_sum(Isa isa, const std::vector<Segment<T>>& segments, double order);

}  // namespace pyconv
