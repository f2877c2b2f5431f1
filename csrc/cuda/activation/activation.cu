#include "cuda/activation/activation.h"
#include "cuda/common/derivative.cuh"
#include "cuda/common/epilogue.cuh"
#include "cuda/common/launch.h"
#include "cuda/common/storage.cuh"

namespace pyconv::cuda {

namespace {

constexpr int kThreads = 256;

// y = f(a) or, of two inputs, f(a, b), for N neighbours in each thread. What is left behind the
// last N goes to the first threads of the grid.
template <int N, bool kTwo, class T, class F>
__global__ void __launch_bounds__(kThreads)
    elementwise_kernel(F f, std::int64_t n, const T* __restrict__ a, const T* __restrict__ b,
                       T* __restrict__ y) {
    const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    const auto apply = [&](auto width, std::int64_t at) {
        constexpr int kWidth = decltype(width)::value;
        float x[kWidth];
        load_floats(a + at, x);
        if constexpr (kTwo) {
            float z[kWidth];
            load_floats(b + at, z);
#pragma unroll
            for (int i = 0; i < kWidth; ++i) x[i] = f(x[i], z[i]);
        } else {
#pragma unroll
            for (int i = 0; i < kWidth; ++i) x[i] = f(x[i]);
        }
        store_floats(y + at, x);
    };
    if (thread < n / N) apply(std::integral_constant<int, N>{}, thread * N);
    if (thread < n % N) apply(std::integral_constant<int, 1>{}, n / N * N + thread);
}

template <bool kTwo, class T, class F>
void run(const char* name, const F& f, std::int64_t n, const T* a, const T* b, T* y,
         cudaStream_t stream) {
    if (n == 0) return;
    constexpr int N = kPack<T>;
    const std::int64_t blocks = divide_up(divide_up(n, N), kThreads);
    elementwise_kernel<N, kTwo>
        <<<static_cast<unsigned>(checked_int("blocks", blocks)), kThreads, 0, stream>>>(f, n, a, b,
                                                                                        y);
    check_launch(name, std::to_string(n) + " elements");
}

}  // namespace

template <class T>
void activation_forward(Activation activation, const T* x, T* y, std::int64_t n, float slope,
                        cudaStream_t stream) {
    const T* const none = nullptr;
    if (is_piecewise_linear(activation)) {
        run<false>("activation", PiecewiseLinear(activation, slope), n, x, none, y, stream);
    } else {
        run<false>("activation", Smooth{activation}, n, x, none, y, stream);
    }
}

template <class T>
void activation_backward(Activation activation, const T* dy, const T* x, T* dx, std::int64_t n,
                         float slope, cudaStream_t stream) {
    if (is_piecewise_linear(activation)) {
        run<true>("activation_backward", PiecewiseDerivative{activation, slope}, n, dy, x, dx,
                  stream);
    } else {
        run<true>("activation_backward", SmoothDerivative{activation}, n, dy, x, dx, stream);
    }
}

#define PYCONV_INSTANTIATE(T)                                                                     \
    template void activation_forward<T>(Activation, const T*, T*, std::int64_t, float,            \
                                        cudaStream_t);                                            \
    template void activation_backward<T>(Activation, const T*, const T*, T*, std::int64_t, float, \
                                         cudaStream_t);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(half)
PYCONV_INSTANTIATE(bfloat16)
#undef PYCONV_INSTANTIATE

}  // namespace pyconv::cuda
