// A matrix product, or a convolution, on a device of compute capability 9.0: one warp asks for
// boxes of the operands, some stages ahead; two warpgroups multiply them. A block stays for many
// tiles, so that the next one's operands come while the last one's results go.
//
// No GPU has run this yet: only an emulator has, which doesn't check all fences.
#pragma once

#include <type_traits>

#include "cuda/common/hopper.cuh"
#include "cuda/dense/hopper.h"
#include "cuda/dense/hopper_maps.h"
#include "cuda/dense/hopper_plan.h"
#include "cuda/dense/tensor_store.cuh"

namespace pyconv::cuda {

template <class T, int kTileColumns>
struct HopperShape {
    static constexpr int kColumns = kTileColumns;
    static constexpr int kThreads = (kHopperConsumers + 1) * 32;  // the last warp copies
    static constexpr int kDepth = kHopperStepBytes / static_cast<int>(sizeof(T));
    static constexpr int kStages = hopper_stages(kColumns);
    static constexpr int kStageBytes = hopper_stage_bytes(kColumns);
    static constexpr int kLeftBytes = kHopperRows * kHopperStepBytes;
    // Sums on their way out, 16 rows and 32 columns of a warp at a time (see TensorShape).
    static constexpr int kWarpRows = 16, kWarpColumns = 32, kSlabPitch = kWarpColumns + 8;
    static constexpr int kSlabBytes = kWarpRows * kSlabPitch * 4;
    static constexpr int kSlabsAt = kStages * kStageBytes;
    static constexpr int kBarriersAt = kSlabsAt + kHopperConsumers * kSlabBytes;
    static constexpr int kBytes = kBarriersAt + 2 * kStages * 8;
    static_assert(kBytes <= 227 * 1024);
};

// The tiles and how to walk through them.
struct HopperWalk {
    int tiles, down, across;  // of all parts; along the rows and columns of the result
    int steps, part_steps;    // along k: taps, and slices of the channels of each
    int slices, taps_across;
    int grid_width, grid_height, images;
    FastDivider boxes_across, boxes_down;  // of the grid
    FastDivider box_width, box_height;
    int box_images, box_pixels;
    int origin_x, origin_y, step_x, step_y, tap_step_x, tap_step_y;

    struct Tile {
        int part, column;     // the first of the tile
        int x, y, image;      // of the grid, the box begins there
        int first_step, end;  // of its part
    };
    // Bands of eight tiles along the rows, so that blocks at work at one time share operands.
    __device__ Tile tile(int index) const {
        constexpr int kBand = 8;
        Tile t;
        const int plane = down * across;
        t.part = index / plane;
        index -= t.part * plane;
        const int band = index / (kBand * across);
        const int rows = min(kBand, down - band * kBand);
        index -= band * kBand * across;
        t.column = index / rows;
        int column, row;
        row = boxes_across.divide(band * kBand + index % rows, column);
        t.image = boxes_down.divide(row, row) * box_images;
        t.x = column * static_cast<int>(box_width.divisor);
        t.y = row * static_cast<int>(box_height.divisor);
        t.first_step = t.part * part_steps;
        t.end = min(t.first_step + part_steps, steps);
        return t;
    }
};

// Stages in turn: `phase` is that of the barriers of `index`.
template <int kStages>
struct Ring {
    int index = 0;
    unsigned phase = 0;
    __device__ void advance() {
        if (++index < kStages) return;
        index = 0;
        phase ^= 1;
    }
};

// Rows of a tile are pixels of a box; those that lie outside the grid are not stored.
template <class T>
struct BoxTarget : TensorTarget<T> {
    const HopperWalk& walk;
    HopperWalk::Tile tile;

    __device__ BoxTarget(const Rows<T>& out, const Finish<T>& finish, float* partial,
                         const HopperWalk& w, const HopperWalk::Tile& t)
        : TensorTarget<T>{out, finish, nullptr}, walk(w), tile(t) {
        if (partial) {
            this->part = partial + static_cast<std::int64_t>(t.part) * out.rows * out.columns;
        }
    }
    __device__ void store(int line, int column, const float (&sums)[4], const float (&bias)[4]) {
        int x, y;
        const int image = tile.image + walk.box_height.divide(walk.box_width.divide(line, x), y);
        x += tile.x;
        y += tile.y;
        if (line >= walk.box_pixels || x >= walk.grid_width || y >= walk.grid_height) return;
        if (image >= walk.images) return;
        TensorTarget<T>::store((image * walk.grid_height + y) * walk.grid_width + x, column, sums,
                               bias);
    }
};

// The thread that copies: a stage is filled when the warps that multiply have left it.
template <class Shape, bool kAlongColumns>
__device__ void copy_tiles(const CUtensorMap& left, const CUtensorMap& right,
                           const HopperWalk& walk, SharedAddress shared, BarrierAddress full,
                           BarrierAddress empty) {
    constexpr int kSlab = 64;  // columns of a line, of operands along the columns
    const int bytes = walk.box_pixels * kHopperStepBytes + Shape::kColumns * kHopperStepBytes;
    Ring<Shape::kStages> ring;
    for (int index = static_cast<int>(blockIdx.x); index < walk.tiles;
         index += static_cast<int>(gridDim.x)) {
        const HopperWalk::Tile tile = walk.tile(index);
        const int first_x = walk.origin_x + tile.x * walk.step_x;
        const int first_y = walk.origin_y + tile.y * walk.step_y;
        const int column = tile.column * Shape::kColumns;
        int tap = tile.first_step / walk.slices;
        int slice = tile.first_step - tap * walk.slices;
        int tap_y = tap / walk.taps_across, tap_x = tap - tap_y * walk.taps_across;
        for (int step = tile.first_step; step < tile.end; ++step) {
            const BarrierAddress filled = full + ring.index * 8;
            const SharedAddress a = shared + ring.index * Shape::kStageBytes;
            const SharedAddress b = a + Shape::kLeftBytes;
            const int channel = slice * Shape::kDepth;
            wait_for_phase(empty + ring.index * 8, ring.phase ^ 1);
            arrive_and_expect(filled, bytes);
            copy_box(a, left, filled, channel, first_x + tap_x * walk.tap_step_x,
                     first_y + tap_y * walk.tap_step_y, tile.image);
            if constexpr (kAlongColumns) {
#pragma unroll
                for (int i = 0; i < Shape::kColumns / kSlab; ++i) {
                    copy_box(b + i * kSlab * kHopperStepBytes, right, filled, column + i * kSlab,
                             channel, tap_x, tap_y);
                }
            } else {
                copy_box(b, right, filled, channel, column, tap_x, tap_y);
            }
            ring.advance();
            if (++slice < walk.slices) continue;
            slice = 0;
            if (++tap_x < walk.taps_across) continue;
            tap_x = 0;
            ++tap_y;
        }
    }
}

// sums += a stage, by one warpgroup.
template <class T, class Shape, bool kAlongColumns>
__device__ void multiply_stage(WarpSums<Shape::kColumns>& sums, SharedAddress a, SharedAddress b) {
#pragma unroll
    for (int i = 0; i < kHopperStepBytes / 32; ++i) {
        // 32 bytes further along k in every line; or 16 lines further, a channel each.
        const std::uint64_t left = operand_at(a + i * 32, 16);
        const std::uint64_t right = kAlongColumns ? operand_at(b + i * 16 * kHopperStepBytes,
                                                               Shape::kDepth * kHopperStepBytes)
                                                  : operand_at(b + i * 32, 16);
        multiply_add<T, Shape::kColumns, kAlongColumns>(sums, left, right);
    }
}

// The warps that multiply, and store.
template <class T, class Shape, bool kAlongColumns>
__device__ void multiply_tiles(const HopperWalk& walk, const Rows<T>& out, const Finish<T>& finish,
                               float* partial, SharedAddress shared, float* slabs,
                               BarrierAddress full, BarrierAddress empty) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const bool first_lane = threadIdx.x % 32 == 0;
    const int group_rows = warp / 4 * 64;
    Ring<Shape::kStages> ring;
    for (int index = static_cast<int>(blockIdx.x); index < walk.tiles;
         index += static_cast<int>(gridDim.x)) {
        const HopperWalk::Tile tile = walk.tile(index);
        WarpSums<Shape::kColumns> sums;
        BarrierAddress left = 0;  // the stage that is read by products that may not have ended
        sums.hold();              // zeros are in their registers
        for (int step = tile.first_step; step < tile.end; ++step) {
            wait_for_phase(full + ring.index * 8, ring.phase);
            const SharedAddress a = shared + ring.index * Shape::kStageBytes;
            begin_products();  // behind the zeros
            multiply_stage<T, Shape, kAlongColumns>(sums, a + group_rows * kHopperStepBytes,
                                                    a + Shape::kLeftBytes);
            commit_products();
            wait_for_products<1>();  // those of the stage before
            if (left != 0 && first_lane) arrive(left);
            left = empty + ring.index * 8;
            ring.advance();
        }
        wait_for_products<0>();
        if (first_lane) arrive(left);
        sums.hold();  // they are read after the wait
        BoxTarget<T> target(out, finish, partial, walk, tile);
#pragma unroll
        for (int i = 0; i < Shape::kColumns / Shape::kWarpColumns; ++i) {
            store_sums<Shape>(target, slabs + warp * (Shape::kSlabBytes / 4), warp * 16,
                              tile.column * Shape::kColumns + i * Shape::kWarpColumns,
                              sums.slab[i]);
        }
    }
}

template <class T, int kColumns, bool kAlongColumns>
__global__ void __launch_bounds__(HopperShape<T, kColumns>::kThreads, 1)
    hopper_kernel(const __grid_constant__ CUtensorMap left,
                  const __grid_constant__ CUtensorMap right,
                  const __grid_constant__ HopperWalk walk, const __grid_constant__ Rows<T> out,
                  const __grid_constant__ Finish<T> finish, float* partial) {
    using Shape = HopperShape<T, kColumns>;
    extern __shared__ __align__(1024) unsigned char memory[];
    const SharedAddress shared = shared_address(memory);
    const BarrierAddress full = shared + Shape::kBarriersAt, empty = full + Shape::kStages * 8;
    if (walk.box_pixels < kHopperRows) {  // lines that no copy fills
        for (int at = static_cast<int>(threadIdx.x) * 16; at < Shape::kSlabsAt;
             at += Shape::kThreads * 16) {
            *reinterpret_cast<uint4*>(memory + at) = uint4{};
        }
        publish_stores();
    }
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < Shape::kStages; ++stage) {
            init_barrier(full + stage * 8, 1);
            init_barrier(empty + stage * 8, kHopperConsumers);
        }
        publish_barriers();
    }
    __syncthreads();
    if (threadIdx.x / 32 == kHopperConsumers) {
        if (threadIdx.x % 32 != 0) return;
        prefetch_map(left);
        prefetch_map(right);
        copy_tiles<Shape, kAlongColumns>(left, right, walk, shared, full, empty);
    } else {
        multiply_tiles<T, Shape, kAlongColumns>(walk, out, finish, partial, shared,
                                                reinterpret_cast<float*>(memory + Shape::kSlabsAt),
                                                full, empty);
    }
}

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
TensorBox image_box(const HopperImage& a, const PixelBox& box) {
    TensorBox t{a.data, {a.channels, a.width, a.height, a.images}, {1, a.pixel}, {}, {}};
    t.step[2] = t.step[1] * a.width;
    t.step[3] = t.step[2] * a.height;
    t.box[0] = kHopperStepBytes / static_cast<int>(sizeof(T));
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
    constexpr int kDepth = kHopperStepBytes / static_cast<int>(sizeof(T));
    TensorBox t{b.data,
                {b.channels, b.columns, a.taps_across, a.taps_down},
                {1, b.pitch, b.tap_across, b.tap_down},
                {kDepth, columns, 1, 1},
                {1, 1, 1, 1}};
    if (b.along_columns) {
        std::swap(t.size[0], t.size[1]);
        t.box[0] = 64;
        t.box[1] = kDepth;
    }
    for (int i = 2; i < 4; ++i) {  // steps that are not made
        if (t.size[i] == 1) t.step[i] = t.step[i - 1] * t.size[i - 1];
    }
    return t;
}

inline int device_attribute(cudaDeviceAttr attribute) {
    int device = 0, value = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&value, attribute, device);
    return value;
}

// Products that fill their tiles, and are so large that what they need once doesn't matter.
inline bool is_worth_it(const HopperPlan& plan, std::int64_t tiles_down, std::int64_t steps,
                        int depth, double products, bool turns, std::int64_t rows) {
    const double computed = static_cast<double>(tiles_down) * kHopperRows * depth *
                            static_cast<double>(steps) * plan.columns;
    return products >= 1 << 24 && computed <= 1.5 * products && (!turns || rows >= 512);
}

template <class T, int kColumns, bool kAlongColumns>
void launch_hopper(const CUtensorMap& left, const CUtensorMap& right, const HopperWalk& walk,
                   const ProductTask<T>& task, float* partial) {
    using Shape = HopperShape<T, kColumns>;
    const auto kernel = hopper_kernel<T, kColumns, kAlongColumns>;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::kBytes);
    int blocks = hopper_choice.blocks;
    if (blocks == 0) blocks = device_attribute(cudaDevAttrMultiProcessorCount);
    kernel<<<std::min(blocks, walk.tiles), Shape::kThreads, Shape::kBytes, task.stream>>>(
        left, right, walk, task.out, partial ? Finish<T>() : Finish<T>(task.epilogue), partial);
    check_launch(task.kernel, task.problem);
    ++hopper_launches;
}

template <class T>
HopperResult HopperProduct<T>::run(const HopperImage& a, const HopperWeight& b,
                                   const ProductTask<T>& task) {
    constexpr int kDepth = kHopperStepBytes / static_cast<int>(sizeof(T));
    const HopperChoice choice = hopper_choice;
    if (choice.use == 0 || task.groups != 1 || task.depth == 0 || task.out.rows == 0) return {};
    if (device_attribute(cudaDevAttrComputeCapabilityMajor) != 9 || !encode_function()) return {};
    const PixelBox box = plan_box(a.grid_width, a.grid_height, a.images, a.step_x, a.step_y);
    const std::int64_t slices = divide_up(a.channels, kDepth);
    const std::int64_t steps = slices * a.taps_across * a.taps_down;
    const HopperPlan plan =
        plan_hopper(box.tiles, task.out.rows, task.out.columns, steps, sizeof(T), choice.columns);
    const bool turns = sizeof(T) == 4 && b.along_columns;
    const double products = static_cast<double>(task.out.rows) * task.out.columns * task.depth;
    if (choice.use < 0 &&
        !is_worth_it(plan, box.tiles, steps, kDepth, products, turns, task.out.rows)) {
        return {};
    }
    const TensorBox image = image_box<T>(a, box);
    if (!image.is_regular(sizeof(T)) || !weight_box<T>(b, a, plan.columns).is_regular(sizeof(T))) {
        return {};
    }
    const std::int64_t across = divide_up(task.out.columns, plan.columns);
    HopperWalk walk{};
    walk.tiles = checked_int("tiles of the result", box.tiles * across * plan.split.count);
    walk.down = static_cast<int>(box.tiles);
    walk.across = static_cast<int>(across);
    walk.steps = static_cast<int>(steps);
    walk.part_steps = plan.split.depth;
    walk.slices = static_cast<int>(slices);
    walk.taps_across = a.taps_across;
    walk.grid_width = static_cast<int>(a.grid_width);
    walk.grid_height = static_cast<int>(a.grid_height);
    walk.images = static_cast<int>(a.images);
    walk.boxes_across = FastDivider(divide_up(a.grid_width, box.width));
    walk.boxes_down = FastDivider(divide_up(a.grid_height, box.height));
    walk.box_width = FastDivider(box.width);
    walk.box_height = FastDivider(box.height);
    walk.box_images = static_cast<int>(box.images);
    walk.box_pixels = static_cast<int>(box.width * box.height * box.images);
    walk.origin_x = a.origin_x;
    walk.origin_y = a.origin_y;
    walk.step_x = a.step_x;
    walk.step_y = a.step_y;
    walk.tap_step_x = a.tap_step_x;
    walk.tap_step_y = a.tap_step_y;

    HopperWeight weight = b;
    if constexpr (sizeof(T) == 4) {
        if (turns) weight = turned(b, a, task);
    }
    const CUtensorMap left = make_tensor_map<T>(image);
    const CUtensorMap right = make_tensor_map<T>(weight_box<T>(weight, a, plan.columns));
    // An activation in a pass of its own begins with sums that were not rounded yet.
    const bool in_parts = plan.split.count > 1 || !is_piecewise_linear(task.epilogue.activation);
    float* const partial = in_parts ? allocate_parts(task, plan.split.count) : nullptr;
    const auto launch = [&](auto columns) {
        if constexpr (sizeof(T) == 2) {
            if (weight.along_columns) {
                return launch_hopper<T, columns, true>(left, right, walk, task, partial);
            }
        }
        launch_hopper<T, columns, false>(left, right, walk, task, partial);
    };
    if (plan.columns == 64) launch(std::integral_constant<int, 64>{});
    if (plan.columns == 128) launch(std::integral_constant<int, 128>{});
    if (plan.columns == 256) launch(std::integral_constant<int, 256>{});
    return {true, partial, plan.split.count};
}

}  // namespace pyconv::cuda
