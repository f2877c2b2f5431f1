// The end of every product: sums become results, parts of sums are added in their order.
#pragma once

#include "cuda/common/epilogue.cuh"
#include "cuda/common/launch.h"
#include "cuda/common/storage.cuh"
#include "cuda/dense/products.h"

namespace pyconv::cuda {

// What of an epilogue a product does by itself.
template <class T>
struct Finish {
    const float* bias = nullptr;
    const T* stored_bias = nullptr;
    const T* residual = nullptr;
    float alpha = 1, residual_scale = 1;
    PiecewiseLinear activation;
    bool activates = false;

    Finish() = default;
    explicit Finish(const Epilogue<T>& e)
        : bias(e.bias),
          stored_bias(e.stored_bias),
          residual(e.residual),
          alpha(e.alpha),
          residual_scale(e.residual_scale) {
        activates = e.activation != Activation::none && is_piecewise_linear(e.activation);
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
template <class T>
__device__ inline void finish_four(const Rows<T>& out, const Finish<T>& f, std::int64_t row_offset,
                                   int column, const float* sums, const float* bias) {
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

// The parts of the sums, [part][group][row][column], in their order, and the epilogue. No parts:
// the activation of what lies in the result.
template <class T>
__global__ void add_parts(const float* partial, Rows<T> out, Epilogue<T> e, int parts, int groups) {
    const std::int64_t size = static_cast<std::int64_t>(out.rows) * out.columns;
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= size * groups) return;
    const int group = static_cast<int>(i / size);
    const int row = static_cast<int>((i - group * size) / out.columns);
    const int column =
        static_cast<int>(i - group * size - static_cast<std::int64_t>(row) * out.columns);
    const std::int64_t offset = out.offset(row) + group * out.group_step + column;
    if (parts == 0) {
        out.data[offset] = narrow<T>(activate(e.activation, widen(out.data[offset]), e.slope));
        return;
    }
    float sum = partial[i];
    for (int part = 1; part < parts; ++part) sum += partial[part * size * groups + i];
    Finish<T> f;
    f.bias = e.bias;
    f.stored_bias = e.stored_bias;
    float y = fmaf(e.alpha, sum, f.bias_at(group * out.columns + column));
    if (e.residual) y = fmaf(e.residual_scale, widen(e.residual[offset]), y);
    out.data[offset] = narrow<T>(activate(e.activation, y, e.slope));
}

template <class T>
std::int64_t result_size(const ProductTask<T>& task) {
    return static_cast<std::int64_t>(task.out.rows) * task.out.columns * task.groups;
}
template <class T>
float* allocate_parts(const ProductTask<T>& task, int parts) {
    return static_cast<float*>(task.allocate(parts * result_size(task) * sizeof(float)));
}
template <class T>
void launch_add_parts(const ProductTask<T>& task, const float* partial, int parts) {
    const auto blocks = static_cast<unsigned>(divide_up(result_size(task), 256));
    add_parts<<<blocks, 256, 0, task.stream>>>(partial, task.out, task.epilogue, parts,
                                               task.groups);
    check_launch("add_parts", task.problem);
}

}  // namespace pyconv::cuda
