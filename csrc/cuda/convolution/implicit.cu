// Convolutions as matrix products over pixels, taps and channels, all groups in one launch.
#include <algorithm>
#include <numeric>
#include <type_traits>

#include "cuda/convolution/convolution.h"
#include "cuda/dense/products.h"

namespace pyconv::cuda {

namespace {

std::string describe(const char* direction, const ConvolutionProblem& p) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    return std::string(direction) + ", " + text(p.batch) + "x" + text(p.in_channels) + "x" +
           text(p.in_height) + "x" + text(p.in_width) + ", " + text(p.out_channels) + " of " +
           text(p.kernel_height) + "x" + text(p.kernel_width) + ", groups " + text(p.groups);
}

FastDivider divider(std::int64_t n) { return FastDivider(n < 1 ? 1 : n); }

// Offsets in an image are counted in pieces, and must fit.
int pixel_pieces(std::int64_t pixels, std::int64_t channels, int piece) {
    checked_int("elements of an image", pixels * channels / piece);
    return static_cast<int>(channels / piece);
}

// What the output pixels see of x.
Window forward_window(const ConvolutionProblem& p, int piece) {
    Window w{};
    w.height = static_cast<int>(p.in_height);
    w.width = static_cast<int>(p.in_width);
    w.pixel = pixel_pieces(p.batch * p.in_height * p.in_width, p.in_channels, piece);
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

// f(pieces of the image, of the other operand). Where the other can't be read in pieces, neither
// is: fewer kernels. The first layer's image can't.
template <class Product, class F>
void with_pieces(bool image, bool other, F&& f) {
    using Pieces = std::integral_constant<int, Product::kPiece>;
    using Elements = std::integral_constant<int, 1>;
    if (image && other) return f(Pieces{}, Pieces{});
    other ? f(Elements{}, Pieces{}) : f(Elements{}, Elements{});
}

// f(product) for the arithmetic that is asked for.
template <class T, class F>
void with_product(Arithmetic arithmetic, F&& f) {
    if constexpr (sizeof(T) == sizeof(float)) {
        if (arithmetic == Arithmetic::simt) return f(SimtProduct{});
    }
    f(TensorProduct<T>{});
}

template <class T>
bool four_aligned(const T* data, std::int64_t step, std::int64_t extent) {
    return aligned_to(4 * sizeof(T), data) && step % 4 == 0 && extent % 4 == 0;
}

template <class Product, class T>
void forward(const ConvolutionProblem& p, const T* x, const T* weight, T* y,
             const Epilogue<T>& epilogue, const Allocate& allocate, cudaStream_t stream) {
    const int depth = checked_int("terms of a sum", p.taps() * p.group_in());
    const int columns = static_cast<int>(p.group_out());
    Rows<T> out;
    out.data = y;
    out.rows = checked_int("pixels of the output", p.outputs());
    out.columns = columns;
    out.grid = out.width = divider(p.outputs());
    out.pixel_step = p.out_channels;
    out.group_step = columns;
    out.vectors = four_aligned(y, p.out_channels, columns);
    const ProductTask<T> task{"convolution", describe("forward", p),     out,      epilogue,
                              depth,         static_cast<int>(p.groups), allocate, stream};
    const bool image_in_pieces = in_pieces(x, p.in_channels, p.group_in());
    const bool weight_in_pieces = in_pieces(weight, p.out_channels, columns);
    with_pieces<Product>(image_in_pieces, weight_in_pieces, [&](auto of_image, auto of_weight) {
        const Pixels<Product, of_image> pixels{x, out.rows, depth, forward_window(p, of_image),
                                               static_cast<int>(p.group_in())};
        const int pitch = pixel_pieces(depth, p.out_channels, of_weight);
        const Columns<Product, of_weight> matrix{weight, columns, depth, pitch, columns};
        Product::run(pixels, matrix, task);
    });
}

// The gradient of the input positions of one phase of the stride.
template <class Product, class T>
void backward_phase(const ConvolutionProblem& p, std::int64_t py, std::int64_t px, const T* dy,
                    const T* weight, T* dx, const Epilogue<T>& epilogue, const Allocate& allocate,
                    cudaStream_t stream) {
    const Phase vertical =
        phase_of(py, p.kernel_height, p.stride_height, p.pad_top, p.dilation_height);
    const Phase across = phase_of(px, p.kernel_width, p.stride_width, p.pad_left, p.dilation_width);
    const std::int64_t height = divide_up(p.in_height - py, p.stride_height);
    const std::int64_t width = divide_up(p.in_width - px, p.stride_width);
    const int depth = checked_int("terms of a sum", vertical.count * across.count * p.group_out());
    const int columns = static_cast<int>(p.group_in());
    const std::int64_t row = p.in_width * p.in_channels;
    Rows<T> out;
    out.data = dx + py * row + px * p.in_channels;
    out.rows = checked_int("pixels of the image", p.batch * height * width);
    out.columns = columns;
    out.grid = divider(height * width);
    out.width = divider(width);
    out.image_step = p.in_height * row;
    out.row_step = p.stride_height * row;
    out.pixel_step = p.stride_width * p.in_channels;
    out.group_step = columns;
    out.vectors = four_aligned(dx, p.in_channels, columns);
    Window window{};
    window.height = static_cast<int>(p.out_height);
    window.width = static_cast<int>(p.out_width);
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
    checked_int("elements of the weight", p.taps() * tap);
    const ProductTask<T> task{"convolution", describe("backward data", p), out,      epilogue,
                              depth,         static_cast<int>(p.groups),   allocate, stream};
    const bool pieces = in_pieces(dy, p.out_channels, p.group_out()) && aligned_to(16, weight);
    with_pieces<Product>(pieces, pieces, [&](auto piece, auto) {
        window.pixel = pixel_pieces(p.outputs(), p.out_channels, piece);
        const Pixels<Product, piece> pixels{dy, out.rows, depth, window,
                                            static_cast<int>(p.group_out())};
        Weights<Product, piece> matrix{};
        matrix.data = weight + (vertical.first * p.kernel_width + across.first) * tap;
        matrix.rows = columns;
        matrix.depth = depth;
        matrix.taps_across = window.taps_across;
        matrix.channels = window.channels;
        matrix.tap_row = static_cast<int>(vertical.every * p.kernel_width * tap / piece);
        matrix.tap_column = static_cast<int>(across.every * tap / piece);
        matrix.pitch = static_cast<int>(p.out_channels / piece);
        matrix.group_step = static_cast<int>(p.group_out());
        Product::run(pixels, matrix, task);
    });
}

template <class Product, class T>
void backward_weight(const ConvolutionProblem& p, const T* dy, const T* x, T* dw,
                     const Allocate& allocate, cudaStream_t stream) {
    const int depth = checked_int("pixels of the output", p.outputs());
    const int columns = static_cast<int>(p.group_out());
    Rows<T> out;
    out.data = dw;
    out.rows = checked_int("elements of a filter", p.taps() * p.group_in());
    out.columns = columns;
    out.grid = out.width = divider(out.rows);
    out.pixel_step = p.out_channels;
    out.group_step = columns;
    out.vectors = four_aligned(dw, p.out_channels, columns);
    const ProductTask<T> task{
        "convolution", describe("backward weight", p), out,      Epilogue<T>{},
        depth,         static_cast<int>(p.groups),     allocate, stream};
    const bool image_in_pieces = in_pieces(x, p.in_channels, p.group_in());
    const bool dy_in_pieces = in_pieces(dy, p.out_channels, columns);
    with_pieces<Product>(image_in_pieces, dy_in_pieces, [&](auto of_image, auto of_dy) {
        const Taps<Product, of_image> pixels{x, out.rows, depth, forward_window(p, of_image),
                                             static_cast<int>(p.group_in())};
        const int pitch = pixel_pieces(depth, p.out_channels, of_dy);
        const Columns<Product, of_dy> gradient{dy, columns, depth, pitch, columns};
        Product::run(pixels, gradient, task);
    });
}

}  // namespace

template <class T>
void convolution_forward(const ConvolutionProblem& p, const T* x, const T* weight, T* y,
                         const Epilogue<T>& epilogue, Arithmetic arithmetic,
                         const Allocate& allocate, cudaStream_t stream) {
    with_product<T>(arithmetic, [&](auto product) {
        forward<decltype(product)>(p, x, weight, y, epilogue, allocate, stream);
    });
}

template <class T>
void convolution_backward_input(const ConvolutionProblem& p, const T* dy, const T* weight, T* dx,
                                const Epilogue<T>& epilogue, Arithmetic arithmetic,
                                const Allocate& allocate, cudaStream_t stream) {
    with_product<T>(arithmetic, [&](auto product) {
        for (std::int64_t py = 0; py < std::min(p.stride_height, p.in_height); ++py) {
            for (std::int64_t px = 0; px < std::min(p.stride_width, p.in_width); ++px) {
                backward_phase<decltype(product)>(p, py, px, dy, weight, dx, epilogue, allocate,
                                                  stream);
            }
        }
    });
}

template <class T>
void convolution_backward_weight(const ConvolutionProblem& p, const T* dy, const T* x, T* dw,
                                 Arithmetic arithmetic, const Allocate& allocate,
                                 cudaStream_t stream) {
    with_product<T>(arithmetic, [&](auto product) {
        backward_weight<decltype(product)>(p, dy, x, dw, allocate, stream);
    });
}

#define PYCONV_CONVOLUTION(T)                                                                    \
    template void convolution_forward(const ConvolutionProblem&, const T*, const T*, T*,         \
                                      const Epilogue<T>&, Arithmetic, const Allocate&,           \
                                      cudaStream_t);                                             \
    template void convolution_backward_input(const ConvolutionProblem&, const T*, const T*, T*,  \
                                             const Epilogue<T>&, Arithmetic, const Allocate&,    \
                                             cudaStream_t);                                      \
    template void convolution_backward_weight(const ConvolutionProblem&, const T*, const T*, T*, \
                                              Arithmetic, const Allocate&, cudaStream_t)
PYCONV_CONVOLUTION(float);
PYCONV_CONVOLUTION(half);
PYCONV_CONVOLUTION(bfloat16);

}  // namespace pyconv::cuda
