// Rows of a reduction (softmax.cuh), those that lie together in memory in one tile of shared
// memory.
#pragma once

#include <algorithm>
#include <string>

#include "core/softmax.h"
#include "cuda/activation/softmax.cuh"
#include "cuda/common/index.h"
#include "cuda/common/launch.h"
#include "cuda/common/storage.cuh"

namespace pyconv::cuda {

template <class T, int kInputs>
struct RowInputs {
    const T* array[kInputs];
};

inline constexpr int kRowThreads = 128;
inline constexpr int kLine = 128;         // bytes
inline constexpr int kWantedTiles = 256;  // two for each multiprocessor of the largest devices
inline constexpr std::int64_t kMostShared = 47 * 1024;  // beside what merge_lanes has

// A block takes `outers` places of outer, which lie together in memory, to shared memory. There
// `lanes` threads share a row.
struct RowTiles {
    std::int64_t outer;
    int length, inner;
    FastDivider rows_of_outer;
    int outers, lanes;
    bool kept;        // in shared memory; else (one row) read twice from where it lies
    int input_bytes;  // of shared memory, for each input

    std::int64_t blocks() const { return divide_up(outer, outers); }

    template <class T>
    static RowTiles of(const SoftmaxShape& s, int inputs) {
        RowTiles t;
        t.outer = s.outer;
        t.length = checked_int("elements along the axis", s.length);
        t.inner = checked_int("elements behind the axis", s.inner);
        t.rows_of_outer = FastDivider(s.inner);
        const std::int64_t bytes = s.length * s.inner * static_cast<std::int64_t>(sizeof(T));
        const auto outers = [&] {
            const int at_once = kRowThreads / t.lanes / t.inner;
            return at_once > 0 ? at_once : 1;
        };
        const auto fits = [&] {
            return outers() * bytes * inputs <= kMostShared * 2 / 3 &&
                   kRowThreads / t.lanes <= outers() * s.inner;
        };
        const auto too_few_blocks = [&] {
            return s.inner == 1 && s.length >= std::max(128, 8 * t.lanes) &&
                   s.outer < kWantedTiles * outers();
        };
        // Lanes that divide the length leave an odd rest: their rows begin in different banks. So
        // does a whole warp with one row.
        t.lanes = 1;
        while (s.inner == 1 && t.lanes < 32 && s.length % (2 * t.lanes) == 0) t.lanes *= 2;
        if (s.inner == 1 && t.lanes < 32 && (!fits() || too_few_blocks())) t.lanes = 32;
        while (t.lanes < kRowThreads && (!fits() || too_few_blocks())) t.lanes *= 2;
        t.outers = outers();
        const std::int64_t room = divide_up(t.outers * bytes, kLine) * kLine + kLine;
        t.kept = room * inputs <= kMostShared;
        t.input_bytes = t.kept ? static_cast<int>(room) : 0;
        return t;
    }
};

// n elements between global and shared memory, in accesses of 16 bytes where both lie alike, which
// begin with a line of global memory.
template <class T>
__device__ void copy_lines(const T* from, T* to, const T* global, int n) {
    constexpr int N = kPack<T>;
    const int thread = static_cast<int>(threadIdx.x);
    const auto difference =
        reinterpret_cast<std::uintptr_t>(from) ^ reinterpret_cast<std::uintptr_t>(to);
    if (difference % 16 != 0) {
        for (int i = thread; i < n; i += kRowThreads) to[i] = from[i];
        return;
    }
    const int past = static_cast<int>(reinterpret_cast<std::uintptr_t>(global) % kLine);
    const int head = min(n, (kLine - past) % kLine / static_cast<int>(sizeof(T)));
    const int packs = (n - head) / N;
    if (thread < head) to[thread] = from[thread];
    from += head;
    to += head;
#pragma unroll 4
    for (int i = thread; i < packs; i += kRowThreads) {
        store_pack(to + i * N, load_pack<N>(from + i * N));
    }
    const int i = packs * N + thread;
    if (i < n - head) to[i] = from[i];
}

// The state of all of a row's lanes, in each of them; for all threads of a block at once.
template <class Rule>
__device__ RowState merge_lanes(const Rule& rule, RowState s, int lanes) {
    for (int distance = 1; distance < lanes && distance < 32; distance *= 2) {
        const RowState other{__shfl_xor_sync(~0u, s.top, distance),
                             __shfl_xor_sync(~0u, s.sum, distance)};
        s = rule.merged(s, other);
    }
    if (lanes <= 32) return s;
    __shared__ RowState of_warp[kRowThreads / 32];
    const int warp = static_cast<int>(threadIdx.x) / 32;
    __syncthreads();
    if (threadIdx.x % 32 == 0) of_warp[warp] = s;
    __syncthreads();
    const int first = warp / (lanes / 32) * (lanes / 32);
    s = of_warp[first];
    for (int i = 1; i < lanes / 32; ++i) s = rule.merged(s, of_warp[first + i]);
    return s;
}

template <class T, class Rule>
__global__ void __launch_bounds__(kRowThreads)
    row_tiles_kernel(const RowTiles t, const Rule rule, RowInputs<T, Rule::kInputs> inputs, T* y) {
    extern __shared__ __align__(kLine) char shared[];
    const std::int64_t outer = static_cast<std::int64_t>(blockIdx.x) * t.outers;
    const std::int64_t size = static_cast<std::int64_t>(t.length) * t.inner;
    const int outers = static_cast<int>(min(static_cast<std::int64_t>(t.outers), t.outer - outer));
    const int rows = outers * t.inner;
    y += outer * size;
    T* results = y;
#pragma unroll
    for (int k = 0; k < Rule::kInputs; ++k) {
        const T* const from = inputs.array[k] + outer * size;
        inputs.array[k] = from;
        if (!t.kept) continue;
        const auto past = reinterpret_cast<std::uintptr_t>(from) % kLine;  // lies alike
        T* const to = reinterpret_cast<T*>(shared + k * t.input_bytes + past);
        copy_lines(from, to, from, static_cast<int>(outers * size));
        inputs.array[k] = to;
        if (k == 0) results = to;
    }
    __syncthreads();
    const int lane = static_cast<int>(threadIdx.x) % t.lanes;
    const int group = static_cast<int>(threadIdx.x) / t.lanes, groups = kRowThreads / t.lanes;
    float total = 0;
    for (int first = 0; first < rows; first += groups) {  // all threads together
        const int row = first + group;
        int behind;
        const int before = t.rows_of_outer.divide(row < rows ? row : 0, behind);
        const int begin = before * static_cast<int>(size) + behind;
        const int length = row < rows ? t.length : 0;
        const auto element = [&](int i) {
            RowElement<Rule::kInputs> v;
#pragma unroll
            for (int k = 0; k < Rule::kInputs; ++k) {
                v.value[k] = widen(inputs.array[k][begin + i * t.inner]);
            }
            return v;
        };
        RowState state;
        for (int i = lane; i < length; i += t.lanes) rule.add(state, element(i));
        state = merge_lanes(rule, state, t.lanes);
        if (row < rows) {
            total +=
                rule.finish(state, outer + row, inputs.array[0] + begin, t.length, lane, t.lanes);
        }
        for (int i = lane; i < length; i += t.lanes) {
            results[begin + i * t.inner] = narrow<T>(rule.result(state, element(i)));
        }
    }
    __syncthreads();
    if (t.kept) {
        copy_lines(static_cast<const T*>(results), y, static_cast<const T*>(y),
                   static_cast<int>(outers * size));
    }
    if constexpr (Rule::kTotals) {
        __shared__ float totals[kRowThreads];
        const int thread = static_cast<int>(threadIdx.x);
        totals[thread] = total;
        for (int half = kRowThreads / 2; half > 0; half /= 2) {
            __syncthreads();
            if (thread < half) totals[thread] += totals[thread + half];
        }
        if (thread == 0) rule.totals[blockIdx.x] = totals[0];
    }
}

template <class T, class Rule>
void run_row_tiles(const char* name, const RowTiles& t, const Rule& rule,
                   const RowInputs<T, Rule::kInputs>& inputs, T* y, cudaStream_t stream) {
    row_tiles_kernel<T><<<static_cast<unsigned>(checked_int("rows", t.blocks())), kRowThreads,
                          t.input_bytes * Rule::kInputs, stream>>>(t, rule, inputs, y);
    check_launch(name, std::to_string(t.outer) + "x" + std::to_string(t.length) + "x" +
                           std::to_string(t.inner));
}

}  // namespace pyconv::cuda
