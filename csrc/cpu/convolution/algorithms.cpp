// The candidates in their order, and why one refuses.
#include <stdexcept>

#include "cpu/convolution/convolution.h"
#include "cpu/convolution/few_outputs.h"
#include "cpu/convolution/grouped.h"
#include "cpu/convolution/winograd.h"

namespace pyconv {

namespace {

// With more channels a tap is a long enough sum by itself; and patches are added too often.
constexpr std::int64_t kFewChannels = 12;
constexpr std::int64_t kFewPatches = 8;
// The copy of the image has a plane for each, which costs as much as two taps. The patches of
// few_channels gain on the gradient of an image with more.
constexpr std::int64_t kFewOutputsInputs = 64;
constexpr std::int64_t kFewOutputsGradients = 16;

std::string depthwise_refuses(Direction, const ConvolutionProblem& p, const Terms&) {
    if (p.groups != p.in_channels) {
        return "groups is " + std::to_string(p.groups) + ", not the " +
               std::to_string(p.in_channels) + " input channels";
    }
    if (p.in_channels == 1 && p.out_channels > 1) {
        return "one input channel: a convolution with few channels";
    }
    return "";
}

std::string few_channels_refuses(Direction direction, const ConvolutionProblem& p, const Terms&) {
    if (p.groups != 1) return "groups is " + std::to_string(p.groups) + ", not 1";
    const std::int64_t most = direction == Direction::backward_input ? kFewPatches : kFewChannels;
    if (p.in_channels > most) {
        return std::to_string(p.in_channels) + " input channels, more than " + std::to_string(most);
    }
    if (p.in_channels == 0) return "no input channels";
    if (p.dilation_width != 1) {
        return "dilation along the row is " + std::to_string(p.dilation_width) + ", not 1";
    }
    if (p.kernel_width == 1) return "kernel rows of one tap: there is nothing to join";
    if (direction == Direction::backward_input && p.pad_left + p.in_width < p.kernel_width) {
        return "the kernel is wider than the image";
    }
    return "";
}

std::string few_outputs_refuses(Direction direction, const ConvolutionProblem& p, const Terms&) {
    if (p.groups != 1) return "groups is " + std::to_string(p.groups) + ", not 1";
    const bool backward = direction == Direction::backward_input;
    if (backward && (p.stride_height != 1 || p.stride_width != 1)) return "the stride is not 1";
    const std::int64_t most_in = backward ? kMaxFewOutputs : kFewOutputsInputs;
    const std::int64_t most_out = backward ? kFewOutputsGradients : kMaxFewOutputs;
    if (p.in_channels > most_in) {
        return std::to_string(p.in_channels) + " input channels, more than " +
               std::to_string(most_in);
    }
    if (p.out_channels > most_out) {
        return std::to_string(p.out_channels) + " output channels, more than " +
               std::to_string(most_out);
    }
    return "";
}

std::string direct_refuses(Direction, const ConvolutionProblem&, const Terms&) { return ""; }

template <int kOut>
std::string winograd_refuses(Direction direction, const ConvolutionProblem& p, const Terms& terms) {
    if (terms.strict) return "the float32 precision is strict";
    if (p.groups != 1) return "groups is " + std::to_string(p.groups) + ", not 1";
    if (p.stride_height != 1 || p.stride_width != 1) return "the stride is not 1";
    if (winograd_variant(kOut, p.kernel_height) < 0 || p.kernel_height != p.kernel_width) {
        return "the kernel is " + std::to_string(p.kernel_height) + "x" +
               std::to_string(p.kernel_width) + (kOut == 6 ? ", not 3x3" : ", not 3x3 or 5x5");
    }
    if (direction == Direction::backward_weight && p.kernel_height == 5) {
        return "the error of a 5x5 weight gradient would be larger than that of the other passes";
    }
    return "";
}

template <int kOut>
std::string auto_passes_winograd(Direction direction, const ConvolutionProblem& p,
                                 const Terms& terms) {
    if (kOut == 6) return "its error is large; only by name";
    if (terms.float64) return "float64 is for accuracy; only by name";
    return winograd_passes(kOut, direction, p, terms.packed);
}

using Answer = std::string (*)(Direction, const ConvolutionProblem&, const Terms&);

struct Candidate {
    Algorithm algorithm;
    const char* name;
    Answer refuses;
    Answer passes;  // may be null
};

constexpr Candidate kCandidates[] = {
    {Algorithm::depthwise, "depthwise", depthwise_refuses, nullptr},
    {Algorithm::grouped, "grouped",
     [](Direction, const ConvolutionProblem& p, const Terms& terms) {
         return grouped_refuses(p, terms.isa, terms.float64);
     },
     [](Direction, const ConvolutionProblem& p, const Terms& terms) {
         return grouped_passes(p, terms.isa);
     }},
    {Algorithm::few_outputs, "few_outputs", few_outputs_refuses,
     [](Direction, const ConvolutionProblem& p, const Terms&) -> std::string {
         return p.taps() == 1 ? "one tap: the copy of the image would cost more than it saves" : "";
     }},
    {Algorithm::few_channels, "few_channels", few_channels_refuses, nullptr},
    {Algorithm::winograd4, "winograd4", winograd_refuses<4>, auto_passes_winograd<4>},
    {Algorithm::winograd2, "winograd2", winograd_refuses<2>, auto_passes_winograd<2>},
    {Algorithm::winograd6, "winograd6", winograd_refuses<6>, auto_passes_winograd<6>},
    {Algorithm::direct, "direct", direct_refuses, nullptr},
};

}  // namespace

const char* algorithm_name(Algorithm algorithm) {
    for (const Candidate& candidate : kCandidates) {
        if (candidate.algorithm == algorithm) return candidate.name;
    }
    return "";
}

std::vector<Verdict> convolution_algorithms(Direction direction, const ConvolutionProblem& p,
                                            const Terms& terms) {
    std::vector<Verdict> verdicts;
    for (const Candidate& c : kCandidates) {
        const std::string refusal = c.refuses(direction, p, terms);
        const bool asked = refusal.empty() && c.passes;
        verdicts.push_back(
            {c.algorithm, c.name, refusal, asked ? c.passes(direction, p, terms) : ""});
    }
    return verdicts;
}

Algorithm choose_algorithm(Direction direction, const ConvolutionProblem& p, const Terms& terms,
                           const std::string& name) {
    const bool automatic = name == "auto";
    for (const Candidate& c : kCandidates) {
        if (!automatic && name != c.name) continue;
        const std::string refusal = c.refuses(direction, p, terms);
        if (!automatic && !refusal.empty()) {
            throw std::invalid_argument("algorithm '" + name +
                                        "' can't take this problem: " + refusal);
        }
        const bool passed =
            automatic && (!refusal.empty() || (c.passes && !c.passes(direction, p, terms).empty()));
        if (!passed) return c.algorithm;
    }
    std::string names = "auto";
    for (const Candidate& candidate : kCandidates) names += std::string(", ") + candidate.name;
    throw std::invalid_argument("algorithm must be one of " + names + ", got '" + name + "'");
}

}  // namespace pyconv
