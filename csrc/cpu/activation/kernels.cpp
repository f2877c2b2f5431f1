#include "cpu/activation/kernels.h"

#include "cpu/activation/elementwise.inl"
#include "cpu/activation/softmax.inl"

namespace pyconv::PYCONV_ISA {

namespace {

template <class T, Activation kActivation>
constexpr void add(ActivationKernels<T>& table) {
    table.forward[static_cast<int>(kActivation)] = forward<T, kActivation>;
    table.backward[static_cast<int>(kActivation)] = backward<T, kActivation>;
}

template <class T>
constexpr ActivationKernels<T> make_table() {
    ActivationKernels<T> table{};
    table.lanes = Vec<T>::kLanes;
    add<T, Activation::relu>(table);
    add<T, Activation::relu6>(table);
    add<T, Activation::leaky_relu>(table);
    add<T, Activation::sigmoid>(table);
    add<T, Activation::tanh>(table);
    add<T, Activation::silu>(table);
    add<T, Activation::gelu>(table);
    table.rows[0] = softmax_rows<T, false>;
    table.rows[1] = softmax_rows<T, true>;
    table.backward_rows[0] = softmax_backward_rows<T, false>;
    table.backward_rows[1] = softmax_backward_rows<T, true>;
    table.columns[0] = softmax_columns<T, false>;
    table.columns[1] = softmax_columns<T, true>;
    table.backward_columns[0] = softmax_backward_columns<T, false>;
    table.backward_columns[1] = softmax_backward_columns<T, true>;
    return table;
}

constexpr ActivationKernels<float> kFloat = make_table<float>();
constexpr ActivationKernels<double> kDouble = make_table<double>();

}  // namespace

const ActivationKernels<float>* activation_kernels(float*) { return &kFloat; }
const ActivationKernels<double>* activation_kernels(double*) { return &kDouble; }

}  // namespace pyconv::PYCONV_ISA
