// Elements as they are stored (float, half, bfloat16) and values as they are computed with (float).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/common/index.h"

namespace pyconv::cuda {

using half = __half;
using bfloat16 = __nv_bfloat16;

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(half x) { return __half2float(x); }
__device__ inline float widen(bfloat16 x) { return __bfloat162float(x); }

// Rounded to nearest, ties to even.
template <class T>
__device__ T narrow(float x);
template <>
__device__ inline float narrow<float>(float x) {
    return x;
}
template <>
__device__ inline half narrow<half>(float x) {
    return __float2half_rn(x);
}
template <>
__device__ inline bfloat16 narrow<bfloat16>(float x) {
    return __float2bfloat16_rn(x);
}

// N neighbours, loaded and stored by one instruction where they are up to 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
    T value[N];
};
template <class T>
inline constexpr int kPack = 16 / static_cast<int>(sizeof(T));  // elements of the widest access

template <int N, class T>
__device__ Pack<T, N> load_pack(const T* from) {
    return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <int N, class T>
__device__ void store_pack(T* to, const Pack<T, N>& pack) {
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// The same as floats.
template <int N, class T>
__device__ void load_floats(const T* from, float (&to)[N]) {
    const Pack<T, N> pack = load_pack<N>(from);
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = widen(pack.value[i]);
}
template <int N, class T>
__device__ void store_floats(T* to, const float (&from)[N]) {
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) pack.value[i] = narrow<T>(from[i]);
    store_pack(to, pack);
}

}  // namespace pyconv::cuda
