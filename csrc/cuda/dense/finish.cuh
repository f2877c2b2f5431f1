// The end of every product: sums become results, parts of sums are added in their order.
#pragma once

#include "cuda/common/epilogue.cuh"
#include "cuda/common/launch.h"
#include "cuda/common/storage.cuh"
#include "cuda/dense/products.h"

namespace pyconv::cuda {

// Any activation, at a length that one kernel of all may have.
struct AnyActivation {
    Activation activation = Activation::none;
    float slope = 0;
    __device__ float operator()(float x) const { return activate(activation, x, slope); }
};

// What of an epilogue a product does by itself.
template <class T, class Activate = PiecewiseLinear>
struct Finish {
    const float* bias = nullptr;
    const T* stored_bias = nullptr;
    const T* residual = nullptr;
    float alpha = 1, residual_scale = 1;
    Activate activation;
    bool activates = false;

    Finish() = default;
    explicit Finish(const Epilogue<T>& e)
        : bias(e.bias),
          stored_bias(e.stored_bias),
          residual(e.residual),
          alpha(e.alpha),
          residual_scale(e.residual_scale) {
        activates = e.activation != Activation::none &&
                    (is_piecewise_linear(e.activation) || std::is_same_v<Activate, AnyActivation>);
        if (activates) activation = {e.activation, e.slope};
    }
    __device__ void select(int group, const Rows<T>& out) {
        if (bias) bias += group * out.columns;
        if (stored_bias) stored_bias += group * out.columns;
        if (residual) residual += group * out.group_step;
    }
    __device__ float bias_at(int column) const {
        if (bias) return bias[column];
        return stored_bias ? widen(stored_bias[column]) : 0.0f;
    }
};

// Up to four neighbours, in vectors or one by one.
template <class T>
__device__ inline void load_four(const T* from, bool vectors, int count, float (&to)[4]) {
    Pack<T, 4> pack{};
    if (vectors) {
        pack = load_pack<4>(from);
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (i < count) pack.value[i] = from[i];
        }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i] = widen(pack.value[i]);
}
template <class T>
__device__ inline void store_four(T* to, bool vectors, int count, const float (&from)[4]) {
    Pack<T, 4> pack;
#pragma unroll
    for (int i = 0; i < 4; ++i) pack.value[i] = narrow<T>(from[i]);
    if (vectors) {
        store_pack<4>(to, pack);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        if (i < count) to[i] = pack.value[i];
    }
}

// Four neighbouring columns of a row.
template <class T, class Activate>
__device__ inline void finish_four(const Rows<T>& out, const Finish<T, Activate>& f,
                                   std::int64_t row_offset, int column, const float* sums,
                                   const float* bias) {
    if (column >= out.columns) return;
    const std::int64_t offset = row_offset + column;
    const int count = out.columns - column;
    float y[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) y[i] = fmaf(f.alpha, sums[i], bias[i]);
    if (f.residual) {
        float r[4];
        load_four(f.residual + offset, out.vectors, count, r);
#pragma unroll
        for (int i = 0; i < 4; ++i) y[i] = fmaf(f.residual_scale, r[i], y[i]);
    }
    if (f.activates) {
#pragma unroll
        for (int i = 0; i < 4; ++i) y[i] = f.activation(y[i]);
    }
    store_four(out.data + offset, out.vectors, count, y);
}

// The parts of the sums, [part][group][row][column], in their order, and the epilogue: a thread has
// four neighbouring columns. No parts: the activation of what lies in the result.
template <class T>
__global__ void add_parts(const float* partial, Rows<T> out, Epilogue<T> e, FastDivider fours,
                          int count, int parts) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    const int group = static_cast<int>(blockIdx.y);
    int column;
    const int row = fours.divide(i, column);
    column *= 4;
    const int left = out.columns - column;
    const std::int64_t offset = out.offset(row) + group * out.group_step + column;
    float y[4];
    if (parts == 0) {
        load_four(out.data + offset, out.vectors, left, y);
    } else {
        const bool whole = out.columns % 4 == 0;
        const std::int64_t plane = static_cast<std::int64_t>(out.rows) * out.columns;
        partial += group * plane + static_cast<std::int64_t>(row) * out.columns + column;
        load_four(partial, whole, left, y);
        for (int part = 1; part < parts; ++part) {
            float x[4];
            load_four(partial + part * static_cast<int>(gridDim.y) * plane, whole, left, x);
#pragma unroll
            for (int j = 0; j < 4; ++j) y[j] += x[j];
        }
        Finish<T> f;
        f.bias = e.bias;
        f.stored_bias = e.stored_bias;
        float r[4] = {};
        if (e.residual) load_four(e.residual + offset, out.vectors, left, r);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const float bias = j < left ? f.bias_at(group * out.columns + column + j) : 0.0f;
            y[j] = fmaf(e.alpha, y[j], bias);
            if (e.residual) y[j] = fmaf(e.residual_scale, r[j], y[j]);
        }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) y[j] = activate(e.activation, y[j], e.slope);
    store_four(out.data + offset, out.vectors, left, y);
}

template <class T>
float* allocate_parts(const ProductTask<T>& task, int parts) {
    const std::int64_t size =
        static_cast<std::int64_t>(task.out.rows) * task.out.columns * task.groups;
    return static_cast<float*>(
        task.allocate(parts * size * static_cast<std::int64_t>(sizeof(float))));
}
template <class T>
void launch_add_parts(const ProductTask<T>& task, const float* partial, int parts) {
    const std::int64_t fours = divide_up(task.out.columns, 4);
    const int count = checked_int("elements of a result, by four", task.out.rows * fours);
    const dim3 grid(static_cast<unsigned>(divide_up(count, 256)),
                    static_cast<unsigned>(task.groups));
    add_parts<<<grid, 256, 0, task.stream>>>(partial, task.out, task.epilogue, FastDivider(fours),
                                             count, parts);
    check_launch("add_parts", task.problem);
}

}  // namespace pyconv::cuda
