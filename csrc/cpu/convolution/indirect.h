// Implicit GEMM over pointers: each output position is a row of the GEMM, and for each tap of the
// kernel a pointer says where the input pixel's channels lie, or a row of zeros where the tap
// falls on padding. Forward, backward data by stride phases, and transposed convolution are all
// this problem with other steps.
#pragma once

#include <cstdint>
#include <vector>

#include "core/problem.h"
#include "cpu/dense/panels.h"

namespace pyconv {

struct Tap {
    std::int64_t y, x;    // input position of grid position 0
    std::int32_t weight;  // which tap of the packed weight
};

// A weight as the kernels are given it: element (o, i, y, x) at data[o * out + i * in + y * row +
// x * column], i within the group.
template <class T>
struct WeightView {
    const T* data;
    std::int64_t out, in, row, column;
};

// A weight as the matrices of its taps: `depth` x `columns` for each group.
template <class T>
struct TapMatrices {
    const T* data = nullptr;
    std::int64_t group = 0, depth = 0, column = 0;  // from one to the next, in elements
    std::int64_t tap_row = 0, tap_column = 0, kernel_width = 1;

    const T* tap(std::int64_t g, std::int64_t number) const {
        return data + g * group + number / kernel_width * tap_row +
               number % kernel_width * tap_column;
    }
};
// For the forward pass the columns are the output channels, for backward data the input channels
// of a group.
template <class T>
TapMatrices<T> forward_matrices(const WeightView<T>& weight, const ConvolutionProblem& problem);
template <class T>
TapMatrices<T> backward_matrices(const WeightView<T>& weight, const ConvolutionProblem& problem);

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
    // The weight: packed already, or (null) to be packed panel by panel, each where it is used.
    const T* packed = nullptr;
    std::int64_t packed_taps = 0;  // taps that the packed weight holds
    TapMatrices<T> weight;
    Epilogue<T> epilogue;  // the bias has groups * columns entries
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
    std::int64_t packed_panel = 0;  // the panel that `packed` begins with
    const void* next = nullptr;     // what the next block reads, and its size
    std::int64_t next_bytes = 0;
};

// The panels [panel0, panel1) of a block.
template <class T>
void multiply_rows(const DenseKernels<T>& kernels, const RowBlock<T>& block,
                   const Panels<T>& panels, std::int64_t panel0, std::int64_t panel1,
                   const Epilogue<T>& epilogue);

// All panels: [group][panel][tap][channel][column].
template <class T>
void pack_weight(const DenseKernels<T>& kernels, const TapMatrices<T>& weight, std::int64_t groups,
                 std::int64_t taps, std::int64_t depth, std::int64_t columns, T* packed);

// Whether to pack a weight panel by panel: it is large, so that it would leave L2 before it is
// used, and there are so few rows that one block holds them.
template <class T>
bool packs_by_panel(std::int64_t rows, std::int64_t depth, std::int64_t weight_size);

}  // namespace pyconv
