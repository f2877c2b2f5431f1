#include "cuda/dense/hopper_launch.cuh"

namespace pyconv::cuda {

template struct HopperProduct<bfloat16>;

}  // namespace pyconv::cuda
