#include "cuda/dense/tensor_patch.cuh"

namespace pyconv::cuda {

PYCONV_PATCH_INSTANCE(Columns, float);
PYCONV_PATCH_INSTANCE(Weights, float);

}  // namespace pyconv::cuda
