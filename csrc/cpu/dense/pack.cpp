#include "cpu/dense/pack.h"

#include <cstring>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace pyconv {

namespace {

// dst[k * width + j] = src[j * j_step + k] for 4 x 4 elements.
template <class T>
inline void transpose4(const T* src, std::int64_t j_step, T* dst, std::int64_t width) {
#if defined(__x86_64__)
    if constexpr (sizeof(T) == 4) {
        __m128 r0 = _mm_loadu_ps(src);
        __m128 r1 = _mm_loadu_ps(src + j_step);
        __m128 r2 = _mm_loadu_ps(src + 2 * j_step);
        __m128 r3 = _mm_loadu_ps(src + 3 * j_step);
        _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
        _mm_storeu_ps(dst, r0);
        _mm_storeu_ps(dst + width, r1);
        _mm_storeu_ps(dst + 2 * width, r2);
        _mm_storeu_ps(dst + 3 * width, r3);
        return;
    }
#endif
    for (int k = 0; k < 4; ++k) {
        for (int j = 0; j < 4; ++j) dst[k * width + j] = src[j * j_step + k];
    }
}

}  // namespace

constexpr std::int64_t kRowsAhead = 12;

template <class T>
void pack(const T* src, std::int64_t k_step, std::int64_t j_step, std::int64_t depth,
          std::int64_t columns, std::int64_t width, T* dst) {
    if (j_step == 1) {
        if (columns == width && width % 16 == 0) {
            for (std::int64_t k = 0; k < depth; ++k) {
                const T* from = src + k * k_step;
                T* to = dst + k * width;
                // Rows lie apart: the hardware doesn't see which comes next.
                for (std::int64_t j = 0; j < width; j += 16) {
                    __builtin_prefetch(from + kRowsAhead * k_step + j);
                    std::memcpy(to + j, from + j, 16 * sizeof(T));
                }
            }
            return;
        }
        for (std::int64_t k = 0; k < depth; ++k) {
            std::memcpy(dst + k * width, src + k * k_step, columns * sizeof(T));
            for (std::int64_t j = columns; j < width; ++j) dst[k * width + j] = T(0);
        }
        return;
    }
    std::int64_t done = 0;  // rows of dst that are complete in the first columns
    if (k_step == 1) {
        const std::int64_t whole = depth / 4 * 4;
        std::int64_t j = 0;
        // Sixteen rows of dst at a time: each line of src is read whole.
        for (std::int64_t k0 = 0; k0 < whole; k0 += 16) {
            const std::int64_t k1 = k0 + 16 < whole ? k0 + 16 : whole;
            for (j = 0; j + 4 <= columns; j += 4) {
                for (std::int64_t k = k0; k < k1; k += 4) {
                    transpose4(src + j * j_step + k, j_step, dst + k * width + j, width);
                }
            }
            for (; j < columns; ++j) {
                for (std::int64_t k = k0; k < k1; ++k) dst[k * width + j] = src[j * j_step + k];
            }
        }
        done = whole;
    }
    for (std::int64_t k = done; k < depth; ++k) {
        for (std::int64_t j = 0; j < columns; ++j) {
            dst[k * width + j] = src[k * k_step + j * j_step];
        }
    }
    if (columns < width) {
        for (std::int64_t k = 0; k < depth; ++k) {
            for (std::int64_t j = columns; j < width; ++j) dst[k * width + j] = T(0);
        }
    }
}

template void pack<float>(const float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                          std::int64_t, float*);
template void pack<double>(const double*, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                           std::int64_t, double*);

}  // namespace pyconv
