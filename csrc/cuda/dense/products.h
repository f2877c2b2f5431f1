// The products that are compiled: of every pair of sources, in pieces and one by one. Each kind has
// its kernels in files of its own (simt_*.cu, tensor_*.cu).
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "cuda/common/launch.h"
#include "cuda/dense/product.h"
#include "cuda/dense/sources.cuh"

namespace pyconv::cuda {

template <class T>
struct ProductTask {
    const char* kernel;  // name and problem are for messages
    std::string problem;
    Rows<T> out;
    Epilogue<T> epilogue;
    int depth, groups;
    const Allocate& allocate;
    cudaStream_t stream;
};

// float32 by fused multiply-adds.
struct SimtProduct {
    using Element = float;
    static constexpr int kPiece = 4, kDepth = kTileDepth;
    template <class A, class B>
    static void run(const A& a, const B& b, const ProductTask<float>& task);
};

// On tensor cores; float as TF32. Tiles are 64 bytes deep.
template <class T>
struct TensorProduct {
    using Element = T;
    static constexpr int kPiece = kPack<T>, kDepth = 64 / static_cast<int>(sizeof(T));
    template <class A, class B>
    static void run(const A& a, const B& b, const ProductTask<T>& task);
};

template <class Product, int kPiece>
using Pixels = PixelRows<typename Product::Element, kPiece, Product::kDepth>;
template <class Product, int kPiece>
using Taps = TapRows<typename Product::Element, kPiece, Product::kDepth>;
template <class Product, int kPiece>
using Columns = AlongRows<typename Product::Element, kPiece, Product::kDepth>;
template <class Product, int kPiece>
using Weights = WeightRows<typename Product::Element, kPiece, Product::kDepth>;

// What a file of instances says: both operands in pieces, or neither; with columns in pieces beside
// single elements, for images of few channels.
#define PYCONV_INSTANCE(A, a, B, b, P) \
    template void P::run(const A<P, a>&, const B<P, b>&, const ProductTask<P::Element>&)
#define PYCONV_INSTANCES(A, B, P)                   \
    PYCONV_INSTANCE(A, P::kPiece, B, P::kPiece, P); \
    PYCONV_INSTANCE(A, 1, B, 1, P)
#define PYCONV_MIXED_INSTANCES(A, B, P) \
    PYCONV_INSTANCES(A, B, P);          \
    PYCONV_INSTANCE(A, 1, B, P::kPiece, P)

}  // namespace pyconv::cuda
