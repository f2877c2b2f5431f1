// The candidates in their order, and why one refuses.
#include <stdexcept>

#include "cpu/convolution/convolution.h"
#include "cpu/convolution/grouped.h"

namespace pyconv {

namespace {

// With more channels a tap is a long enough sum by itself.
constexpr std::int64_t kFewChannels = 4;

std::string depthwise_refuses(Direction, const ConvolutionProblem& p) {
    if (p.groups != p.in_channels) {
        return "groups is " + std::to_string(p.groups) + ", not the " +
               std::to_string(p.in_channels) + " input channels";
    }
    if (p.in_channels == 1 && p.out_channels > 1) {
        return "one input channel: a convolution with few channels";
    }
    return "";
}

std::string few_channels_refuses(Direction direction, const ConvolutionProblem& p) {
    if (p.groups != 1) return "groups is " + std::to_string(p.groups) + ", not 1";
    if (p.in_channels > kFewChannels) {
        return std::to_string(p.in_channels) + " input channels, more than " +
               std::to_string(kFewChannels);
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

std::string direct_refuses(Direction, const ConvolutionProblem&) { return ""; }

struct Candidate {
    Algorithm algorithm;
    const char* name;
    std::string (*refuses)(Direction, const ConvolutionProblem&);
};

constexpr Candidate kCandidates[] = {
    {Algorithm::depthwise, "depthwise", depthwise_refuses},
    {Algorithm::grouped, "grouped",
     [](Direction, const ConvolutionProblem& p) { return grouped_refuses(p); }},
    {Algorithm::few_channels, "few_channels", few_channels_refuses},
    {Algorithm::direct, "direct", direct_refuses},
};

}  // namespace

std::vector<Verdict> convolution_algorithms(Direction direction, const ConvolutionProblem& p) {
    std::vector<Verdict> verdicts;
    for (const Candidate& candidate : kCandidates) {
        verdicts.push_back({candidate.algorithm, candidate.name, candidate.refuses(direction, p)});
    }
    return verdicts;
}

Algorithm choose_algorithm(Direction direction, const ConvolutionProblem& p,
                           const std::string& name) {
    for (const Candidate& candidate : kCandidates) {
        const bool wanted = name == candidate.name;
        if (!wanted && name != "auto") continue;
        const std::string refusal = candidate.refuses(direction, p);
        if (refusal.empty()) return candidate.algorithm;
        if (wanted) {
            throw std::invalid_argument("algorithm '" + name +
                                        "' can't take this problem: " + refusal);
        }
    }
    std::string names = "auto";
    for (const Candidate& candidate : kCandidates) names += std::string(", ") + candidate.name;
    throw std::invalid_argument("algorithm must be one of " + names + ", got '" + name + "'");
}

}  // namespace pyconv
