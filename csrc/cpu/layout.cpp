#include "cpu/layout.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/threads.h"

namespace pyconv {

namespace {

constexpr std::int64_t kBlock = 16;

template <class T>
inline void move(const char* src, char* dst) {
    T value;
    std::memcpy(&value, src, sizeof value);  // no alignment is assumed
    std::memcpy(dst, &value, sizeof value);
}

// A plane of rows x columns; the columns are dense in dst.
template <class T>
void copy_plane(std::int64_t rows, std::int64_t columns, const char* src, std::int64_t src_row,
                std::int64_t src_column, char* dst, std::int64_t dst_row, std::int64_t dst_column) {
    constexpr auto size = static_cast<std::int64_t>(sizeof(T));
    if (src_column == size && dst_column == size) {
        for (std::int64_t r = 0; r < rows; ++r) {
            std::memcpy(dst + r * dst_row, src + r * src_row, columns * sizeof(T));
        }
        return;
    }
    for (std::int64_t r0 = 0; r0 < rows; r0 += kBlock) {
        const std::int64_t r1 = std::min(rows, r0 + kBlock);
        for (std::int64_t c0 = 0; c0 < columns; c0 += kBlock) {
            const std::int64_t c1 = std::min(columns, c0 + kBlock);
            for (std::int64_t r = r0; r < r1; ++r) {
                for (std::int64_t c = c0; c < c1; ++c) {
                    move<T>(src + r * src_row + c * src_column, dst + r * dst_row + c * dst_column);
                }
            }
        }
    }
}

}  // namespace

template <class T>
void copy_strided(const Strided& a, const char* src, const Strided& b, char* dst) {
    std::int64_t count = 1;
    for (const std::int64_t extent : a.shape) count *= extent;
    if (count == 0) return;
    // The plane: the axis that is fastest in dst, and the one that is fastest in src (or, where
    // they are the same, the next in dst).
    const auto fastest = [&](const Strided& layout, int besides) {
        int best = -1;
        for (int axis = 0; axis < 4; ++axis) {
            if (axis == besides || a.shape[axis] == 1) continue;
            if (best < 0 || std::abs(layout.stride[axis]) < std::abs(layout.stride[best])) {
                best = axis;
            }
        }
        return best;
    };
    int column = fastest(b, -1);
    if (column < 0) column = 3;
    int row = fastest(a, -1);
    if (row == column || row < 0) row = fastest(b, column);
    if (row < 0) row = column == 0 ? 1 : 0;
    int outer[2];
    int found = 0;
    for (int axis = 0; axis < 4; ++axis) {
        if (axis != row && axis != column) outer[found++] = axis;
    }
    const std::int64_t tasks = a.shape[outer[0]] * a.shape[outer[1]];
    const double microseconds = static_cast<double>(count) * sizeof(T) / 4e3;
    parallel_for(tasks, microseconds, [&](std::int64_t task) {
        const std::int64_t i = task / a.shape[outer[1]];
        const std::int64_t j = task % a.shape[outer[1]];
        copy_plane<T>(a.shape[row], a.shape[column],
                      src + i * a.stride[outer[0]] + j * a.stride[outer[1]], a.stride[row],
                      a.stride[column], dst + i * b.stride[outer[0]] + j * b.stride[outer[1]],
                      b.stride[row], b.stride[column]);
    });
}

template void copy_strided<float>(const Strided&, const char*, const Strided&, char*);
template void copy_strided<double>(const Strided&, const char*, const Strided&, char*);
template void copy_strided<std::int32_t>(const Strided&, const char*, const Strided&, char*);
template void copy_strided<std::int64_t>(const Strided&, const char*, const Strided&, char*);
template void copy_strided<unsigned char>(const Strided&, const char*, const Strided&, char*);

}  // namespace pyconv
