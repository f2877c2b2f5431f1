// Every output is a sum of cells, weighted along both axes: means, resampling, padding, and the
// gradients of all of them. Each thread gathers one pack of channels of a few outputs above each
// other, which have the columns in common; the cells of some columns, row by row, then of the next.
#pragma once

#include "cuda/common/launch.h"
#include "cuda/common/packs.cuh"

namespace pyconv::cuda {

inline constexpr int kGatherRows = 2;     // outputs of a thread
inline constexpr int kGatherColumns = 4;  // whose weights it holds

template <int kLanes, class T, class Axis>
__global__ void __launch_bounds__(kPackThreads, 4)
    gather_kernel(ImagePacks packs, Axis rows, Axis columns, const T* x, T* y) {
    const int index = static_cast<int>(blockIdx.x * kPackThreads + threadIdx.x);
    if (index >= packs.count) return;
    const auto at = packs.place(index);
    const auto across = columns.terms(at.column);
    const int channels = packs.channels, channel = at.pack * kLanes;
    const float column_divisor = columns.divisor(at.column);
    x += static_cast<std::int64_t>(at.image) * rows.size * columns.size * channels + channel;
#pragma unroll 1
    for (int row = at.row * kGatherRows; row < rows.outputs && row < (at.row + 1) * kGatherRows;
         ++row) {
        const auto down = rows.terms(row);
        float sum[kLanes] = {};
        for (int first = 0; first < across.count; first += kGatherColumns) {
            float column_weight[kGatherColumns];
#pragma unroll
            for (int c = 0; c < kGatherColumns; ++c) {
                const bool is_there = first + c < across.count;
                column_weight[c] = is_there ? columns.weight(across, first + c) : 0;
            }
            for (int r = 0; r < down.count; ++r) {
                const std::int64_t line =
                    static_cast<std::int64_t>(rows.cell(down, r)) * columns.size;
                const float row_weight = rows.weight(down, r);
#pragma unroll
                for (int c = 0; c < kGatherColumns; ++c) {
                    const float weight = row_weight * column_weight[c];
                    if (weight == 0) continue;  // such a cell may hold anything
                    float cell[kLanes];
                    load_floats(x + (line + columns.cell(across, first + c)) * channels, cell);
#pragma unroll
                    for (int i = 0; i < kLanes; ++i) sum[i] = fmaf(weight, cell[i], sum[i]);
                }
            }
        }
        const float divisor = rows.divisor(row) * column_divisor;
        if (divisor != 1) {
#pragma unroll
            for (int i = 0; i < kLanes; ++i) sum[i] /= divisor;
        }
        const std::int64_t pixel =
            (static_cast<std::int64_t>(at.image) * rows.outputs + row) * columns.outputs +
            at.column;
        store_floats(y + pixel * channels + channel, sum);
    }
}

template <class T, class Axis>
void gather(const char* name, std::int64_t images, std::int64_t channels, const Axis& rows,
            const Axis& columns, const T* x, T* y, cudaStream_t stream) {
    with_lanes<T>(in_packs<T>(channels), [&](auto lanes) {
        const ImagePacks packs(images, divide_up(rows.outputs, kGatherRows), columns.outputs,
                               channels, lanes);
        if (packs.count == 0) return;
        gather_kernel<lanes>
            <<<packs.blocks(), kPackThreads, 0, stream>>>(packs, rows, columns, x, y);
        check_launch(name, describe_images(images, channels, rows.size, columns.size, rows.outputs,
                                           columns.outputs));
    });
}

}  // namespace pyconv::cuda
