#include "cuda/dense/hopper.cuh"

namespace pyconv::cuda {

template struct HopperProduct<half>;

}  // namespace pyconv::cuda
