#include "cuda/dense/tensor.cuh"

namespace pyconv::cuda {

PYCONV_MIXED_INSTANCES(Pixels, Columns, TensorProduct<half>);
PYCONV_INSTANCES(Pixels, Weights, TensorProduct<half>);
PYCONV_MIXED_INSTANCES(Taps, Columns, TensorProduct<half>);
PYCONV_INSTANCES(Taps, Weights, TensorProduct<half>);

}  // namespace pyconv::cuda
