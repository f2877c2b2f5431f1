#include "cuda/dense/hopper.cuh"

namespace pyconv::cuda {

template struct HopperProduct<bfloat16>;

}  // namespace pyconv::cuda
