// What the depthwise kernels have in common.
#pragma once

#include <string>

#include "cuda/common/epilogue.cuh"
#include "cuda/common/packs.cuh"
#include "cuda/convolution/depthwise.h"

namespace pyconv::cuda {

inline constexpr int kDepthwiseThreads = 128;
// Neighbouring results of a row that a thread makes: as many as registers hold beside a row of the
// kernel's weights.
template <int kKernel, int kLanes>
inline constexpr int kRunOf = kKernel * kLanes >= 40 ? 2 : 4;

// One axis of a problem, in 31 bits.
struct DepthwiseAxis {
    int size, outputs, kernel, before;
    FastDivider stride;
    int dilation;

    DepthwiseAxis(std::int64_t size, std::int64_t outputs, std::int64_t kernel, std::int64_t before,
                  std::int64_t stride, std::int64_t dilation)
        : size(static_cast<int>(size)),
          outputs(static_cast<int>(outputs)),
          kernel(static_cast<int>(kernel)),
          before(static_cast<int>(before)),
          stride(outputs == 1 ? std::max(size, std::int64_t{1}) : stride),
          dilation(kernel == 1 ? 1 : static_cast<int>(dilation)) {
        checked_int("cells of an image, its padding and a kernel's reach",
                    size + before + (kernel == 1 ? 0 : dilation * (kernel - 1)) + 4 * (stride + 1));
    }
    __device__ bool holds(int at) const {
        return static_cast<unsigned>(at) < static_cast<unsigned>(size);
    }
    __device__ bool makes(int at) const {
        return static_cast<unsigned>(at) < static_cast<unsigned>(outputs);
    }
};
inline DepthwiseAxis rows_of(const ConvolutionProblem& p) {
    return {p.in_height, p.out_height,    p.kernel_height,
            p.pad_top,   p.stride_height, p.dilation_height};
}
inline DepthwiseAxis columns_of(const ConvolutionProblem& p) {
    return {p.in_width, p.out_width, p.kernel_width, p.pad_left, p.stride_width, p.dilation_width};
}

// f(kernel, stride), by constants, for those that have kernels of their own, if `own`; f(0, 0) for
// the others.
template <class F>
void with_shape(const ConvolutionProblem& p, bool own, F&& f) {
    const std::int64_t kernel = p.kernel_height, stride = p.stride_height;
    const bool square = kernel == p.kernel_width && stride == p.stride_width &&
                        p.dilation_height == 1 && p.dilation_width == 1;
    const auto by_stride = [&](auto constant) {
        stride == 1 ? f(constant, std::integral_constant<int, 1>{})
                    : f(constant, std::integral_constant<int, 2>{});
    };
    if (own && square && stride <= 2 && kernel == 3) {
        by_stride(std::integral_constant<int, 3>{});
    } else if (own && square && stride <= 2 && kernel == 5) {
        by_stride(std::integral_constant<int, 5>{});
    } else {
        f(std::integral_constant<int, 0>{}, std::integral_constant<int, 0>{});
    }
}

inline std::string describe_depthwise(const char* direction, const ConvolutionProblem& p) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    return std::string(direction) + ", " + text(p.batch) + "x" + text(p.in_channels) + "x" +
           text(p.in_height) + "x" + text(p.in_width) + ", " + text(p.kernel_height) + "x" +
           text(p.kernel_width);
}

template <int kLanes>
__device__ void multiply_add(const float (&x)[kLanes], const float (&w)[kLanes],
                             float (&sum)[kLanes]) {
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum[i] = fmaf(x[i], w[i], sum[i]);
}

// A pack of a row of pixels; zeros outside the image.
template <int kLanes, class T>
__device__ void load_inside(bool inside, const T* row, int pixel, int channels,
                            float (&to)[kLanes]) {
    Pack<T, kLanes> pack{};
    if (inside) pack = load_pack<kLanes>(row + static_cast<std::int64_t>(pixel) * channels);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) to[i] = widen(pack.value[i]);
}

// The epilogue of one pack, and its store; `at` is the place of its first element in the result.
// Activations that are not piecewise linear, whose code is long, are for kernels of one output.
template <bool kAnyActivation, class T>
struct DepthwiseFinish {
    Epilogue<T> epilogue;
    PiecewiseLinear linear;

    explicit DepthwiseFinish(const Epilogue<T>& e) : epilogue(e), linear(e.activation, e.slope) {}

    template <int kLanes>
    __device__ void store(T* y, std::int64_t at, int channel, float (&value)[kLanes]) const {
        if (epilogue.bias || epilogue.stored_bias || epilogue.residual) add(at, channel, value);
#pragma unroll
        for (int i = 0; i < kLanes; ++i) {
            value[i] = kAnyActivation ? activate(epilogue.activation, value[i], epilogue.slope)
                                      : linear(value[i]);
        }
        store_floats(y + at, value);
    }

  private:
    template <int kLanes>
    __device__ void add(std::int64_t at, int channel, float (&value)[kLanes]) const {
#pragma unroll
        for (int i = 0; i < kLanes; ++i) {
            if (epilogue.bias) value[i] += epilogue.bias[channel + i];
            if (epilogue.stored_bias) value[i] += widen(epilogue.stored_bias[channel + i]);
        }
        if (!epilogue.residual) return;
        float more[kLanes];
        load_floats(epilogue.residual + at, more);
#pragma unroll
        for (int i = 0; i < kLanes; ++i) value[i] += more[i];
    }
};

}  // namespace pyconv::cuda
