// The instructions of compute capability 9.0 (sm_90a), as functions: barriers in shared memory that
// count arrivals and bytes, copies of boxes of a tensor, products of warpgroups (four warps).
#pragma once

#include <cuda.h>

#include <cstdint>

#include "cuda/common/tensor_core.cuh"

namespace pyconv::cuda {

// A barrier: a phase of it ends when all arrivals and all announced bytes have come.
using BarrierAddress = SharedAddress;

__device__ inline void init_barrier(BarrierAddress barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}
// Before the first use of barriers by other threads (which a barrier of the block then follows) and
// by copies.
__device__ inline void publish_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ inline void arrive(BarrierAddress barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Arrives, and says how many bytes are to come in this phase.
__device__ inline void arrive_and_expect(BarrierAddress barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
}
// Until the phase of this parity has ended; phases count from 0.
__device__ inline void wait_for_phase(BarrierAddress barrier, unsigned parity) {
    unsigned done = 0;
    while (!done) {
        asm volatile(
            "{\n"
            ".reg .pred done;\n"
            "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
            "selp.u32 %0, 1, 0, done;\n"
            "}"
            : "=r"(done)
            : "r"(barrier), "r"(parity)
            : "memory");
    }
}

// What ordinary stores wrote to shared memory is there for copies and products of warpgroups, which
// have a way of their own to it. By the threads that stored, before a barrier.
__device__ inline void publish_stores() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// A box of a tensor of four axes, from the element at these coordinates on; zeros where it lies
// outside. One thread asks for it; the barrier gets its bytes.
__device__ inline void copy_box(SharedAddress to, const CUtensorMap& map, BarrierAddress barrier,
                                int x0, int x1, int x2, int x3) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
        "[%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
        "l"(&map), "r"(barrier), "r"(x0), "r"(x1), "r"(x2), "r"(x3)
        : "memory");
}
__device__ inline void prefetch_map(const CUtensorMap& map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// An operand of a product in shared memory: lines of 128 bytes, whose chunks of 16 bytes are
// permuted within groups of 8 lines (the 128-byte swizzle of copies). `slab`: of an operand that
// lies across k, bytes from 64 elements of each k to the next 64.
__device__ inline std::uint64_t operand_at(SharedAddress from, int slab) {
    constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62;
    constexpr std::uint64_t kGroup = std::uint64_t{8 * 128 / 16} << 32;
    return (from & 0x3ffff) >> 4 | static_cast<std::uint64_t>(slab / 16) << 16 | kGroup |
           kSwizzle128;
}

// The registers of sums are read and written by the products that follow.
__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// Products are waited for in groups, in the order of their commits.
__device__ inline void commit_products() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ inline void wait_for_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// The sums of a warp: 16 rows, in slabs of 32 columns as `multiply_add` has them (tensor_core.cuh).
template <int kColumns>
struct WarpSums {
    float slab[kColumns / 32][4][4] = {};

    // The compiler moves no access to the sums past this.
    __device__ void hold() {
#pragma unroll
        for (auto& s : slab) {
#pragma unroll
            for (auto& four : s) {
                asm volatile(""
                             : "+f"(four[0]), "+f"(four[1]), "+f"(four[2]),
                               "+f"(four[3])::"memory");
            }
        }
    }
};

// sums += a b of a warpgroup: 64 rows (16 a warp), kColumns columns, 32 bytes of k. Operands lie
// along k, or across it (16-bit types).
template <class T, int kColumns, bool kLeftAcross, bool kRightAcross>
__device__ void multiply_add(WarpSums<kColumns>& sums, std::uint64_t a, std::uint64_t b);

#define PYCONV_TEN(t)                                                                      \
    "%" #t "0, %" #t "1, %" #t "2, %" #t "3, %" #t "4, %" #t "5, %" #t "6, %" #t "7, %" #t \
    "8, %" #t "9, "
#define PYCONV_THIRTY(a, b, c) PYCONV_TEN(a) PYCONV_TEN(b) PYCONV_TEN(c)
#define PYCONV_SIXTY(a, b, c, d, e, f) PYCONV_THIRTY(a, b, c) PYCONV_THIRTY(d, e, f)
#define PYCONV_SUMS_64 PYCONV_THIRTY(, 1, 2) "%30, %31"
#define PYCONV_SUMS_128 PYCONV_SIXTY(, 1, 2, 3, 4, 5) "%60, %61, %62, %63"
#define PYCONV_SUMS_256           \
    PYCONV_SIXTY(, 1, 2, 3, 4, 5) \
    PYCONV_SIXTY(6, 7, 8, 9, 10, 11) "%120, %121, %122, %123, %124, %125, %126, %127"
#define PYCONV_FOUR(i, j) "+f"(s[i][j][0]), "+f"(s[i][j][1]), "+f"(s[i][j][2]), "+f"(s[i][j][3])
#define PYCONV_SLAB(i) PYCONV_FOUR(i, 0), PYCONV_FOUR(i, 1), PYCONV_FOUR(i, 2), PYCONV_FOUR(i, 3)
#define PYCONV_SLABS_64 PYCONV_SLAB(0), PYCONV_SLAB(1)
#define PYCONV_SLABS_128 PYCONV_SLABS_64, PYCONV_SLAB(2), PYCONV_SLAB(3)
#define PYCONV_SLABS_256 \
    PYCONV_SLABS_128, PYCONV_SLAB(4), PYCONV_SLAB(5), PYCONV_SLAB(6), PYCONV_SLAB(7)
// (A predicate says that sums are added to; the two ones are factors of a and b.)
#define PYCONV_PRODUCT(T, columns, left, right, types, across, a_number, b_number)        \
    template <>                                                                           \
    __device__ inline void multiply_add<T, columns, left, right>(                         \
        WarpSums<columns> & sums, std::uint64_t a, std::uint64_t b) {                     \
        auto& s = sums.slab;                                                              \
        asm volatile(                                                                     \
            "{\n"                                                                         \
            ".reg .pred add;\n"                                                           \
            "setp.eq.u32 add, 0, 0;\n"                                                    \
            "wgmma.mma_async.sync.aligned.m64n" #columns types " {" PYCONV_SUMS_##columns \
            "}, %" a_number ", %" b_number ", add, 1, 1" across                           \
            ";\n"                                                                         \
            "}"                                                                           \
            : PYCONV_SLABS_##columns                                                      \
            : "l"(a), "l"(b));                                                            \
    }
#define PYCONV_PRODUCTS(T, left, right, types, across)             \
    PYCONV_PRODUCT(T, 64, left, right, types, across, "32", "33")  \
    PYCONV_PRODUCT(T, 128, left, right, types, across, "64", "65") \
    PYCONV_PRODUCT(T, 256, left, right, types, across, "128", "129")
#define PYCONV_ALL_PRODUCTS(T, types)                 \
    PYCONV_PRODUCTS(T, false, false, types, ", 0, 0") \
    PYCONV_PRODUCTS(T, false, true, types, ", 0, 1")  \
    PYCONV_PRODUCTS(T, true, true, types, ", 1, 1")
PYCONV_PRODUCTS(float, false, false, "k8.f32.tf32.tf32", "")
PYCONV_ALL_PRODUCTS(half, "k16.f32.f16.f16")
PYCONV_ALL_PRODUCTS(bfloat16, "k16.f32.bf16.bf16")
#undef PYCONV_ALL_PRODUCTS
#undef PYCONV_PRODUCTS
#undef PYCONV_PRODUCT

}  // namespace pyconv::cuda
