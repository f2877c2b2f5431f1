#include "cuda/dense/simt.cuh"

namespace pyconv::cuda {

PYCONV_MIXED_INSTANCES(Pixels, Columns, SimtProduct);
PYCONV_INSTANCES(Pixels, Weights, SimtProduct);

}  // namespace pyconv::cuda
