#include "cpu/convolution/kernels.h"

#include <utility>

#include "cpu/convolution/depthwise.inl"
#include "cpu/convolution/few_outputs.inl"
#include "cpu/convolution/grouped.inl"
#include "cpu/convolution/grouped_wide.inl"
#include "cpu/convolution/winograd.inl"
#include "cpu/convolution/winograd_gradient.inl"

namespace pyconv::PYCONV_ISA {

namespace {

template <class T, int kSize, int kStride>
constexpr void add_size(DepthwiseKernels<T>& table) {
    table.rows[kSize][kStride][1] = depthwise_rows<T, kSize, kStride, 1>;
    table.rows[kSize][kStride][2] = depthwise_rows<T, kSize, kStride, 2>;
    table.gradient[kSize][kStride] = depthwise_gradient<T, kSize, kStride>;
    table.spread[kSize] = depthwise_spread<T, kSize>;
}

template <class T>
constexpr DepthwiseKernels<T> make_table() {
    DepthwiseKernels<T> table{};
    table.lanes = Vec<T>::kLanes;
    add_size<T, 3, 1>(table);
    add_size<T, 3, 2>(table);
    add_size<T, 5, 1>(table);
    add_size<T, 5, 2>(table);
    table.pixel = depthwise_pixel<T>;
    table.gradient_pixel = depthwise_gradient_pixel<T>;
    return table;
}

constexpr DepthwiseKernels<float> kFloat = make_table<float>();
constexpr DepthwiseKernels<double> kDouble = make_table<double>();
constexpr GroupedKernels<float> kGrouped = make_grouped_table<float>();
constexpr GroupedKernels<double> kNotGrouped{};
#if defined(PYCONV_ISA_generic)
constexpr WideKernels<float> kWide{};
#else
constexpr WideKernels<float> kWide = make_wide_table<float>();
#endif
constexpr WideKernels<double> kNotWide{};

template <class T, int... kOuts>
constexpr FewOutputsKernels<T> make_few_outputs(std::integer_sequence<int, kOuts...>) {
    return {Vec<T>::kLanes,
            {0, few_outputs_vectors(kOuts + 1)...},
            {nullptr, few_outputs_rows<T, kOuts + 1>...},
            {nullptr, few_outputs_gradient<T, kOuts + 1>...}};
}
template <class T>
constexpr FewOutputsKernels<T> kFewOutputs =
    make_few_outputs<T>(std::make_integer_sequence<int, kMaxFewOutputs>{});

template <class T, int kVariant>
constexpr typename WinogradKernels<T>::Entry winograd_entry() {
    constexpr WinogradVariant v = kWinogradVariants[kVariant];
    typename WinogradKernels<T>::Entry entry{};
    entry.input = winograd_input_tile<T, v.tile()>;
    entry.output = winograd_output_tile<T, v.tile(), v.out>;
    entry.filter = winograd_filter_rows<T, v.tile(), v.kernel>;
    if constexpr (v.kernel == 3) {
        entry.gradient_tile = winograd_gradient_tile<T, v.tile(), v.out>;
        entry.gradient_result = winograd_gradient_result<T, v.tile(), v.kernel>;
    }
    return entry;
}
template <class T>
constexpr WinogradKernels<T> kWinograd = {{winograd_entry<T, 0>(), winograd_entry<T, 1>(),
                                           winograd_entry<T, 2>(), winograd_entry<T, 3>(),
                                           winograd_entry<T, 4>()}};

}  // namespace

const DepthwiseKernels<float>* depthwise_kernels(float*) { return &kFloat; }
const DepthwiseKernels<double>* depthwise_kernels(double*) { return &kDouble; }
const FewOutputsKernels<float>* few_outputs_kernels(float*) { return &kFewOutputs<float>; }
const FewOutputsKernels<double>* few_outputs_kernels(double*) { return &kFewOutputs<double>; }
const WinogradKernels<float>* winograd_kernels(float*) { return &kWinograd<float>; }
const WinogradKernels<double>* winograd_kernels(double*) { return &kWinograd<double>; }
const GroupedKernels<float>* grouped_kernels(float*) { return &kGrouped; }
const GroupedKernels<double>* grouped_kernels(double*) { return &kNotGrouped; }
const WideKernels<float>* wide_kernels(float*) { return &kWide; }
const WideKernels<double>* wide_kernels(double*) { return &kNotWide; }

}  // namespace pyconv::PYCONV_ISA
