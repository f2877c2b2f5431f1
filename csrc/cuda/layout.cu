#include <algorithm>
#include <stdexcept>

#include "cuda/common/index.h"
#include "cuda/common/launch.h"
#include "cuda/layout.h"

namespace pyconv::cuda {

namespace {

constexpr int kSide = 32;

// An element at any address.
template <class T, bool kAligned>
__device__ T load(const char* from) {
    if constexpr (kAligned) return *reinterpret_cast<const T*>(from);
    T value = 0;
    for (int i = 0; i < static_cast<int>(sizeof(T)); ++i) {
        value |= static_cast<T>(static_cast<T>(static_cast<unsigned char>(from[i])) << (8 * i));
    }
    return value;
}
template <class T, bool kAligned>
__device__ void store(char* to, T value) {
    if constexpr (kAligned) {
        *reinterpret_cast<T*>(to) = value;
    } else {
        for (int i = 0; i < static_cast<int>(sizeof(T)); ++i) {
            to[i] = static_cast<char>(value >> (8 * i));
        }
    }
}

// Axis 3 is the fastest of the target, axis 2 that of the source: squares of both go through shared
// memory, so that lanes read neighbours and write neighbours.
template <class T, bool kAligned>
__global__ void turn_kernel(StridedCopy p) {
    __shared__ T square[kSide][kSide + 1];
    const std::int64_t plane = blockIdx.z;
    const std::int64_t base0 = plane / p.extent[1], base1 = plane % p.extent[1];
    const char* const source = p.source + base0 * p.from[0] + base1 * p.from[1];
    char* const target = p.target + base0 * p.to[0] + base1 * p.to[1];
    const std::int64_t y0 = static_cast<std::int64_t>(blockIdx.x) * kSide;  // along axis 2
    const std::int64_t x0 = static_cast<std::int64_t>(blockIdx.y) * kSide;  // along axis 3
    for (int i = threadIdx.y; i < kSide; i += blockDim.y) {
        const std::int64_t y = y0 + threadIdx.x, x = x0 + i;
        if (y < p.extent[2] && x < p.extent[3]) {
            square[i][threadIdx.x] = load<T, kAligned>(source + y * p.from[2] + x * p.from[3]);
        }
    }
    __syncthreads();
    for (int i = threadIdx.y; i < kSide; i += blockDim.y) {
        const std::int64_t y = y0 + i, x = x0 + threadIdx.x;
        if (y < p.extent[2] && x < p.extent[3]) {
            store<T, kAligned>(target + y * p.to[2] + x * p.to[3], square[threadIdx.x][i]);
        }
    }
}

template <class T, bool kAligned>
__global__ void copy_kernel(StridedCopy p) {
    std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    std::int64_t from = 0, to = 0;
    for (int axis = 3; axis > 0; --axis) {
        const std::int64_t at = i % p.extent[axis];
        i /= p.extent[axis];
        from += at * p.from[axis];
        to += at * p.to[axis];
    }
    if (i >= p.extent[0]) return;
    store<T, kAligned>(p.target + to + i * p.to[0],
                       load<T, kAligned>(p.source + from + i * p.from[0]));
}

template <class T, bool kAligned>
void run(StridedCopy p, cudaStream_t stream) {
    // The axes by the target's strides, the fastest last; then the source's fastest before it.
    const auto swap_axes = [&](int i, int j) {
        std::swap(p.extent[i], p.extent[j]);
        std::swap(p.from[i], p.from[j]);
        std::swap(p.to[i], p.to[j]);
    };
    const auto step = [](std::int64_t extent, std::int64_t stride) {
        return extent == 1 ? INT64_MAX : std::abs(stride);
    };
    for (int pass = 0; pass < 3; ++pass) {
        for (int i = 0; i < 3; ++i) {
            if (step(p.extent[i], p.to[i]) < step(p.extent[i + 1], p.to[i + 1]))
                swap_axes(i, i + 1);
        }
    }
    int fastest = 3;
    for (int i = 2; i >= 0; --i) {
        if (step(p.extent[i], p.from[i]) < step(p.extent[fastest], p.from[fastest])) fastest = i;
    }
    const std::int64_t size = p.extent[0] * p.extent[1] * p.extent[2] * p.extent[3];
    if (size == 0) return;
    if (fastest != 3) {
        if (fastest != 2) swap_axes(fastest, 2);
        const std::int64_t planes = p.extent[0] * p.extent[1];
        const std::int64_t across = divide_up(p.extent[3], kSide);
        if (planes <= 65535 && across <= 65535) {
            const dim3 grid(static_cast<unsigned>(divide_up(p.extent[2], kSide)),
                            static_cast<unsigned>(across), static_cast<unsigned>(planes));
            turn_kernel<T, kAligned><<<grid, dim3(kSide, 8), 0, stream>>>(p);
            check_launch("copy_strided", "turned, " + std::to_string(size) + " elements");
            return;
        }
    }
    copy_kernel<T, kAligned><<<static_cast<unsigned>(divide_up(size, 256)), 256, 0, stream>>>(p);
    check_launch("copy_strided", std::to_string(size) + " elements");
}

template <class T>
void run_type(const StridedCopy& p, cudaStream_t stream) {
    std::uintptr_t all =
        reinterpret_cast<std::uintptr_t>(p.source) | reinterpret_cast<std::uintptr_t>(p.target);
    for (int axis = 0; axis < 4; ++axis) {
        if (p.extent[axis] > 1) all |= static_cast<std::uintptr_t>(p.from[axis] | p.to[axis]);
    }
    all % sizeof(T) == 0 ? run<T, true>(p, stream) : run<T, false>(p, stream);
}

}  // namespace

void copy_strided(const StridedCopy& copy, cudaStream_t stream) {
    switch (copy.size) {
        case 1:
            return run<std::uint8_t, true>(copy, stream);
        case 2:
            return run_type<std::uint16_t>(copy, stream);
        case 4:
            return run_type<std::uint32_t>(copy, stream);
        case 8:
            return run_type<std::uint64_t>(copy, stream);
        default:
            throw std::invalid_argument("copy_strided: elements of 1, 2, 4 or 8 bytes");
    }
}

}  // namespace pyconv::cuda
