// Cross-entropy over logits.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace pyconv {

// Returns the mean loss of `rows` rows of n logits; a NaN without rows.
template <class T>
double cross_entropy(Isa isa, const T* logits, const std::int64_t* targets, std::int64_t rows,
                     std::int64_t n, T* probabilities);

template <class T>
void cross_entropy_backward(Isa isa, const T* probabilities, const std::int64_t* targets,
                            std::int64_t rows, std::int64_t n, double d_loss, T* d_logits);

}  // namespace pyconv
