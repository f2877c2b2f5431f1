#include "cuda/dense/simt.cuh"

namespace pyconv::cuda {

PYCONV_MIXED_INSTANCES(Taps, Columns, SimtProduct);
PYCONV_INSTANCES(Taps, Weights, SimtProduct);

}  // namespace pyconv::cuda
