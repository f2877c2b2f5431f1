// Resampling and padding along one axis; gather_sums makes images of two of them.
#pragma once

#include "cpu/pooling/axis.h"

namespace pyconv {

// `scale` is the factor between the sizes, 0 where the sizes give it.
Axis nearest_axis(std::int64_t size, std::int64_t outputs, double scale);
Axis linear_axis(std::int64_t size, std::int64_t outputs, double scale, bool align_corners);
// A frame of zeros, or of the cells mirrored about the first and the last.
Axis padding_axis(std::int64_t size, std::int64_t before, std::int64_t after, bool reflect);

}  // namespace pyconv
