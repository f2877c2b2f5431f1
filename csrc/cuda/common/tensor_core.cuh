// The instructions of tensor cores and of copies to shared memory, as functions.
#pragma once

#include "cuda/common/storage.cuh"

namespace pyconv::cuda {

using SharedAddress = unsigned;  // in bytes
__device__ inline SharedAddress shared_address(const void* shared) {
    return static_cast<SharedAddress>(__cvta_generic_to_shared(shared));
}

// 16 or 4 bytes from global memory, past the registers; zeros where they are not inside.
template <int kBytes>
__device__ inline void copy_async(SharedAddress to, const void* from, bool inside) {
    if constexpr (kBytes == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
                     "l"(__cvta_generic_to_global(from)), "r"(inside ? 16 : 0)
                     : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to),
                     "l"(__cvta_generic_to_global(from)), "r"(inside ? 4 : 0)
                     : "memory");
    }
}
// Copies are waited for in groups, in the order of their commits.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
__device__ inline void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

template <class T>
__device__ inline void store_shared(SharedAddress to, T x) {
    static_assert(sizeof(T) == 2);
    asm volatile("st.shared.b16 [%0], %1;" ::"r"(to),
                 "h"(reinterpret_cast<const unsigned short&>(x))
                 : "memory");
}
// (The compiler cuts some stores of pairs into two.)
__device__ inline void store_shared(SharedAddress to, float first, float second) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(first), "f"(second) : "memory");
}
__device__ inline unsigned load_shared(SharedAddress from) {
    unsigned x;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(from) : "memory");
    return x;
}
__device__ inline float4 load_shared_four(SharedAddress from) {
    float4 x;
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
                 : "r"(from)
                 : "memory");
    return x;
}

// Four matrices of 8 rows of 16 bytes; lane l says where row l % 8 of matrix l / 8 lies. Lane l
// gets the elements at 4 (l % 4) bytes of row l / 4; transposed (16-bit elements), those at column
// l / 4 of rows 2 (l % 4) and the next.
template <bool kTransposed>
__device__ inline void load_matrices(unsigned (&to)[4], SharedAddress from) {
    if constexpr (kTransposed) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(from)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(from)
                     : "memory");
    }
}

// Rounds the bits of a float to TF32, 10 bits of fraction, to nearest, ties away from zero. (The
// product itself would cut them off, with twice the error, and all on one side.)
__device__ inline unsigned round_tf32(unsigned x) {
    unsigned y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(__uint_as_float(x)));
    return y;
}

// sums += a b, 16 rows, 8 columns, 32 bytes of k. With g = lane / 4, t = lane % 4:
//   a: rows g, g + 8, g, g + 8; the first and last two at the first and second 16 bytes, there the
//      t-th 4 bytes;  b: column g, likewise;  sums: row g, columns 2 t and 2 t + 1; row g + 8.
template <class T>
__device__ void multiply_add(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

#define PYCONV_MULTIPLY_ADD(T, instruction)                                          \
    template <>                                                                      \
    __device__ inline void multiply_add<T>(float (&sums)[4], const unsigned (&a)[4], \
                                           const unsigned (&b)[2]) {                 \
        asm("mma.sync.aligned." instruction                                          \
            " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, "                   \
            "%1, %2, %3};"                                                           \
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])             \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));     \
    }
PYCONV_MULTIPLY_ADD(float, "m16n8k8.row.col.f32.tf32.tf32.f32")
PYCONV_MULTIPLY_ADD(half, "m16n8k16.row.col.f32.f16.f16.f32")
PYCONV_MULTIPLY_ADD(bfloat16, "m16n8k16.row.col.f32.bf16.bf16.f32")
#undef PYCONV_MULTIPLY_ADD

}  // namespace pyconv::cuda
