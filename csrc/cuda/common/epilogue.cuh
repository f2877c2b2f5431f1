// The last step of every product: what is done with a sum before it is stored.
#pragma once

#include <cmath>

#include "core/activation.h"
#include "cuda/common/index.h"
#include "cuda/common/smooth.cuh"

namespace pyconv::cuda {

// Those that a product applies to its sums by itself; the others take a pass of their own over the
// result, because their code, 64 times in every kernel, would be most of it.
PYCONV_HOST_DEVICE inline bool is_piecewise_linear(Activation activation) {
    return activation == Activation::none || activation == Activation::relu ||
           activation == Activation::relu6 || activation == Activation::leaky_relu;
}

// max(x, 0), min(x, cap) + slope min(x, 0); keeps NaN.
struct PiecewiseLinear {
    float slope = 1, cap = INFINITY;

    PiecewiseLinear() = default;
    PYCONV_HOST_DEVICE PiecewiseLinear(Activation activation, float leak) {
        if (activation == Activation::relu || activation == Activation::relu6) slope = 0;
        if (activation == Activation::relu6) cap = 6;
        if (activation == Activation::leaky_relu) slope = leak;
    }
    __device__ float operator()(float x) const {
        const float below = slope == 0 ? 0.0f : x * slope;  // infinity, too
        const float y = x < 0 ? below : x;
        return y > cap ? cap : y;
    }
};

__device__ inline float activate(Activation activation, float x, float slope) {
    switch (activation) {
        case Activation::sigmoid:
            return sigmoid(x);
        case Activation::tanh:
            return hyperbolic_tangent(x);
        case Activation::silu:
            return x * sigmoid(x);
        case Activation::gelu:
            return x * normal_distribution(x).distribution;
        default:
            return PiecewiseLinear(activation, slope)(x);
    }
}

// One of the activations that PiecewiseLinear has not.
struct Smooth {
    Activation activation;
    __device__ float operator()(float x) const { return activate(activation, x, 0); }
};

}  // namespace pyconv::cuda
