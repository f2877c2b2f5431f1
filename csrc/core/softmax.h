// The memory of a softmax, for every backend.
#pragma once

#include <cstdint>

namespace pyconv {

// Memory of outer x length x inner elements; the sums run over `length`.
struct SoftmaxShape {
    std::int64_t outer, length, inner;
};

}  // namespace pyconv
