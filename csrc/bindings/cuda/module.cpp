// Registration only.
#include "bindings/cuda/array.h"

namespace py = pybind11;
using namespace pyconv;  // NOLINT

PYBIND11_MODULE(_cuda, module) {
    module.doc() = "Compiled kernels for CuPy arrays. Arguments are checked in pyconv.kernels.";
    module.attr("architectures") = PYCONV_CUDA_BUILT_FOR;
    bindings::register_dense(module);
    bindings::register_convolution(module);
    bindings::register_optimizer(module);
    bindings::register_dropout(module);
    bindings::register_activation(module);
    bindings::register_loss(module);
    bindings::register_normalization(module);
    bindings::register_pooling(module);
    bindings::register_resample(module);
}
