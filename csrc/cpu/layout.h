// Copies between strided arrays and the dense order that the kernels run in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyconv {

// At most four axes; strides in bytes, any sign, zero too.
struct Strided {
    std::int64_t shape[4] = {1, 1, 1, 1};
    std::int64_t stride[4] = {0, 0, 0, 0};
};

// dst <- src over the shape of src. Where the fastest axes of the two differ, blocks of both are
// copied at a time, so that every line of memory is read and written once.
template <class T>
void copy_strided(const Strided& src_layout, const char* src, const Strided& dst_layout, char* dst);

}  // namespace pyconv
