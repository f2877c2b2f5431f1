// Depthwise separable convolution as one operation.
#include <algorithm>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/convolution/convolution.h"
#include "cpu/convolution/depthwise.h"
#include "cpu/convolution/weight_gradient.h"
#include "cpu/dense/gemm.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

template <class T>
void separable_forward(Isa isa, const ConvolutionProblem& p, const T* x,
                       const WeightView<T>& depthwise, const WeightView<T>& pointwise,
                       std::int64_t out_channels, T* y, const Epilogue<T>& epilogue) {
    if (p.outputs() == 0 || out_channels == 0) return;
    const ConvolutionProblem point = pointwise_problem(p, out_channels);
    const DenseKernels<T>& dense = dense_kernels<T>(isa);
    const DepthwiseKernels<T>& kernels = depthwise_kernels<T>(isa);
    Scratch scratch;
    T* const packed = scratch.take<T>(packed_weight_size<T>(isa, Algorithm::direct, point));
    pack_weight(isa, Algorithm::direct, point, pointwise, packed);
    if (p.out_channels != p.in_channels) {  // a multiplier: the middle image is made whole
        T* const middle = scratch.take<T>(p.outputs() * p.out_channels);
        convolution_forward(isa, Algorithm::depthwise, p, x, depthwise,
                            static_cast<const T*>(nullptr), middle, Epilogue<T>{});
        convolution_forward(isa, Algorithm::direct, point, static_cast<const T*>(middle), pointwise,
                            static_cast<const T*>(packed), y, epilogue);
        return;
    }
    T* const weight = scratch.take<T>(depthwise_weight_size(kernels, p));
    pack_depthwise(kernels, p, depthwise, weight);
    const Panels<T> panels(dense, out_channels);
    const std::int64_t wanted =
        (tuning::convolution_pixels(dense.lanes) + p.out_width - 1) / p.out_width;
    const EvenCut strips(p.out_height,
                         std::clamp<std::int64_t>(wanted + wanted % 2, 1, p.out_height));
    const Tap one{0, 0, 0};
    const double work = (p.flops() * 3 + point.flops()) / tuning::flops_per_microsecond;
    parallel_for(p.batch * strips.count(), work, [&](std::int64_t task) {
        const std::int64_t image = task / strips.count();
        const std::int64_t begin = strips.begin(task % strips.count());
        const std::int64_t rows = strips.size(task % strips.count());
        const std::int64_t pixels = rows * p.out_width;
        Scratch local;
        T* const middle = local.take<T>(pixels * p.out_channels);
        depthwise_strip(kernels, p, x + image * p.in_height * p.in_width * p.in_channels,
                        static_cast<const T*>(weight), begin, begin + rows, middle, Epilogue<T>{},
                        {x + p.batch * p.in_height * p.in_width * p.in_channels, nullptr, false});
        const T** a = local.take<const T*>(pixels);
        T** c = local.take<T*>(pixels);
        T* const to = y + (image * p.out_height + begin) * p.out_width * out_channels;
        for (std::int64_t i = 0; i < pixels; ++i) {
            a[i] = middle + i * p.out_channels;
            c[i] = to + i * out_channels;
        }
        const RowBlock<T> block{a, pixels, c, pixels, &one, 1, p.out_channels, packed, 1, nullptr};
        multiply_rows(dense, block, panels, 0, panels.count(), epilogue);
    });
}

template <class T>
void separable_backward(Isa isa, const ConvolutionProblem& p, const T* dy, const T* x,
                        const WeightView<T>& depthwise, const WeightView<T>& pointwise,
                        std::int64_t out_channels, T* dx, T* d_depthwise, T* d_pointwise,
                        T* dbias) {
    const ConvolutionProblem point = pointwise_problem(p, out_channels);
    const DepthwiseKernels<T>& kernels = depthwise_kernels<T>(isa);
    Scratch scratch;
    // The middle image is computed again instead of kept from the forward pass.
    T* const middle = scratch.take<T>(p.outputs() * p.out_channels);
    convolution_forward(isa, Algorithm::depthwise, p, x, depthwise, static_cast<const T*>(nullptr),
                        middle, Epilogue<T>{});
    weight_gradient(dense_kernels<T>(isa), point, dy, static_cast<const T*>(middle), d_pointwise,
                    false);
    column_sums(isa, dy, p.outputs(), out_channels, out_channels, dbias);
    T* const d_middle = middle;  // its values are not needed any more
    convolution_backward_input(isa, Algorithm::direct, point, dy, pointwise, d_middle,
                               Epilogue<T>{});
    depthwise_backward_input(kernels, p, static_cast<const T*>(d_middle), depthwise, dx,
                             Epilogue<T>{});
    depthwise_backward_weight(kernels, p, static_cast<const T*>(d_middle), x, d_depthwise);
}

#define PYCONV_INSTANTIATE(T)                                                                     \
    template void separable_forward<T>(Isa, const ConvolutionProblem&, const T*,                  \
                                       const WeightView<T>&, const WeightView<T>&, std::int64_t,  \
                                       T*, const Epilogue<T>&);                                   \
    template void separable_backward<T>(Isa, const ConvolutionProblem&, const T*, const T*,       \
                                        const WeightView<T>&, const WeightView<T>&, std::int64_t, \
                                        T*, T*, T*, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
