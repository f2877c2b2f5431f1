// Every output is a sum of cells, weighted along both axes: means, resampling, padding, and the
// gradients of all of them. Each thread gathers one pack of channels, cells in their order.
#pragma once

#include "cuda/common/launch.h"
#include "cuda/common/packs.cuh"

namespace pyconv::cuda {

template <int kLanes, class T, class Axis>
__global__ void __launch_bounds__(kPackThreads, 4)
    gather_kernel(ImagePacks packs, Axis rows, Axis columns, const T* x, T* y) {
    const int index = static_cast<int>(blockIdx.x * kPackThreads + threadIdx.x);
    if (index >= packs.count) return;
    const auto at = packs.place(index);
    const auto down = rows.terms(at.row);
    const auto across = columns.terms(at.column);
    x += static_cast<std::int64_t>(at.image) * rows.size * columns.size * packs.channels +
         at.pack * kLanes;
    float sum[kLanes] = {};
    for (int r = 0; r < down.count; ++r) {
        const std::int64_t row = static_cast<std::int64_t>(rows.cell(down, r)) * columns.size;
        const float row_weight = rows.weight(down, r);
#pragma unroll 4
        for (int c = 0; c < across.count; ++c) {
            const float weight = row_weight * columns.weight(across, c);
            if (weight == 0) continue;  // such a cell may hold anything
            float cell[kLanes];
            load_floats(x + (row + columns.cell(across, c)) * packs.channels, cell);
#pragma unroll
            for (int i = 0; i < kLanes; ++i) sum[i] = fmaf(weight, cell[i], sum[i]);
        }
    }
    const float divisor = rows.divisor(at.row) * columns.divisor(at.column);
    if (divisor != 1) {
#pragma unroll
        for (int i = 0; i < kLanes; ++i) sum[i] /= divisor;
    }
    store_floats(y + static_cast<std::int64_t>(index) * kLanes, sum);
}

template <class T, class Axis>
void gather(const char* name, std::int64_t images, std::int64_t channels, const Axis& rows,
            const Axis& columns, const T* x, T* y, cudaStream_t stream) {
    with_lanes<T>(in_packs<T>(channels, x, y), [&](auto lanes) {
        const ImagePacks packs(images, rows.outputs, columns.outputs, channels, lanes);
        if (packs.count == 0) return;
        gather_kernel<lanes>
            <<<packs.blocks(), kPackThreads, 0, stream>>>(packs, rows, columns, x, y);
        check_launch(name, describe_images(images, channels, rows.size, columns.size, rows.outputs,
                                           columns.outputs));
    });
}

}  // namespace pyconv::cuda
