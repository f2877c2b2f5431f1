// Which products the kernels of hopper.cuh take, and their launches.
#pragma once

#include <type_traits>
#include <utility>

#include "cuda/dense/hopper.cuh"
#include "cuda/dense/hopper.h"
#include "cuda/dense/hopper_maps.h"

namespace pyconv::cuda {

// Products of float read both operands along k: [tap][channel][column] to [tap][column][channel],
// rounded to TF32, 32x32 elements a block.
template <class T>
__global__ void turn_weight(const T* from, T* to, int columns, int channels, std::int64_t pitch,
                            std::int64_t tap_across, std::int64_t tap_down, int taps_across) {
    __shared__ T tile[32][33];
    const int tap = static_cast<int>(blockIdx.z);
    const int column = static_cast<int>(blockIdx.x) * 32,
              channel = static_cast<int>(blockIdx.y) * 32;
    from += tap / taps_across * tap_down + tap % taps_across * tap_across;
    to += static_cast<std::int64_t>(tap) * columns * channels;
    const int x = static_cast<int>(threadIdx.x);
    for (int y = static_cast<int>(threadIdx.y); y < 32; y += 8) {
        if (channel + y < channels && column + x < columns) {
            tile[y][x] = from[(channel + y) * pitch + column + x];
        }
    }
    __syncthreads();
    for (int y = static_cast<int>(threadIdx.y); y < 32; y += 8) {
        if (column + y < columns && channel + x < channels) {
            to[static_cast<std::int64_t>(column + y) * channels + channel + x] =
                __uint_as_float(round_tf32(__float_as_uint(tile[x][y])));
        }
    }
}

template <class T>
HopperWeight turned(const HopperWeight& b, const HopperImage& a, const ProductTask<T>& task) {
    const std::int64_t taps = static_cast<std::int64_t>(a.taps_across) * a.taps_down;
    T* const to = static_cast<T*>(
        task.allocate(taps * b.columns * b.channels * static_cast<std::int64_t>(sizeof(T))));
    const dim3 grid(static_cast<unsigned>(divide_up(b.columns, 32)),
                    static_cast<unsigned>(divide_up(b.channels, 32)), static_cast<unsigned>(taps));
    turn_weight<<<grid, dim3(32, 8), 0, task.stream>>>(
        static_cast<const T*>(b.data), to, static_cast<int>(b.columns),
        static_cast<int>(b.channels), b.pitch, b.tap_across, b.tap_down, a.taps_across);
    check_launch("turn_weight", task.problem);
    const std::int64_t tap = b.columns * b.channels;
    return {to, false, b.columns, b.channels, b.channels, tap, a.taps_across * tap};
}

template <class T>
inline constexpr int kHopperDepth = kHopperStepBytes / static_cast<int>(sizeof(T));

template <class T>
TensorBox image_box(const HopperImage& a, const PixelBox& box) {
    TensorBox t{a.data, {a.channels, a.width, a.height, a.images}, {1, a.pixel}, {}, {}};
    t.step[2] = t.step[1] * a.width;
    t.step[3] = t.step[2] * a.height;
    t.box[0] = kHopperDepth<T>;
    t.box[1] = static_cast<int>(box.width);
    t.box[2] = static_cast<int>(box.height);
    t.box[3] = static_cast<int>(box.images);
    t.stride[0] = t.stride[3] = 1;
    t.stride[1] = a.step_x;
    t.stride[2] = a.step_y;
    return t;
}

template <class T>
TensorBox weight_box(const HopperWeight& b, const HopperImage& a, int columns) {
    TensorBox t{b.data,
                {b.channels, b.columns, a.taps_across, a.taps_down},
                {1, b.pitch, b.tap_across, b.tap_down},
                {kHopperDepth<T>, columns, 1, 1},
                {1, 1, 1, 1}};
    if (b.along_columns) {
        std::swap(t.size[0], t.size[1]);
        t.box[0] = kHopperSlab;
        t.box[1] = kHopperDepth<T>;
    }
    for (int i = 2; i < 4; ++i) {  // steps that are not made
        if (t.size[i] == 1) t.step[i] = t.step[i - 1] * t.size[i - 1];
    }
    return t;
}

// An image of as many pixels as the grid has.
template <class T>
TensorBox gradient_box(const HopperGradient& b, const HopperImage& a, const PixelBox& box) {
    HopperImage image = a;
    image.data = b.data;
    image.channels = b.columns;
    image.pixel = b.pitch;
    image.width = a.grid_width;
    image.height = a.grid_height;
    image.step_x = image.step_y = 1;
    return image_box<T>(image, box);
}

inline int device_attribute(cudaDeviceAttr attribute) {
    int device = 0, value = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&value, attribute, device);
    return value;
}
inline bool device_is_hopper() {
    return device_attribute(cudaDevAttrComputeCapabilityMajor) == 9 &&
           device_attribute(cudaDevAttrComputeCapabilityMinor) == 0 && encode_function();
}

// How a product is cut.
struct HopperCut {
    PixelBox box;
    std::int64_t down, steps;  // tiles along the rows, all steps along k
    int slices;
    HopperPlan plan;
};

// Products that fill their tiles, and are so large that what is needed once doesn't matter.
template <class T>
bool is_worth_it(const HopperCut& cut, const ProductTask<T>& task) {
    const double products = static_cast<double>(task.out.rows) * task.out.columns * task.depth;
    const double computed = static_cast<double>(cut.down) * kHopperRows *
                            divide_up(task.out.columns, cut.plan.columns) * cut.plan.columns *
                            static_cast<double>(cut.steps) * kHopperDepth<T>;
    return products >= 1 << 24 && computed <= 1.5 * products;
}

template <class T>
void plan_columns(HopperCut& cut, const ProductTask<T>& task) {
    cut.plan = plan_hopper(cut.down, task.out.rows, task.out.columns, cut.steps, sizeof(T),
                           hopper_choice.columns);
}

inline HopperWalk make_walk(const HopperImage& a, const HopperCut& cut, std::int64_t columns) {
    const std::int64_t across = divide_up(columns, cut.plan.columns);
    HopperWalk w{};
    w.tiles = checked_int("tiles of the result", cut.down * across * cut.plan.split.count);
    w.down = static_cast<int>(cut.down);
    w.across = static_cast<int>(across);
    w.steps = static_cast<int>(cut.steps);
    w.part_steps = cut.plan.split.depth;
    w.slices = cut.slices;
    w.taps_across = a.taps_across;
    w.channels = static_cast<int>(a.channels);
    w.grid_width = static_cast<int>(a.grid_width);
    w.grid_height = static_cast<int>(a.grid_height);
    w.images = static_cast<int>(a.images);
    w.boxes_across = FastDivider(divide_up(a.grid_width, cut.box.width));
    w.boxes_down = FastDivider(divide_up(a.grid_height, cut.box.height));
    w.box_width = FastDivider(cut.box.width);
    w.box_height = FastDivider(cut.box.height);
    w.box_images = static_cast<int>(cut.box.images);
    w.box_pixels = static_cast<int>(cut.box.width * cut.box.height * cut.box.images);
    w.origin_x = a.origin_x;
    w.origin_y = a.origin_y;
    w.step_x = a.step_x;
    w.step_y = a.step_y;
    w.tap_step_x = a.tap_step_x;
    w.tap_step_y = a.tap_step_y;
    return w;
}

template <bool kLeftAcross, bool kRightAcross, class T>
HopperResult launch_hopper(const TensorBox& a, const TensorBox& b, const HopperWalk& walk,
                           const HopperPlan& plan, const ProductTask<T>& task) {
    const CUtensorMap left = make_tensor_map<T>(a), right = make_tensor_map<T>(b);
    // An activation in a pass of its own begins with sums that were not rounded yet.
    const bool in_parts = plan.split.count > 1 || !is_piecewise_linear(task.epilogue.activation);
    float* const partial = in_parts ? allocate_parts(task, plan.split.count) : nullptr;
    const Finish<T> finish = in_parts ? Finish<T>() : Finish<T>(task.epilogue);
    int blocks = hopper_choice.blocks;
    if (blocks == 0) blocks = device_attribute(cudaDevAttrMultiProcessorCount);
    const auto launch = [&](auto columns) {
        using Shape = HopperShape<T, columns>;
        const auto kernel = hopper_kernel<T, columns, kLeftAcross, kRightAcross>;
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::kBytes);
        kernel<<<std::min(blocks, walk.tiles), Shape::kThreads, Shape::kBytes, task.stream>>>(
            left, right, walk, task.out, finish, partial);
        check_launch(task.kernel, task.problem);
    };
    if (plan.columns == 64) launch(std::integral_constant<int, 64>{});
    if (plan.columns == 128) launch(std::integral_constant<int, 128>{});
    if (plan.columns == 256) launch(std::integral_constant<int, 256>{});
    ++hopper_launches;
    return {true, partial, plan.split.count};
}

template <class T>
HopperResult HopperProduct<T>::run(const HopperImage& a, const HopperWeight& b,
                                   const ProductTask<T>& task) {
    const int use = hopper_choice.use;
    if (use == 0 || task.groups != 1 || task.depth == 0 || !device_is_hopper()) return {};
    HopperCut cut{};
    cut.box =
        plan_box(a.grid_width, a.grid_height, a.images, a.step_x, a.step_y, kHopperRows, false);
    cut.down = cut.box.tiles;
    cut.slices = static_cast<int>(divide_up(a.channels, kHopperDepth<T>));
    cut.steps = static_cast<std::int64_t>(cut.slices) * a.taps_across * a.taps_down;
    plan_columns(cut, task);
    const TensorBox image = image_box<T>(a, cut.box);
    if (!image.template is_regular<T>()) return {};
    if (!weight_box<T>(b, a, cut.plan.columns).template is_regular<T>()) return {};
    const bool turns = sizeof(T) == 4 && b.along_columns;
    constexpr int kRowsToTurn = 512;
    if (use < 0 && (!is_worth_it(cut, task) || (turns && task.out.rows < kRowsToTurn))) return {};
    const HopperWalk walk = make_walk(a, cut, task.out.columns);
    HopperWeight weight = b;
    if constexpr (sizeof(T) == 4) {
        if (turns) weight = turned(b, a, task);
    }
    const TensorBox right = weight_box<T>(weight, a, cut.plan.columns);
    if constexpr (sizeof(T) == 2) {
        if (weight.along_columns) {
            return launch_hopper<false, true>(image, right, walk, cut.plan, task);
        }
    }
    return launch_hopper<false, false>(image, right, walk, cut.plan, task);
}

template <class T>
HopperResult HopperProduct<T>::run(const HopperImage& a, const HopperGradient& b,
                                   const ProductTask<T>& task) {
    const int use = hopper_choice.use;
    if (sizeof(T) != 2 || use == 0 || task.groups != 1 || task.depth == 0) return {};
    // Half a tile's rows are channels of one tap.
    const int taps = a.taps_across * a.taps_down;
    if ((taps > 1 && a.channels % kHopperSlab != 0) || !device_is_hopper()) return {};
    HopperCut cut{};
    // Pixels past the grid add zeros, not zero times what a tap sees there.
    const bool matrix = taps == 1 && a.grid_height == 1 && a.grid_width == a.width &&
                        a.step_x == 1 && a.origin_x == 0 && a.origin_y == 0;
    cut.box =
        plan_box(a.grid_width, a.grid_height, a.images, a.step_x, a.step_y, kHopperSlab, !matrix);
    cut.down = divide_up(task.out.rows, kHopperRows);
    cut.steps = cut.box.tiles;
    cut.slices = 1;
    plan_columns(cut, task);
    const TensorBox image = image_box<T>(a, cut.box), gradient = gradient_box<T>(b, a, cut.box);
    if (!image.template is_regular<T>() || !gradient.template is_regular<T>()) return {};
    if (use < 0 && !is_worth_it(cut, task)) return {};
    const HopperWalk walk = make_walk(a, cut, task.out.columns);
    if constexpr (sizeof(T) == 2) {
        return launch_hopper<true, true>(image, gradient, walk, cut.plan, task);
    }
    return {};
}

}  // namespace pyconv::cuda
