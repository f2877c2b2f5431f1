// A convolution as plain data. Shapes are computed here, once, for every backend.
#pragma once

#include <cstdint>

namespace pyconv {

// (size + before + after - dilation * (kernel - 1) - 1) / stride + 1, rounded down; 0 or less means
// that the kernel does not fit (Dumoulin and Visin, 2016, relation 15).
constexpr std::int64_t convolution_output_size(std::int64_t size, std::int64_t before,
                                               std::int64_t after, std::int64_t kernel,
                                               std::int64_t stride, std::int64_t dilation) {
    const std::int64_t span = size + before + after - dilation * (kernel - 1) - 1;
    return span < 0 ? 0 : span / stride + 1;
}

// The size whose convolution has `size` outputs, and the extra rows that the stride loses.
constexpr std::int64_t transposed_output_size(std::int64_t size, std::int64_t before,
                                              std::int64_t after, std::int64_t kernel,
                                              std::int64_t stride, std::int64_t dilation,
                                              std::int64_t extra) {
    return (size - 1) * stride - before - after + dilation * (kernel - 1) + extra + 1;
}

// The least padding that keeps ceil(size / stride); an odd one has its extra row at the end.
struct SamePadding {
    std::int64_t before, after;
};
constexpr SamePadding same_padding(std::int64_t size, std::int64_t kernel, std::int64_t stride,
                                   std::int64_t dilation) {
    const std::int64_t outputs = (size + stride - 1) / stride;
    const std::int64_t needed = (outputs - 1) * stride + dilation * (kernel - 1) + 1 - size;
    const std::int64_t total = needed > 0 ? needed : 0;
    return {total / 2, total - total / 2};
}

enum class Direction { forward, backward_input, backward_weight };

// Rows first, then columns.
struct ConvolutionProblem {
    std::int64_t batch = 0;
    std::int64_t in_channels = 0, in_height = 0, in_width = 0;
    std::int64_t out_channels = 0, out_height = 0, out_width = 0;
    std::int64_t kernel_height = 1, kernel_width = 1;
    std::int64_t stride_height = 1, stride_width = 1;
    std::int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;
    std::int64_t dilation_height = 1, dilation_width = 1;
    std::int64_t groups = 1;

    std::int64_t group_in() const { return in_channels / groups; }
    std::int64_t group_out() const { return out_channels / groups; }
    std::int64_t taps() const { return kernel_height * kernel_width; }
    std::int64_t outputs() const { return batch * out_height * out_width; }
    double flops() const {
        return 2.0 * static_cast<double>(outputs()) * static_cast<double>(out_channels) *
               static_cast<double>(group_in() * taps());
    }
    bool depthwise() const { return groups == in_channels && out_channels % in_channels == 0; }
};

// The 1x1 convolution behind a depthwise one, in a separable convolution.
inline ConvolutionProblem pointwise_problem(const ConvolutionProblem& depthwise,
                                            std::int64_t out_channels) {
    ConvolutionProblem p;
    p.batch = depthwise.batch;
    p.in_channels = depthwise.out_channels;
    p.in_height = p.out_height = depthwise.out_height;
    p.in_width = p.out_width = depthwise.out_width;
    p.out_channels = out_channels;
    return p;
}

// The outputs in [begin, end) along one axis whose window lies inside the input.
struct Interior {
    std::int64_t begin, end;
};
constexpr Interior interior(std::int64_t size, std::int64_t outputs, std::int64_t before,
                            std::int64_t kernel, std::int64_t stride, std::int64_t dilation) {
    std::int64_t begin = before > 0 ? (before + stride - 1) / stride : 0;
    const std::int64_t reach = size - 1 + before - dilation * (kernel - 1);
    std::int64_t end = reach < 0 ? 0 : reach / stride + 1;
    if (begin > outputs) begin = outputs;
    if (end > outputs) end = outputs;
    if (end < begin) end = begin;
    return {begin, end};
}

}  // namespace pyconv
