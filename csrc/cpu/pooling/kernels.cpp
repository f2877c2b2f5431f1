#include "cpu/pooling/kernels.h"

#include "cpu/pooling/runs.inl"

namespace pyconv::PYCONV_ISA {

namespace {

template <class T>
constexpr PoolingKernels<T> make_table() {
    return {Vec<T>::kLanes, sum_run<T>, max_run<T>, max_gradient_run<T>};
}

constexpr PoolingKernels<float> kFloat = make_table<float>();
constexpr PoolingKernels<double> kDouble = make_table<double>();

}  // namespace

const PoolingKernels<float>* pooling_kernels(float*) { return &kFloat; }
const PoolingKernels<double>* pooling_kernels(double*) { return &kDouble; }

}  // namespace pyconv::PYCONV_ISA
