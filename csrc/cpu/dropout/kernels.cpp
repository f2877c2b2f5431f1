#include "cpu/dropout/kernels.h"

#include "cpu/dropout/dropout.inl"

namespace pyconv::PYCONV_ISA {

namespace {

template <class T>
constexpr DropoutKernels<T> make_table() {
    DropoutKernels<T> table{};
    table.keep = keep;
    table.transpose = transpose;
    table.apply = apply<T>;
    return table;
}

constexpr DropoutKernels<float> kFloat = make_table<float>();
constexpr DropoutKernels<double> kDouble = make_table<double>();

}  // namespace

const DropoutKernels<float>* dropout_kernels(float*) { return &kFloat; }
const DropoutKernels<double>* dropout_kernels(double*) { return &kDouble; }

}  // namespace pyconv::PYCONV_ISA
