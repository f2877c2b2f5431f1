// What an optimizer's step is asked for, as plain data; for both backends.
#pragma once

#include <cstdint>

namespace pyconv {

// Arrays of n elements that lie in the same order. What an operation doesn't use is null.
template <class T>
struct Segment {
    T* parameter = nullptr;
    const T* gradient = nullptr;
    T* first = nullptr;   // velocity, or first moment
    T* second = nullptr;  // second moment
    std::int64_t n = 0;
};

struct SgdSettings {
    double lr, momentum, dampening, weight_decay;
    bool nesterov;
};

struct AdamSettings {
    double lr, beta1, beta2, eps, weight_decay;
    bool decoupled;
    std::int64_t step;
};

}  // namespace pyconv
