#include "cuda/dense/tensor.cuh"

namespace pyconv::cuda {

PYCONV_MIXED_INSTANCES(Pixels, Columns, TensorProduct<float>);
PYCONV_INSTANCES(Pixels, Weights, TensorProduct<float>);
PYCONV_MIXED_INSTANCES(Taps, Columns, TensorProduct<float>);
PYCONV_INSTANCES(Taps, Weights, TensorProduct<float>);

}  // namespace pyconv::cuda
