// The axis of a softmax in memory; for both backends.
#pragma once

#include "bindings/shape.h"
#include "core/softmax.h"

namespace pyconv::bindings {

// The memory before, along and behind an axis, in the order in which the axes lie.
inline SoftmaxShape softmax_shape(const Shape& shape, const AxisOrder& order, int axis) {
    SoftmaxShape s{1, shape[axis], 1};
    bool behind = false;
    for (int i = 0; i < order.rank; ++i) {
        if (order.axis[i] == axis) {
            behind = true;
        } else {
            (behind ? s.inner : s.outer) *= shape[order.axis[i]];
        }
    }
    return s;
}

}  // namespace pyconv::bindings
