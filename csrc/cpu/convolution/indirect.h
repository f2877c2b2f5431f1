// Implicit GEMM over pointers: each output position is a row of the GEMM, and for each tap of the
// kernel a pointer says where the input pixel's channels lie, or a row of zeros where the tap
// falls on padding. Forward, backward data by stride phases, and transposed convolution are all
// this problem with other steps.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/dense/panels.h"

namespace pyconv {

struct Tap {
    std::int64_t y, x;    // input position of grid position 0
    std::int32_t weight;  // which tap of the packed weight
};

template <class T>
struct IndirectProblem {
    std::int64_t batch = 0, grid_height = 0, grid_width = 0;
    T* out = nullptr;  // of grid position 0; the steps are in elements
    std::int64_t out_image = 0, out_row = 0, out_pixel = 0;
    const T* in = nullptr;
    std::int64_t in_image = 0, in_row = 0, in_pixel = 0;
    std::int64_t in_height = 0, in_width = 0;
    std::int64_t step_y = 1, step_x = 1;  // input positions from one grid position to the next
    std::vector<Tap> taps;
    std::int64_t depth = 0;    // channels of a tap
    std::int64_t columns = 0;  // output channels of a group
    std::int64_t groups = 1;   // group g: in + g * depth, out + g * columns
    const T* packed = nullptr;
    std::int64_t packed_taps = 0;  // taps that the packed weight holds
    Epilogue<T> epilogue;          // the bias has groups * columns entries
};

template <class T>
void run_indirect(const DenseKernels<T>& kernels, const IndirectProblem<T>& problem);

// A block of rows whose pointers are at hand.
template <class T>
struct RowBlock {
    const T* const* a;  // [taps][a_tap]
    std::int64_t a_tap;
    T* const* c;
    std::int64_t rows;
    const Tap* taps;
    std::int64_t tap_count;
    std::int64_t depth;
    const T* packed;
    std::int64_t packed_taps;
    const T* zeros;  // a tap that is this for all rows of a tile is left out; may be null
};

// The panels [panel0, panel1) of a block.
template <class T>
void multiply_rows(const DenseKernels<T>& kernels, const RowBlock<T>& block,
                   const Panels<T>& panels, std::int64_t panel0, std::int64_t panel1,
                   const Epilogue<T>& epilogue);

// A weight as the kernels are given it: element (o, i, y, x) at data[o * out + i * in + y * row +
// x * column], i within the group.
template <class T>
struct WeightView {
    const T* data;
    std::int64_t out, in, row, column;
};

// [group][panel][tap][channel][column]: for the forward pass the columns are the output channels,
// for backward data the input channels of the group.
template <class T>
void pack_forward(const DenseKernels<T>& kernels, const WeightView<T>& weight, std::int64_t groups,
                  std::int64_t group_out, std::int64_t group_in, std::int64_t kernel_height,
                  std::int64_t kernel_width, T* packed);
template <class T>
void pack_backward(const DenseKernels<T>& kernels, const WeightView<T>& weight, std::int64_t groups,
                   std::int64_t group_out, std::int64_t group_in, std::int64_t kernel_height,
                   std::int64_t kernel_width, T* packed);

}  // namespace pyconv
