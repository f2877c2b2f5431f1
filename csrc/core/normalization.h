// Batch and instance normalization as plain data, for every backend.
#pragma once

#include <cstdint>

#include "core/activation.h"

namespace pyconv {

// `images` matrices of pixels x channels, one after the other. Each is normalized by itself; for a
// batch normalization the whole batch is one.
struct NormalizationProblem {
    std::int64_t images, pixels, channels;
    double eps;
    Activation activation = Activation::none;
    double slope = 0;
};

}  // namespace pyconv
