#include "cpu/dropout/dropout.h"

#include <algorithm>
#include <cmath>

#include "core/threads.h"
#include "cpu/dropout/kernels.h"

namespace pyconv {

namespace {

constexpr std::int64_t kChunk = 32768;

// A tile of decisions, channels x pixels bytes, is made in the order of the random numbers and
// turned into the order of memory while it is in L1.
constexpr std::int64_t kChannels = 64;
constexpr std::int64_t kPixels = 256;

static_assert(sizeof(bool) == 1);

template <class T>
T scale_of(double p) {
    return static_cast<T>(p < 1 ? 1 / (1 - p) : 0);
}

template <class T>
void dropout_flat(const DropoutKernels<T>& kernels, const Dropping& dropping, std::int64_t n,
                  T scale, const T* x, T* y, std::uint8_t* keep) {
    parallel_for((n + kChunk - 1) / kChunk, static_cast<double>(n) * 1e-3, [&](std::int64_t task) {
        const std::int64_t at = task * kChunk;
        const std::int64_t count = std::min(kChunk, n - at);
        kernels.keep(dropping, static_cast<std::uint64_t>(at), count, keep + at);
        kernels.apply(x + at, keep + at, y + at, count, scale);
    });
}

template <class T>
void dropout_images(const DropoutKernels<T>& kernels, const Dropping& dropping,
                    const DropoutShape& s, T scale, const T* x, T* y, std::uint8_t* keep) {
    const std::int64_t blocks = (s.pixels + kPixels - 1) / kPixels;
    const double work = static_cast<double>(s.images * s.channels * s.pixels) * 1.5e-3;
    parallel_for(s.images * blocks, work, [&](std::int64_t task) {
        alignas(64) std::uint8_t tile[kChannels * kPixels];
        const std::int64_t image = task / blocks;
        const std::int64_t pixel = task % blocks * kPixels;
        const std::int64_t pixels = std::min(kPixels, s.pixels - pixel);
        const std::int64_t at = (image * s.pixels + pixel) * s.channels;
        for (std::int64_t c = 0; c < s.channels; c += kChannels) {
            const std::int64_t channels = std::min(kChannels, s.channels - c);
            const std::int64_t first = (image * s.channels + c) * s.pixels + pixel;
            if (pixels == s.pixels) {  // whole planes follow each other
                kernels.keep(dropping, static_cast<std::uint64_t>(first), channels * pixels, tile);
            } else {
                for (std::int64_t i = 0; i < channels; ++i) {
                    kernels.keep(dropping, static_cast<std::uint64_t>(first + i * s.pixels), pixels,
                                 tile + i * pixels);
                }
            }
            kernels.transpose(tile, pixels, channels, pixels, keep + at + c, s.channels);
        }
        kernels.apply(x + at, keep + at, y + at, pixels * s.channels, scale);
    });
}

}  // namespace

template <class T>
void dropout(Isa isa, const DropoutShape& s, double p, std::uint64_t seed, const T* x, T* y,
             bool* mask) {
    const DropoutKernels<T>& kernels = dropout_kernels<T>(isa);
    // Kept where u >= p, u the upper 24 bits of a word times 2^-24.
    const Dropping dropping{
        {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        static_cast<std::uint32_t>(std::ceil(std::ldexp(p, 24)))};
    auto* const keep = reinterpret_cast<std::uint8_t*>(mask);
    if (s.channels == 1 || s.pixels == 1) {
        dropout_flat(kernels, dropping, s.images * s.channels * s.pixels, scale_of<T>(p), x, y,
                     keep);
    } else {
        dropout_images(kernels, dropping, s, scale_of<T>(p), x, y, keep);
    }
}

template <class T>
void dropout_backward(Isa isa, std::int64_t n, double p, const T* x, const bool* mask, T* y) {
    const auto apply = dropout_kernels<T>(isa).apply;
    const auto* const keep = reinterpret_cast<const std::uint8_t*>(mask);
    parallel_for((n + kChunk - 1) / kChunk, static_cast<double>(n) * 3e-4, [&](std::int64_t task) {
        const std::int64_t at = task * kChunk;
        apply(x + at, keep + at, y + at, std::min(kChunk, n - at), scale_of<T>(p));
    });
}

#define PYCONV_INSTANTIATE(T)                                                               \
    template void dropout<T>(Isa, const DropoutShape&, double, std::uint64_t, const T*, T*, \
                             bool*);                                                        \
    template void dropout_backward<T>(Isa, std::int64_t, double, const T*, const bool*, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)
#undef PYCONV_INSTANTIATE

}  // namespace pyconv
