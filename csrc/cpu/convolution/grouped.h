// Groups of few channels: vectors that hold whole groups, see grouped_kernels.h.
#pragma once

#include <string>
#include <vector>

#include "core/problem.h"
#include "cpu/convolution/grouped_kernels.h"
#include "cpu/convolution/grouped_wide_kernels.h"
#include "cpu/convolution/indirect.h"

namespace pyconv {

// Why a convolution is none of these; empty where it is.
std::string grouped_refuses(const ConvolutionProblem& problem, Isa isa, bool float64);

// Why "auto" passes them over; empty where it doesn't.
std::string grouped_passes(const ConvolutionProblem& problem, Isa isa);

// The weight as [vector][tap][rotation][lane].
template <class T>
std::int64_t grouped_weight_size(const GroupedKernels<T>& kernels, std::int64_t groups,
                                 std::int64_t taps, std::int64_t depth, std::int64_t columns);
template <class T>
void pack_grouped(const GroupedKernels<T>& kernels, const TapMatrices<T>& weight,
                  std::int64_t groups, std::int64_t taps, std::int64_t depth, std::int64_t columns,
                  T* packed);

// As run_indirect; the weight is packed.
template <class T>
void run_grouped(const GroupedKernels<T>& kernels, const IndirectProblem<T>& problem);

// dw lies as kernel_height, kernel_width, in_channels / groups, out_channels.
template <class T>
void grouped_backward_weight(const GroupedKernels<T>& kernels, const ConvolutionProblem& problem,
                             const T* dy, const T* x, T* dw);

// Groups whose outputs fill one or two vectors, see grouped_wide_kernels.h.
std::string wide_refuses(const ConvolutionProblem& problem, Isa isa);
// Of a problem that is not refused: whether it is theirs.
bool is_wide(const ConvolutionProblem& problem, Isa isa);

// As run_indirect, for problems that differ only in their grids, taps and results; the weight is
// packed as run_indirect has it.
template <class T>
void run_wide(const WideKernels<T>& kernels, const DenseKernels<T>& dense,
              const std::vector<IndirectProblem<T>>& phases);

// dw lies as above.
template <class T>
void wide_backward_weight(const WideKernels<T>& kernels, const ConvolutionProblem& problem,
                          const T* dy, const T* x, T* dw);

}  // namespace pyconv
