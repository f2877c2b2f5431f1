#include "cuda/dense/tensor_patch.cuh"

namespace pyconv::cuda {

PYCONV_PATCH_INSTANCE(Columns, bfloat16);
PYCONV_PATCH_INSTANCE(Weights, bfloat16);

}  // namespace pyconv::cuda
