#include "cpu/optimizer/kernels.h"

#include "cpu/optimizer/norms.inl"
#include "cpu/optimizer/steps.inl"

namespace pyconv::PYCONV_ISA {

namespace {

template <class T>
constexpr OptimizerKernels<T> make_table() {
    OptimizerKernels<T> table{};
    table.sgd = sgd<T>;
    table.adam = adam<T>;
    table.sum_abs = sum_abs<T>;
    table.sum_squares = sum_squares<T>;
    table.sum_powers = sum_powers<T>;
    table.max_abs = max_abs<T>;
    return table;
}

constexpr OptimizerKernels<float> kFloat = make_table<float>();
constexpr OptimizerKernels<double> kDouble = make_table<double>();

}  // namespace

const OptimizerKernels<float>* optimizer_kernels(float*) { return &kFloat; }
const OptimizerKernels<double>* optimizer_kernels(double*) { return &kDouble; }

}  // namespace pyconv::PYCONV_ISA
