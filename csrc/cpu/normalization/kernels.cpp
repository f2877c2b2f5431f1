#include "cpu/normalization/kernels.h"

#include <type_traits>

#include "cpu/normalization/rows.inl"

namespace pyconv::PYCONV_ISA {

namespace {

template <class T>
constexpr NormalizationKernels<T> make_table() {
    return {Vec<T>::kLanes,    row_sums<T>,      row_deviations<T>, merge_statistics<T>,
            normalize_rows<T>, gradient_sums<T>, gradient_rows<T>};
}

constexpr NormalizationKernels<float> kFloat = make_table<float>();
constexpr NormalizationKernels<double> kDouble = make_table<double>();

}  // namespace

const NormalizationKernels<float>* normalization_kernels(float*) { return &kFloat; }
const NormalizationKernels<double>* normalization_kernels(double*) { return &kDouble; }

}  // namespace pyconv::PYCONV_ISA
