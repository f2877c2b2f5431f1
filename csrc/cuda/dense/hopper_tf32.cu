#include "cuda/dense/hopper.cuh"

namespace pyconv::cuda {

template struct HopperProduct<float>;

}  // namespace pyconv::cuda
