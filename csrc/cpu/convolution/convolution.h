// Convolution on the CPU: which algorithm takes a problem, and the passes.
#pragma once

#include <string>
#include <vector>

#include "core/isa.h"
#include "core/problem.h"
#include "cpu/convolution/indirect.h"

namespace pyconv {

enum class Algorithm {
    depthwise,
    grouped,
    few_outputs,
    few_channels,
    winograd4,
    winograd2,
    winograd6,
    direct
};

const char* algorithm_name(Algorithm algorithm);

// What a choice goes by, besides the problem.
struct Terms {
    Isa isa = Isa::generic;
    bool strict = false;   // only sums as the definition has them
    bool float64 = false;  // who computes in it wants its accuracy: Winograd by name alone
    bool packed = false;   // the weight is packed beforehand
};

// One algorithm's answer to a problem.
struct Verdict {
    Algorithm algorithm;
    const char* name;
    std::string refusal;  // why it can't; empty: it accepts
    std::string passed;   // why "auto" passes it over all the same; empty: it doesn't
};
// In the order of preference; "direct", the last, accepts everything.
std::vector<Verdict> convolution_algorithms(Direction direction, const ConvolutionProblem& problem,
                                            const Terms& terms);
// The first that "auto" takes, or the one named; throws std::invalid_argument with the reason.
Algorithm choose_algorithm(Direction direction, const ConvolutionProblem& problem,
                           const Terms& terms, const std::string& name);

// Images are dense N, H, W, C. `packed` is what pack_weight made for this instruction set, or null.
template <class T>
void convolution_forward(Isa isa, Algorithm algorithm, const ConvolutionProblem& problem,
                         const T* x, const WeightView<T>& weight, const T* packed, T* y,
                         const Epilogue<T>& epilogue);
template <class T>
std::int64_t packed_weight_size(Isa isa, Algorithm algorithm, const ConvolutionProblem& problem);
template <class T>
void pack_weight(Isa isa, Algorithm algorithm, const ConvolutionProblem& problem,
                 const WeightView<T>& weight, T* packed);

// The epilogue serves transposed convolution, which is this pass.
template <class T>
void convolution_backward_input(Isa isa, Algorithm algorithm, const ConvolutionProblem& problem,
                                const T* dy, const WeightView<T>& weight, T* dx,
                                const Epilogue<T>& epilogue);
// dw lies as kernel_height, kernel_width, in_channels / groups, out_channels.
template <class T>
void convolution_backward_weight(Isa isa, Algorithm algorithm, const ConvolutionProblem& problem,
                                 const T* dy, const T* x, T* dw);

// db = the sum of dy over all pixels.
template <class T>
void convolution_backward_bias(Isa isa, std::int64_t pixels, std::int64_t channels, const T* dy,
                               T* db);

// A depthwise convolution and the 1x1 convolution of its result, a strip of rows at a time, so
// that the middle image stays in the cache. `problem` is the depthwise one; the pointwise weight
// is out x middle.
template <class T>
void separable_forward(Isa isa, const ConvolutionProblem& problem, const T* x,
                       const WeightView<T>& depthwise, const WeightView<T>& pointwise,
                       std::int64_t out_channels, T* y, const Epilogue<T>& epilogue);
// d_depthwise lies as kernel_height, kernel_width, 1, middle; d_pointwise as middle, out.
template <class T>
void separable_backward(Isa isa, const ConvolutionProblem& problem, const T* dy, const T* x,
                        const WeightView<T>& depthwise, const WeightView<T>& pointwise,
                        std::int64_t out_channels, T* dx, T* d_depthwise, T* d_pointwise, T* dbias);

}  // namespace pyconv
