// Means of large windows of few outputs (global pools above all), where a thread for each output
// would leave the device idle: blocks share the cells of a window, and their sums are added in
// order.
#pragma once

#include <algorithm>

#include "cuda/common/launch.h"
#include "cuda/common/packs.cuh"
#include "cuda/common/sums.cuh"

namespace pyconv::cuda {

// How a window is shared, by the problem alone. A block is `packs` wide and walks through a part of
// the cells by `steps` at a time; all of it by `kPackThreads` threads.
struct Sharing {
    int packs, steps, parts, each;  // cells of a part

    Sharing(std::int64_t outputs, std::int64_t pixel_packs, std::int64_t cells) {
        // Pixels of few packs are read as one piece of memory, those of many by warps.
        packs = pixel_packs <= 64 ? static_cast<int>(pixel_packs) : packs_of_block(pixel_packs, 32);
        steps = kPackThreads / packs;
        const std::int64_t blocks = outputs * divide_up(pixel_packs, packs);
        const std::int64_t for_accuracy = divide_up(cells, std::int64_t{64} * steps);
        const std::int64_t for_the_grid =
            std::min(divide_up(kWantedBlocks, blocks), divide_up(cells, std::int64_t{8} * steps));
        const std::int64_t wanted =
            std::min<std::int64_t>(1024, std::max(for_accuracy, for_the_grid));
        each = static_cast<int>(divide_up(cells, wanted));
        parts = static_cast<int>(divide_up(cells, each));
    }
    static constexpr std::int64_t kWantedBlocks = 216;
};

// Block (part, packs, output): the sum of a part of a window, divided where there is only one.
template <int kLanes, class T, class Axis>
__global__ void __launch_bounds__(kPackThreads)
    window_parts_kernel(ImagePacks packs, Sharing share, Axis rows, Axis columns, const T* x, T* y,
                        float* partial) {
    __shared__ BlockSums<kLanes, kPackThreads> sums;
    const int thread = static_cast<int>(threadIdx.x);
    const int row = thread / share.packs;
    const int pack = static_cast<int>(blockIdx.y) * share.packs + thread % share.packs;
    const int pixel_packs = packs.across;
    const int part = static_cast<int>(blockIdx.x) % share.parts;
    const int output = static_cast<int>(blockIdx.x) / share.parts;
    int out_row, out_column;
    const int image = packs.height.divide(packs.width.divide(output, out_column), out_row);
    const auto down = rows.terms(out_row);
    const auto across = columns.terms(out_column);
    x += static_cast<std::int64_t>(image) * rows.size * columns.size * packs.channels +
         pack * kLanes;

    float sum[kLanes] = {};
    const int end = min((part + 1) * share.each, down.count * across.count);
    int cell = part * share.each + row;
    if (row < share.steps && pack < pixel_packs && cell < end) {
        int r = cell / across.count, c = cell % across.count;
        const int step_r = share.steps / across.count, step_c = share.steps % across.count;
        for (; cell < end; cell += share.steps) {
            float value[kLanes];
            load_floats(x + (static_cast<std::int64_t>(rows.cell(down, r)) * columns.size +
                             columns.cell(across, c)) *
                                packs.channels,
                        value);
#pragma unroll
            for (int i = 0; i < kLanes; ++i) sum[i] += value[i];
            r += step_r;
            c += step_c;
            if (c >= across.count) {
                c -= across.count;
                ++r;
            }
        }
    }
    sums.put(thread, sum);
    sums.add_rows(thread, share.packs, share.steps);
    const float divisor =
        share.parts == 1 ? rows.divisor(out_row) * columns.divisor(out_column) : 1;
    const int first = static_cast<int>(blockIdx.y) * share.packs * kLanes;
    const int count = min(share.packs * kLanes, packs.channels - first);
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * packs.channels + first;
    for (int e = thread; e < count; e += kPackThreads) {
        if (share.parts == 1) {
            y[at + e] = narrow<T>(sums.element(e) / divisor);
        } else {
            partial[at + e] = sums.element(e);
        }
    }
}

// The means, from the sums of the parts.
template <class T, class Axis>
__global__ void __launch_bounds__(kPackThreads)
    add_window_parts_kernel(ImagePacks packs, int parts, Axis rows, Axis columns,
                            const float* partial, T* y) {
    const int index = static_cast<int>(blockIdx.x * kPackThreads + threadIdx.x);
    if (index >= packs.count) return;
    const auto at = packs.place(index);
    int channel;
    const int output = packs.across.divide(index, channel);
    partial += static_cast<std::int64_t>(output) * parts * packs.channels + channel;
    const float total = add_parts_of(partial, parts, packs.channels);
    y[index] = narrow<T>(total / (rows.divisor(at.row) * columns.divisor(at.column)));
}

// Packs of a pixel, wherever it lies: the order of the sums is not a matter of addresses.
template <class T>
std::int64_t widest_packs(std::int64_t channels) {
    return channels % kPack<T> == 0 ? channels / kPack<T> : channels;
}

// Whether windows of `cells` are worth sharing.
template <class T>
bool is_shared(std::int64_t outputs, std::int64_t channels, std::int64_t cells) {
    return cells >= 32 &&
           outputs * widest_packs<T>(channels) < Sharing::kWantedBlocks * kPackThreads;
}

template <class T, class Axis>
void reduce_windows(const char* name, std::int64_t images, std::int64_t channels, const Axis& rows,
                    const Axis& columns, std::int64_t cells, const T* x, T* y,
                    const Allocate& allocate, cudaStream_t stream) {
    const std::string problem =
        describe_images(images, channels, rows.size, columns.size, rows.outputs, columns.outputs);
    const std::int64_t outputs = images * rows.outputs * columns.outputs;
    checked_int("cells of a window", cells);
    with_lanes<T>(in_packs<T>(channels), [&](auto lanes) {
        const ImagePacks packs(images, rows.outputs, columns.outputs, channels, lanes);
        const Sharing share(outputs, widest_packs<T>(channels), cells);
        float* partial = nullptr;
        if (share.parts > 1) {
            partial = static_cast<float*>(
                allocate(outputs * share.parts * channels * std::int64_t{sizeof(float)}));
        }
        const dim3 grid(static_cast<unsigned>(outputs * share.parts),
                        static_cast<unsigned>(divide_up(channels / lanes, share.packs)));
        window_parts_kernel<lanes>
            <<<grid, kPackThreads, 0, stream>>>(packs, share, rows, columns, x, y, partial);
        check_launch(name, problem);
        if (share.parts == 1) return;
        const ImagePacks single(images, rows.outputs, columns.outputs, channels, 1);
        add_window_parts_kernel<<<single.blocks(), kPackThreads, 0, stream>>>(
            single, share.parts, rows, columns, partial, y);
        check_launch(name, problem);
    });
}

}  // namespace pyconv::cuda
