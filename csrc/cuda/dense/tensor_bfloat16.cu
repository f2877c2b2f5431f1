#include "cuda/dense/tensor.cuh"

namespace pyconv::cuda {

PYCONV_MIXED_INSTANCES(Pixels, Columns, TensorProduct<bfloat16>);
PYCONV_INSTANCES(Pixels, Weights, TensorProduct<bfloat16>);
PYCONV_MIXED_INSTANCES(Taps, Columns, TensorProduct<bfloat16>);
PYCONV_INSTANCES(Taps, Weights, TensorProduct<bfloat16>);

}  // namespace pyconv::cuda
