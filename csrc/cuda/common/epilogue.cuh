// The last step of every product: what is done with a sum before it is stored.
#pragma once

#include "core/activation.h"

namespace pyconv::cuda {

__device__ inline float activate(Activation activation, float x, float slope) {
    switch (activation) {
        case Activation::none:
            return x;
        case Activation::relu:
            return x < 0 ? 0.0f : x;  // keeps NaN
        case Activation::relu6:
            return x < 0 ? 0.0f : x > 6 ? 6.0f : x;
        case Activation::leaky_relu:
            return x < 0 ? x * slope : x;
        case Activation::sigmoid:
            return 1 / (1 + expf(-x));
        case Activation::tanh:
            return tanhf(x);
        case Activation::silu:
            return x / (1 + expf(-x));
        case Activation::gelu:
            return 0.5f * x * (1 + erff(x * 0.70710678f));
    }
    return x;
}

}  // namespace pyconv::cuda
