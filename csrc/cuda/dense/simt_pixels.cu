#include "cuda/dense/simt.cuh"

namespace pyconv::cuda {

PYCONV_INSTANCES(Pixels, Columns, SimtProduct);
PYCONV_INSTANCES(Pixels, Weights, SimtProduct);

}  // namespace pyconv::cuda
