#include "cpu/convolution/convolution.h"

#include <algorithm>
#include <numeric>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/convolution/depthwise.h"
#include "cpu/convolution/few_channels.h"
#include "cpu/convolution/few_outputs.h"
#include "cpu/convolution/grouped.h"
#include "cpu/convolution/weight_gradient.h"
#include "cpu/convolution/winograd.h"
#include "cpu/dense/gemm.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// The epilogue over an image that a kernel without one has written.
template <class T>
void finish_image(const DenseKernels<T>& kernels, T* y, std::int64_t pixels, std::int64_t channels,
                  const Epilogue<T>& epilogue) {
    const EvenCut strips(pixels,
                         std::max<std::int64_t>(1, 4096 / std::max<std::int64_t>(1, channels)));
    const int vectors = static_cast<int>((channels + kernels.lanes - 1) / kernels.lanes);
    const int last = static_cast<int>(channels - (vectors - 1) * kernels.lanes);
    parallel_for(strips.count(), static_cast<double>(pixels * channels) / 2e3,
                 [&](std::int64_t strip) {
                     Scratch scratch;
                     T* const sums = scratch.take<T>(vectors * kernels.lanes);
                     for (std::int64_t i = strips.begin(strip);
                          i < strips.begin(strip) + strips.size(strip); ++i) {
                         std::copy(y + i * channels, y + (i + 1) * channels, sums);
                         kernels.finish_row(sums, y + i * channels, vectors, last, epilogue);
                     }
                 });
}

// Few channels to one vector of outputs: as one group of the kernels for wide groups, whose inputs
// serve all taps of a kernel row. Runs of a kernel row have a load for each FMA there. With one
// channel, or several vectors, or a stride, these gain.
template <class T>
bool fits_wide(const WideKernels<T>& kernels, const ConvolutionProblem& p) {
    return p.out_channels <= kernels.lanes && p.in_channels >= 2 && p.in_channels <= 4 &&
           p.stride_width == 1 && p.out_width >= 4;
}

// Runs problems that differ only in their grids, taps and results.
template <class T>
void run(Isa isa, Algorithm algorithm, const ConvolutionProblem& p,
         const std::vector<IndirectProblem<T>>& phases) {
    const bool grouped = algorithm == Algorithm::grouped;
    if (algorithm == Algorithm::few_channels || (grouped && is_wide(p, isa))) {
        run_wide(wide_kernels<T>(isa), dense_kernels<T>(isa), phases);
        return;
    }
    for (const IndirectProblem<T>& q : phases) {
        if (grouped) {
            run_grouped(grouped_kernels<T>(isa), q);
        } else {
            run_indirect(dense_kernels<T>(isa), q);
        }
    }
}

// The weight is `packed`, or (null) packed panel by panel.
template <class T>
void direct_forward(Isa isa, Algorithm algorithm, const ConvolutionProblem& p, const T* x,
                    const WeightView<T>& weight, const T* packed, T* y,
                    const Epilogue<T>& epilogue) {
    IndirectProblem<T> q;
    q.batch = p.batch;
    q.grid_height = p.out_height;
    q.grid_width = p.out_width;
    q.out = y;
    q.out_pixel = p.out_channels;
    q.out_row = p.out_width * q.out_pixel;
    q.out_image = p.out_height * q.out_row;
    q.in = x;
    q.in_pixel = p.in_channels;
    q.in_row = p.in_width * q.in_pixel;
    q.in_image = p.in_height * q.in_row;
    q.in_height = p.in_height;
    q.in_width = p.in_width;
    q.step_y = p.stride_height;
    q.step_x = p.stride_width;
    for (std::int64_t r = 0; r < p.kernel_height; ++r) {
        for (std::int64_t s = 0; s < p.kernel_width; ++s) {
            q.taps.push_back({r * p.dilation_height - p.pad_top, s * p.dilation_width - p.pad_left,
                              static_cast<std::int32_t>(r * p.kernel_width + s)});
        }
    }
    q.depth = p.group_in();
    q.columns = p.group_out();
    q.groups = p.groups;
    q.packed = packed;
    q.packed_taps = p.taps();
    q.weight = forward_matrices(weight, p);
    q.epilogue = epilogue;
    run<T>(isa, algorithm, p, {q});
}

// Backward data, one problem for each phase of the stride: the input positions iy = phase + stride
// * gy see the taps r with (iy + pad - r * dilation) divisible by the stride, at dy row
// (iy + pad - r * dilation) / stride. No zeros are inserted.
template <class T>
void direct_backward_input(Isa isa, Algorithm algorithm, const ConvolutionProblem& p, const T* dy,
                           const WeightView<T>& weight, const T* packed, T* dx,
                           const Epilogue<T>& epilogue) {
    IndirectProblem<T> q;
    q.batch = p.batch;
    q.in = dy;
    q.in_pixel = p.out_channels;
    q.in_row = p.out_width * q.in_pixel;
    q.in_image = p.out_height * q.in_row;
    q.in_height = p.out_height;
    q.in_width = p.out_width;
    q.depth = p.group_out();
    q.columns = p.group_in();
    q.groups = p.groups;
    q.packed = packed;
    q.packed_taps = p.taps();
    q.weight = backward_matrices(weight, p);
    q.epilogue = epilogue;
    const std::int64_t dx_row = p.in_width * p.in_channels;
    q.out_image = p.in_height * dx_row;
    q.out_row = p.stride_height * dx_row;
    q.out_pixel = p.stride_width * p.in_channels;
    std::vector<IndirectProblem<T>> phases;
    for (std::int64_t py = 0; py < std::min(p.stride_height, p.in_height); ++py) {
        for (std::int64_t px = 0; px < std::min(p.stride_width, p.in_width); ++px) {
            q.grid_height = (p.in_height - py + p.stride_height - 1) / p.stride_height;
            q.grid_width = (p.in_width - px + p.stride_width - 1) / p.stride_width;
            q.out = dx + py * dx_row + px * p.in_channels;
            q.taps.clear();
            for (std::int64_t r = 0; r < p.kernel_height; ++r) {
                const std::int64_t y = py + p.pad_top - r * p.dilation_height;
                if (y % p.stride_height != 0) continue;
                for (std::int64_t s = 0; s < p.kernel_width; ++s) {
                    const std::int64_t x = px + p.pad_left - s * p.dilation_width;
                    if (x % p.stride_width != 0) continue;
                    q.taps.push_back({y / p.stride_height, x / p.stride_width,
                                      static_cast<std::int32_t>(r * p.kernel_width + s)});
                }
            }
            phases.push_back(q);
        }
    }
    run(isa, algorithm, p, phases);
}

// The variant that an algorithm stands for; -1: it is another one.
int variant_of(Algorithm algorithm, const ConvolutionProblem& p) {
    switch (algorithm) {
        case Algorithm::winograd2:
            return winograd_variant(2, p.kernel_height);
        case Algorithm::winograd4:
            return winograd_variant(4, p.kernel_height);
        case Algorithm::winograd6:
            return winograd_variant(6, p.kernel_height);
        default:
            return -1;
    }
}

}  // namespace

template <class T>
std::int64_t packed_weight_size(Isa isa, Algorithm algorithm, const ConvolutionProblem& p) {
    const int variant = variant_of(algorithm, p);
    if (variant >= 0) {
        return winograd_weight_size(dense_kernels<T>(isa), variant, p.in_channels, p.out_channels);
    }
    if (algorithm == Algorithm::grouped && !is_wide(p, isa)) {
        return grouped_weight_size(grouped_kernels<T>(isa), p.groups, p.taps(), p.group_in(),
                                   p.group_out());
    }
    if (algorithm == Algorithm::depthwise) {
        return depthwise_weight_size(depthwise_kernels<T>(isa), p);
    }
    if (algorithm == Algorithm::few_outputs) return few_outputs_weight_size(p);
    const Panels<T> panels(dense_kernels<T>(isa), p.group_out());
    return p.groups * panels.size(p.taps() * p.group_in());
}

template <class T>
void pack_weight(Isa isa, Algorithm algorithm, const ConvolutionProblem& p,
                 const WeightView<T>& weight, T* packed) {
    if (algorithm == Algorithm::grouped && !is_wide(p, isa)) {
        pack_grouped(grouped_kernels<T>(isa), forward_matrices(weight, p), p.groups, p.taps(),
                     p.group_in(), p.group_out(), packed);
    } else if (algorithm == Algorithm::depthwise) {
        pack_depthwise(depthwise_kernels<T>(isa), p, weight, packed);
    } else if (algorithm == Algorithm::few_outputs) {
        pack_few_outputs(p, weight, packed);
    } else if (const int variant = variant_of(algorithm, p); variant >= 0) {
        pack_winograd(dense_kernels<T>(isa), winograd_kernels<T>(isa), variant,
                      forward_matrices(weight, p), false, p.in_channels, p.out_channels, packed);
    } else {
        pack_weight(dense_kernels<T>(isa), forward_matrices(weight, p), p.groups, p.taps(),
                    p.group_in(), p.group_out(), packed);
    }
}

template <class T>
void convolution_forward(Isa isa, Algorithm algorithm, const ConvolutionProblem& p, const T* x,
                         const WeightView<T>& weight, const T* packed, T* y,
                         const Epilogue<T>& epilogue) {
    if (p.outputs() == 0 || p.out_channels == 0) return;
    if (const int variant = variant_of(algorithm, p); variant >= 0) {
        WinogradProblem<T> q = winograd_forward_problem(variant, p, x, weight, y);
        q.packed = packed;
        q.epilogue = epilogue;
        run_winograd(dense_kernels<T>(isa), winograd_kernels<T>(isa), q);
        return;
    }
    Scratch scratch;
    const bool by_panel =
        algorithm == Algorithm::direct &&
        packs_by_panel<T>(p.outputs(), p.group_in(), p.out_channels * p.group_in() * p.taps());
    if (!packed && !by_panel) {
        T* const fresh = scratch.take<T>(packed_weight_size<T>(isa, algorithm, p));
        pack_weight(isa, algorithm, p, weight, fresh);
        packed = fresh;
    }
    const DenseKernels<T>& kernels = dense_kernels<T>(isa);
    // These two add no residual; then the whole epilogue comes afterwards.
    const bool apart = epilogue.residual_offset != 0;
    const Epilogue<T> own = apart ? Epilogue<T>{} : epilogue;
    switch (algorithm) {
        case Algorithm::depthwise:
            depthwise_forward(depthwise_kernels<T>(isa), p, x, packed, y, own);
            if (apart) finish_image(kernels, y, p.outputs(), p.out_channels, epilogue);
            break;
        case Algorithm::few_outputs:
            few_outputs_forward(few_outputs_kernels<T>(isa), p, x, packed, y, own);
            if (apart) finish_image(kernels, y, p.outputs(), p.out_channels, epilogue);
            break;
        case Algorithm::few_channels:
            if (fits_wide(wide_kernels<T>(isa), p)) {
                direct_forward(isa, algorithm, p, x, weight, packed, y, epilogue);
            } else {
                few_channels_forward(kernels, p, x, packed, y, epilogue);
            }
            break;
        default:
            direct_forward(isa, algorithm, p, x, weight, packed, y, epilogue);
            break;
    }
}

template <class T>
void convolution_backward_input(Isa isa, Algorithm algorithm, const ConvolutionProblem& p,
                                const T* dy, const WeightView<T>& weight, T* dx,
                                const Epilogue<T>& epilogue) {
    if (p.batch == 0 || p.in_channels == 0) return;
    const DenseKernels<T>& kernels = dense_kernels<T>(isa);
    Scratch scratch;
    if (const int variant = variant_of(algorithm, p); variant >= 0) {
        WinogradProblem<T> q = winograd_backward_problem(variant, p, dy, weight, dx);
        q.epilogue = epilogue;
        run_winograd(kernels, winograd_kernels<T>(isa), q);
    } else if (algorithm == Algorithm::depthwise) {
        depthwise_backward_input(depthwise_kernels<T>(isa), p, dy, weight, dx, epilogue);
    } else if (algorithm == Algorithm::few_outputs) {
        few_outputs_backward_input(few_outputs_kernels<T>(isa), p, dy, weight, dx, epilogue);
    } else if (algorithm == Algorithm::few_channels) {
        T* const packed = scratch.take<T>(patches_size(kernels, p));
        pack_patches(kernels, p, weight, packed);
        few_channels_backward_input(kernels, p, dy, packed, dx, epilogue);
    } else if (algorithm == Algorithm::grouped && !is_wide(p, isa)) {
        const GroupedKernels<T>& grouped = grouped_kernels<T>(isa);
        T* const packed = scratch.take<T>(
            grouped_weight_size(grouped, p.groups, p.taps(), p.group_out(), p.group_in()));
        pack_grouped(grouped, backward_matrices(weight, p), p.groups, p.taps(), p.group_out(),
                     p.group_in(), packed);
        direct_backward_input(isa, algorithm, p, dy, weight, static_cast<const T*>(packed), dx,
                              epilogue);
    } else {
        T* packed = nullptr;
        const std::int64_t rows = p.batch * p.in_height * p.in_width;
        if (algorithm == Algorithm::grouped ||
            !packs_by_panel<T>(rows, p.group_out(), p.out_channels * p.group_in() * p.taps())) {
            const Panels<T> panels(kernels, p.group_in());
            packed = scratch.take<T>(p.groups * panels.size(p.taps() * p.group_out()));
            pack_weight(kernels, backward_matrices(weight, p), p.groups, p.taps(), p.group_out(),
                        p.group_in(), packed);
        }
        direct_backward_input<T>(isa, algorithm, p, dy, weight, packed, dx, epilogue);
    }
}

template <class T>
void convolution_backward_weight(Isa isa, Algorithm algorithm, const ConvolutionProblem& p,
                                 const T* dy, const T* x, T* dw) {
    // A group that fills a vector by itself is a matrix product without waste.
    const bool wide = algorithm == Algorithm::grouped && is_wide(p, isa);
    if (algorithm == Algorithm::grouped && !wide &&
        p.group_out() >= grouped_kernels<T>(isa).lanes) {
        algorithm = Algorithm::direct;
    }
    if (const int variant = variant_of(algorithm, p); variant >= 0) {
        winograd_backward_weight(dense_kernels<T>(isa), winograd_kernels<T>(isa), variant, p, dy, x,
                                 dw);
    } else if (wide) {
        wide_backward_weight(wide_kernels<T>(isa), p, dy, x, dw);
    } else if (algorithm == Algorithm::grouped) {
        grouped_backward_weight(grouped_kernels<T>(isa), p, dy, x, dw);
    } else if (algorithm == Algorithm::depthwise) {
        depthwise_backward_weight(depthwise_kernels<T>(isa), p, dy, x, dw);
    } else if (algorithm == Algorithm::few_outputs) {
        few_outputs_backward_weight(few_outputs_kernels<T>(isa), p, dy, x, dw);
    } else {
        weight_gradient(dense_kernels<T>(isa), p, dy, x, dw, algorithm == Algorithm::few_channels);
    }
}

template <class T>
void convolution_backward_bias(Isa isa, std::int64_t pixels, std::int64_t channels, const T* dy,
                               T* db) {
    // Few channels are summed as several pixels side by side, in whole vectors.
    const std::int64_t wanted = 4 * dense_kernels<T>(isa).lanes;
    std::int64_t joined =
        channels > 0 && channels < wanted ? wanted / std::gcd(channels, wanted) : 1;
    if (pixels < 4 * joined) joined = 1;
    if (joined == 1) {
        column_sums(isa, dy, pixels, channels, channels, db);
        return;
    }
    Scratch scratch;
    const std::int64_t width = channels * joined;
    const std::int64_t rows = pixels / joined;
    T* const sums = scratch.take<T>(width);
    column_sums(isa, dy, rows, width, width, sums);
    std::copy(sums, sums + channels, db);
    for (std::int64_t i = channels; i < width; ++i) db[i % channels] += sums[i];
    for (std::int64_t i = rows * width; i < pixels * channels; ++i) db[i % channels] += dy[i];
}

#define PYCONV_INSTANTIATE(T)                                                                     \
    template std::int64_t packed_weight_size<T>(Isa, Algorithm, const ConvolutionProblem&);       \
    template void pack_weight<T>(Isa, Algorithm, const ConvolutionProblem&, const WeightView<T>&, \
                                 T*);                                                             \
    template void convolution_forward<T>(Isa, Algorithm, const ConvolutionProblem&, const T*,     \
                                         const WeightView<T>&, const T*, T*, const Epilogue<T>&); \
    template void convolution_backward_input<T>(Isa, Algorithm, const ConvolutionProblem&,        \
                                                const T*, const WeightView<T>&, T*,               \
                                                const Epilogue<T>&);                              \
    template void convolution_backward_weight<T>(Isa, Algorithm, const ConvolutionProblem&,       \
                                                 const T*, const T*, T*);                         \
    template void convolution_backward_bias<T>(Isa, std::int64_t, std::int64_t, const T*, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
