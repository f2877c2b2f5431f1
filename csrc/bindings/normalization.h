// The problem of a normalization from shapes; for both backends.
#pragma once

#include "bindings/shape.h"
#include "core/normalization.h"

namespace pyconv::bindings {

// A batch is one image of N * H * W pixels; `each` makes every image one of its own.
inline NormalizationProblem problem_of(const Shape& x, bool each, double eps, int activation = 0,
                                       double slope = 0) {
    const std::int64_t plane = x[2] * x[3];
    return {each ? x[0] : 1,
            each ? plane : x[0] * plane,
            x[1],
            eps,
            static_cast<Activation>(activation),
            slope};
}

}  // namespace pyconv::bindings
