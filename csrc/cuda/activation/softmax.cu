#include "cuda/activation/activation.h"
#include "cuda/activation/row_tiles.cuh"
#include "cuda/common/packs.cuh"

namespace pyconv::cuda {

namespace {

// Rows side by side: each thread has N, which it keeps in shared memory if there is room.
template <int N, class T, class Rule>
__global__ void __launch_bounds__(kRowThreads)
    columns_kernel(std::int64_t packs, std::int64_t length, std::int64_t inner, bool kept,
                   const Rule rule, const RowInputs<T, Rule::kInputs> inputs, T* y) {
    extern __shared__ __align__(16) char shared[];
    constexpr int kInputs = Rule::kInputs;
    Pack<T, N>* const own = reinterpret_cast<Pack<T, N>*>(shared) + threadIdx.x;
    const std::int64_t pack = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    const std::int64_t outer = pack * N / inner;
    const std::int64_t begin = outer * length * inner + (pack * N - outer * inner);
    const auto place = [&](int k, std::int64_t i) {
        return own + (i * kInputs + k) * static_cast<int>(blockDim.x);
    };
    const auto element = [&](const Pack<T, N>(&from)[kInputs], int n) {
        RowElement<kInputs> v;
#pragma unroll
        for (int k = 0; k < kInputs; ++k) v.value[k] = widen(from[k].value[n]);
        return v;
    };
    RowState state[N];
#pragma unroll 4
    for (std::int64_t i = 0; i < length; ++i) {
        Pack<T, N> from[kInputs];
#pragma unroll
        for (int k = 0; k < kInputs; ++k) {
            from[k] = load_pack<N>(inputs.array[k] + begin + i * inner);
            if (kept) *place(k, i) = from[k];
        }
#pragma unroll
        for (int n = 0; n < N; ++n) rule.add(state[n], element(from, n));
    }
#pragma unroll
    for (int n = 0; n < N; ++n) rule.finish(state[n], 0, y, 0, 0, 1);
    for (std::int64_t i = 0; i < length; ++i) {
        Pack<T, N> from[kInputs], to;
#pragma unroll
        for (int k = 0; k < kInputs; ++k) {
            from[k] = kept ? *place(k, i) : load_pack<N>(inputs.array[k] + begin + i * inner);
        }
#pragma unroll
        for (int n = 0; n < N; ++n) {
            to.value[n] = narrow<T>(rule.result(state[n], element(from, n)));
        }
        store_pack(y + begin + i * inner, to);
    }
}

template <class T, class Rule>
void run(const char* name, const SoftmaxShape& s, const Rule& rule,
         const RowInputs<T, Rule::kInputs>& inputs, T* y, cudaStream_t stream) {
    if (s.outer * s.length * s.inner == 0) return;
    const RowTiles tiles = RowTiles::of<T>(s, Rule::kInputs);
    if (tiles.kept || s.inner == 1) return run_row_tiles(name, tiles, rule, inputs, y, stream);
    const auto launch = [&](auto width) {
        constexpr int N = decltype(width)::value;
        const std::int64_t packs = s.outer * s.inner / N;
        // As many threads as can keep their rows, from 128 down to a warp.
        const std::int64_t bytes = s.length * Rule::kInputs * static_cast<int>(sizeof(T)) * N;
        int threads = 128;
        while (threads > 32 && bytes * threads > kMostShared) threads /= 2;
        const bool kept = bytes * threads <= kMostShared;
        if (!kept) threads = 128;
        columns_kernel<N><<<static_cast<unsigned>(checked_int("rows", divide_up(packs, threads))),
                            threads, kept ? bytes * threads : 0, stream>>>(packs, s.length, s.inner,
                                                                           kept, rule, inputs, y);
    };
    // Fewer rows in a thread where there are few: a device has room for about 2^17 threads.
    with_lanes<T>(s.inner % kPack<T> == 0 && s.outer * s.inner / kPack<T> >= 1 << 16, launch);
    check_launch(name, std::to_string(s.outer) + "x" + std::to_string(s.length) + "x" +
                           std::to_string(s.inner));
}

}  // namespace

template <class T>
void softmax(bool logarithm, const SoftmaxShape& shape, const T* x, T* y, cudaStream_t stream) {
    run<T>("softmax", shape, Softmax(logarithm), {{x}}, y, stream);
}

template <class T>
void softmax_backward(bool logarithm, const SoftmaxShape& shape, const T* dy, const T* y, T* dx,
                      cudaStream_t stream) {
    run<T>("softmax_backward", shape, SoftmaxGradient{logarithm}, {{dy, y}}, dx, stream);
}

#define PYCONV_INSTANTIATE(T)                                                            \
    template void softmax<T>(bool, const SoftmaxShape&, const T*, T*, cudaStream_t);     \
    template void softmax_backward<T>(bool, const SoftmaxShape&, const T*, const T*, T*, \
                                      cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)
#undef PYCONV_INSTANTIATE

}  // namespace pyconv::cuda
