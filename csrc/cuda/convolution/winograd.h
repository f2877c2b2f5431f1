// Winograd's minimal filtering, for 3x3 kernels in float32: tiles of the image and the weight are
// transformed, multiplied element by element (a matrix product over the channels for each element
// of a tile), and transformed back. F(4x4, 3x3) needs 36 products a tile in the place of 144.
#pragma once

#include <cuda_runtime.h>

#include "core/problem.h"
#include "cuda/common/launch.h"
#include "cuda/dense/product.h"

namespace pyconv::cuda {

// Of the transformed tiles at a time: they stay in a chip's second cache. Tests have less.
inline std::int64_t winograd_bytes = 32 << 20;

// `out`: 2 or 4, the pixels of a tile's side. Sums are formed without tensor cores.
void winograd_forward(int out, const ConvolutionProblem& p, const float* x, const float* weight,
                      float* y, const Epilogue<float>& epilogue, const Allocate& allocate,
                      cudaStream_t stream);
void winograd_backward_input(int out, const ConvolutionProblem& p, const float* dy,
                             const float* weight, float* dx, const Epilogue<float>& epilogue,
                             const Allocate& allocate, cudaStream_t stream);
void winograd_backward_weight(int out, const ConvolutionProblem& p, const float* dy, const float* x,
                              float* dw, const Allocate& allocate, cudaStream_t stream);

}  // namespace pyconv::cuda
