#include "cuda/dense/tensor_patch.cuh"

namespace pyconv::cuda {

PYCONV_PATCH_INSTANCE(Columns, half);
PYCONV_PATCH_INSTANCE(Weights, half);

}  // namespace pyconv::cuda
