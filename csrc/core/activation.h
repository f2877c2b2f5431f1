// The activations that kernels fuse into their last step.
#pragma once

namespace pyconv {

// The numbers are those of pyconv.kernels._checks.ACTIVATIONS.
enum class Activation : int {
    none = 0,
    relu = 1,
    relu6 = 2,
    leaky_relu = 3,
    sigmoid = 4,
    tanh = 5,
    silu = 6,
    gelu = 7
};

}  // namespace pyconv
