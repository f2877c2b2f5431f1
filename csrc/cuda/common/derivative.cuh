// What activations do to a gradient.
#pragma once

#include "core/activation.h"
#include "cuda/common/smooth.cuh"

namespace pyconv::cuda {

// dy times the derivative at z, the input or the output: both lie in the same piece. Where z is a
// NaN, dy as for a large one (leaky_relu: a small one).
struct PiecewiseDerivative {
    Activation activation = Activation::none;
    float slope = 0;

    __device__ float operator()(float dy, float z) const {
        if (activation == Activation::leaky_relu) return z > 0 ? dy : dy * slope;
        const bool above = activation == Activation::relu6 && z >= 6;
        return (z <= 0 && activation != Activation::none) || above ? 0 : dy;
    }
};

// dy times the derivative of a smooth activation at its input x.
struct SmoothDerivative {
    Activation activation;

    __device__ float operator()(float dy, float x) const {
        if (activation == Activation::gelu) {
            constexpr float kPeak = 0.39894228f;  // 1 / sqrt(2 pi)
            const NormalDistribution p = normal_distribution(x);
            return dy * fmaf(x, p.exponential * kPeak, p.distribution);
        }
        // s(x) s(-x) = e / (1 + e)^2, and 1 - tanh^2 is four times that at 2 x.
        const float e = exp_of_negative((activation == Activation::tanh ? -2 : -1) * fabsf(x));
        const float d = 1 / (1 + e);
        if (activation == Activation::silu) {
            const float small = e / (1 + e);
            return dy * (x < 0 ? small : d) * fmaf(x, x < 0 ? d : small, 1.0f);
        }
        return dy * ((activation == Activation::tanh ? 4 : 1) * e * d * d);
    }
};

// dy times the derivative at the input of which y is the output.
struct DerivativeFromOutput {
    PiecewiseDerivative pieces;

    __device__ float operator()(float dy, float y) const {
        switch (pieces.activation) {
            case Activation::sigmoid:
                return dy * y * (1 - y);
            case Activation::tanh:
                return dy * fmaf(-y, y, 1.0f);
            default:
                return pieces(dy, y);
        }
    }
};

}  // namespace pyconv::cuda
