// Reductions along one axis of memory, each element of which then becomes a result of the whole:
// the softmaxes, their gradients, and (loss/) cross-entropy. Memory is outer x length x inner; what
// has one place in outer and inner is a row here, its elements `inner` apart.
#pragma once

#include <cfloat>
#include <cstdint>

#include "cuda/common/smooth.cuh"

namespace pyconv::cuda {

// What a row has been reduced to. Begins below every number, so that exp(-inf - top) is 0.
struct RowState {
    float top = -FLT_MAX, sum = 0;
};

// The elements of one place: of one array, or of two.
template <int kInputs>
struct RowElement {
    float value[kInputs];
};

// A rule says how many arrays there are, how an element joins a state and how states are merged
// (in either order: the same bits), what is done once a row, and what becomes of an element. Where
// it has kTotals, the lanes' results of the former are added, and stored for each block.

// The largest x, and the sum of exp(x - top): one pass (Milakov and Gimelshein, 2018).
struct Exponentials {
    static constexpr int kInputs = 1;
    static constexpr bool kTotals = false;
    static __device__ void add(RowState& s, const RowElement<1>& x) {
        const float top = fmaxf(s.top, x.value[0]);  // NaN is lost here, and found below
        s.sum = fmaf(s.sum, exp_of_negative(s.top - top), exp_of_negative(x.value[0] - top));
        s.top = top;
    }
    static __device__ RowState merged(const RowState& a, const RowState& b) {
        const float top = fmaxf(a.top, b.top);
        return {top, __fadd_rn(__fmul_rn(a.sum, exp_of_negative(a.top - top)),
                               __fmul_rn(b.sum, exp_of_negative(b.top - top)))};
    }
};

struct Softmax : Exponentials {
    bool logarithm;

    explicit Softmax(bool logarithm) : logarithm(logarithm) {}
    template <class T>
    __device__ float finish(RowState& s, std::int64_t, const T*, int, int, int) const {
        s.sum = logarithm ? logf(s.sum) : 1 / s.sum;
        return 0;
    }
    __device__ float result(const RowState& s, const RowElement<1>& x) const {
        const float z = x.value[0] - s.top;
        return logarithm ? z - s.sum : exp_of_negative(z) * s.sum;
    }
};

// From dy and the result y: y (dy - sum y dy), and dy - exp(y) sum dy.
struct SoftmaxGradient {
    static constexpr int kInputs = 2;
    static constexpr bool kTotals = false;
    bool logarithm;

    __device__ void add(RowState& s, const RowElement<2>& v) const {
        s.sum = logarithm ? s.sum + v.value[0] : fmaf(v.value[0], v.value[1], s.sum);
    }
    static __device__ RowState merged(const RowState& a, const RowState& b) {
        return {a.top, a.sum + b.sum};
    }
    template <class T>
    __device__ float finish(RowState&, std::int64_t, const T*, int, int, int) const {
        return 0;
    }
    __device__ float result(const RowState& s, const RowElement<2>& v) const {
        const float dy = v.value[0], y = v.value[1];
        return logarithm ? fmaf(-expf(y), s.sum, dy) : y * (dy - s.sum);
    }
};

}  // namespace pyconv::cuda
