#include "cuda/dense/hopper_launch.cuh"

namespace pyconv::cuda {

template struct HopperProduct<float>;

}  // namespace pyconv::cuda
