// Convolutions as matrix products over pixels, taps and channels, all groups in one launch.
#include <numeric>

#include "cuda/convolution/convolution.h"
#include "cuda/convolution/sources.cuh"

namespace pyconv::cuda {

namespace {

std::string describe(const char* direction, const ConvolutionProblem& p) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    return std::string(direction) + ", " + text(p.batch) + "x" + text(p.in_channels) + "x" +
           text(p.in_height) + "x" + text(p.in_width) + ", " + text(p.out_channels) + " of " +
           text(p.kernel_height) + "x" + text(p.kernel_width) + ", groups " + text(p.groups);
}

bool aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; }

FastDivider divider(std::int64_t n) { return FastDivider(n < 1 ? 1 : n); }

// What the output pixels see of x.
Window forward_window(const ConvolutionProblem& p) {
    Window w{};
    w.height = static_cast<int>(p.in_height);
    w.width = static_cast<int>(p.in_width);
    w.pixel = static_cast<int>(p.in_channels);
    w.grid = divider(p.out_height * p.out_width);
    w.grid_width = divider(p.out_width);
    w.grid_height = static_cast<int>(p.out_height);
    w.origin_y = static_cast<int>(-p.pad_top);
    w.origin_x = static_cast<int>(-p.pad_left);
    w.step_y = static_cast<int>(p.stride_height);
    w.step_x = static_cast<int>(p.stride_width);
    w.taps_across = divider(p.kernel_width);
    w.channels = divider(p.group_in());
    w.tap_step_y = static_cast<int>(p.dilation_height);
    w.tap_step_x = static_cast<int>(p.dilation_width);
    return w;
}

// The taps that meet the input positions of one phase of the stride along an axis: first, first +
// every, ...; and the output position that the first of them and the first input position meet.
struct Phase {
    std::int64_t first = 0, every = 1, count = 0, origin = 0, step = 0;
};
Phase phase_of(std::int64_t phase, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
               std::int64_t dilation) {
    Phase result;
    result.every = stride / std::gcd(stride, dilation);
    while (result.first < kernel && (phase + pad - result.first * dilation) % stride != 0) {
        ++result.first;
    }
    if (result.first >= kernel) return result;
    result.count = divide_up(kernel - result.first, result.every);
    result.origin = (phase + pad - result.first * dilation) / stride;
    result.step = -result.every * dilation / stride;
    return result;
}

}  // namespace

void convolution_forward(const ConvolutionProblem& p, const float* x, const float* weight, float* y,
                         const Epilogue& epilogue, const Allocate& allocate, cudaStream_t stream) {
    const int depth = checked_int("terms of a sum", p.taps() * p.group_in());
    const int columns = static_cast<int>(p.group_out());
    Rows out;
    out.data = y;
    out.rows = checked_int("pixels of the output", p.outputs());
    out.columns = columns;
    out.grid = out.width = divider(p.outputs());
    out.pixel_step = p.out_channels;
    out.group_step = columns;
    const bool columns_aligned = columns % 4 == 0 && p.out_channels % 4 == 0;
    out.vectors = columns_aligned && aligned(y);
    const bool vectors = columns_aligned && aligned(weight) && aligned(x) &&
                         p.group_in() % 4 == 0 && p.in_channels % 4 == 0;
    const auto run = [&](auto constant) {
        constexpr bool kVectors = decltype(constant)::value;
        const PixelRows<kVectors> pixels{x, out.rows, depth, forward_window(p),
                                         static_cast<int>(p.group_in())};
        const AlongRows<kVectors> matrix{weight, columns, depth, p.out_channels, columns};
        launch_product("convolution", describe("forward", p), pixels, matrix, out, epilogue, depth,
                       static_cast<int>(p.groups), allocate, stream);
    };
    vectors ? run(std::true_type{}) : run(std::false_type{});
}

void convolution_backward_input(const ConvolutionProblem& p, const float* dy, const float* weight,
                                float* dx, const Epilogue& epilogue, const Allocate& allocate,
                                cudaStream_t stream) {
    const int columns = static_cast<int>(p.group_in());
    const bool vectors =
        p.group_out() % 4 == 0 && p.out_channels % 4 == 0 && aligned(dy) && aligned(weight);
    const std::int64_t row = p.in_width * p.in_channels;
    for (std::int64_t py = 0; py < std::min(p.stride_height, p.in_height); ++py) {
        const Phase vertical =
            phase_of(py, p.kernel_height, p.stride_height, p.pad_top, p.dilation_height);
        for (std::int64_t px = 0; px < std::min(p.stride_width, p.in_width); ++px) {
            const Phase across =
                phase_of(px, p.kernel_width, p.stride_width, p.pad_left, p.dilation_width);
            const std::int64_t height = divide_up(p.in_height - py, p.stride_height);
            const std::int64_t width = divide_up(p.in_width - px, p.stride_width);
            const int depth =
                checked_int("terms of a sum", vertical.count * across.count * p.group_out());
            Rows out;
            out.data = dx + py * row + px * p.in_channels;
            out.rows = checked_int("pixels of the image", p.batch * height * width);
            out.columns = columns;
            out.grid = divider(height * width);
            out.width = divider(width);
            out.image_step = p.in_height * row;
            out.row_step = p.stride_height * row;
            out.pixel_step = p.stride_width * p.in_channels;
            out.group_step = columns;
            out.vectors = columns % 4 == 0 && p.in_channels % 4 == 0 && aligned(dx);
            Window window{};
            window.height = static_cast<int>(p.out_height);
            window.width = static_cast<int>(p.out_width);
            window.pixel = static_cast<int>(p.out_channels);
            window.grid = out.grid;
            window.grid_width = out.width;
            window.grid_height = static_cast<int>(height);
            window.origin_y = static_cast<int>(vertical.origin);
            window.origin_x = static_cast<int>(across.origin);
            window.step_y = window.step_x = 1;
            window.taps_across = divider(across.count);
            window.channels = divider(p.group_out());
            window.tap_step_y = static_cast<int>(vertical.step);
            window.tap_step_x = static_cast<int>(across.step);
            const std::int64_t tap = p.group_in() * p.out_channels;
            const auto run = [&](auto constant) {
                constexpr bool kVectors = decltype(constant)::value;
                const PixelRows<kVectors> pixels{dy, out.rows, depth, window,
                                                 static_cast<int>(p.group_out())};
                WeightRows<kVectors> matrix{};
                matrix.data = weight + (vertical.first * p.kernel_width + across.first) * tap;
                matrix.rows = columns;
                matrix.depth = depth;
                matrix.taps_across = window.taps_across;
                matrix.channels = window.channels;
                matrix.tap_row = vertical.every * p.kernel_width * tap;
                matrix.tap_column = across.every * tap;
                matrix.pitch = p.out_channels;
                matrix.group_step = static_cast<int>(p.group_out());
                launch_product("convolution", describe("backward data", p), pixels, matrix, out,
                               epilogue, depth, static_cast<int>(p.groups), allocate, stream);
            };
            vectors ? run(std::true_type{}) : run(std::false_type{});
        }
    }
}

void convolution_backward_weight(const ConvolutionProblem& p, const float* dy, const float* x,
                                 float* dw, const Allocate& allocate, cudaStream_t stream) {
    const int depth = checked_int("pixels of the output", p.outputs());
    const int columns = static_cast<int>(p.group_out());
    Rows out;
    out.data = dw;
    out.rows = checked_int("elements of a filter", p.taps() * p.group_in());
    out.columns = columns;
    out.grid = out.width = divider(out.rows);
    out.pixel_step = p.out_channels;
    out.group_step = columns;
    const bool columns_aligned = columns % 4 == 0 && p.out_channels % 4 == 0;
    out.vectors = columns_aligned && aligned(dw);
    const bool vectors = columns_aligned && aligned(dy) && aligned(x) && p.group_in() % 4 == 0 &&
                         p.in_channels % 4 == 0;
    const auto run = [&](auto constant) {
        constexpr bool kVectors = decltype(constant)::value;
        const TapRows<kVectors> pixels{x, out.rows, depth, forward_window(p),
                                       static_cast<int>(p.group_in())};
        const AlongRows<kVectors> gradient{dy, columns, depth, p.out_channels, columns};
        launch_product("convolution", describe("backward weight", p), pixels, gradient, out,
                       Epilogue{}, depth, static_cast<int>(p.groups), allocate, stream);
    };
    vectors ? run(std::true_type{}) : run(std::false_type{});
}

}  // namespace pyconv::cuda
