// Which kernels take a convolution on CUDA: by the problem alone, as pyconv.kernels.explain says
// without a device, too.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/problem.h"
#include "cuda/common/index.h"

namespace pyconv::cuda {

// In the order in which "auto" asks.
enum class Algorithm { depthwise, winograd4, winograd2, direct };
inline constexpr const char* kAlgorithmNames[] = {"depthwise", "winograd4", "winograd2", "direct"};

// What a choice goes by, besides the problem.
struct Terms {
    bool float32 = true;        // the arrays' type
    bool strict = false;        // only sums as the definition has them
    bool tensor_cores = false;  // take float32 products
};

// One algorithm's answer to a problem.
struct Verdict {
    Algorithm algorithm;
    const char* name;
    std::string refusal;  // why it can't; empty: it accepts
    std::string passed;   // why "auto" passes it over all the same; empty: it doesn't
};

inline std::string depthwise_refuses(const ConvolutionProblem& p) {
    if (p.groups != p.in_channels) {
        return "groups is " + std::to_string(p.groups) + ", not the " +
               std::to_string(p.in_channels) + " input channels";
    }
    if (p.out_channels != p.in_channels) {
        return std::to_string(p.out_channels) + " output channels, not the " +
               std::to_string(p.in_channels) + " of the input";
    }
    return "";
}

inline std::string winograd_refuses(const ConvolutionProblem& p, const Terms& terms) {
    if (p.groups != 1) return "groups is " + std::to_string(p.groups) + ", not 1";
    if (p.stride_height != 1 || p.stride_width != 1) return "the stride is not 1";
    if (p.kernel_height != 3 || p.kernel_width != 3) {
        return "the kernel is " + std::to_string(p.kernel_height) + "x" +
               std::to_string(p.kernel_width) + ", not 3x3";
    }
    if (!terms.float32) return "the arrays are not float32";
    return terms.strict ? "the float32 precision is strict" : "";
}

// What a chip multiplies and adds in float32 while its memory moves a byte, and while a launch
// comes about: of the order of A100 and H100.
inline constexpr double kFlopsPerByte = 12, kFlopsPerLaunch = 5e7;

// The time of a pass, in flops; out: that of a tile, or 0 for direct sums. Tiles of the products
// are 64 x 64, or 32 columns wide.
inline double winograd_estimate(int out, Direction direction, const ConvolutionProblem& p) {
    const auto whole = [](std::int64_t n, std::int64_t of) {
        return static_cast<double>(divide_up(n, of) * of);
    };
    const bool backward = direction == Direction::backward_input;
    const std::int64_t height = backward ? p.in_height : p.out_height;
    const std::int64_t width = backward ? p.in_width : p.out_width;
    const std::int64_t columns = backward ? p.in_channels : p.out_channels;
    const double products =
        2 * whole(columns, 32) * static_cast<double>(backward ? p.out_channels : p.in_channels);
    if (out == 0) return 9 * products * whole(p.batch * height * width, 64);
    const auto tiles = [&](std::int64_t size, std::int64_t dilation) {
        return std::min(dilation, size) * divide_up(divide_up(size, dilation), out);
    };
    const std::int64_t count =
        p.batch * tiles(height, p.dilation_height) * tiles(width, p.dilation_width);
    const double elements = (out + 2) * (out + 2);
    const double channels = static_cast<double>(p.in_channels + p.out_channels);
    const double weight = static_cast<double>(p.in_channels) * static_cast<double>(p.out_channels);
    // Each plane is written and read.
    const double bytes = 8 * elements * (static_cast<double>(count) * channels + weight);
    return elements * products * whole(count, 64) + kFlopsPerByte * bytes + 3 * kFlopsPerLaunch;
}

// Why "auto" passes F(out x out, 3x3) over; empty where it takes it.
inline std::string winograd_passes(int out, Direction direction, const ConvolutionProblem& p,
                                   const Terms& terms) {
    if (terms.tensor_cores) return "direct sums are on tensor cores";
    constexpr std::int64_t kMost = INT32_MAX / 36 - 1024;  // elements of a plane
    const std::int64_t least = std::min(p.in_channels, p.out_channels);
    const std::int64_t most = std::max(p.in_channels, p.out_channels);
    if (least < 16) return "fewer than 16 channels";
    if (most + 7 > kMost / std::max<std::int64_t>(least + 7, 128)) return "too many channels";
    const double own = winograd_estimate(out, direction, p);
    const auto passes = [&](int other, const char* name) -> std::string {
        const double share = winograd_estimate(other, direction, p) / own;
        if (share > 1) return "";
        return std::string(name) + " is estimated to take " +
               std::to_string(static_cast<int>(100 * share)) + " % of its time";
    };
    const std::string slower = passes(0, "direct");
    return slower.empty() && out == 4 ? passes(2, "winograd2") : slower;
}

// Pixels of a Winograd tile's side.
inline int tile_of(Algorithm algorithm) { return algorithm == Algorithm::winograd4 ? 4 : 2; }

// "direct", the last, accepts everything.
inline std::vector<Verdict> convolution_algorithms(Direction direction, const ConvolutionProblem& p,
                                                   const Terms& terms) {
    std::vector<Verdict> verdicts{{Algorithm::depthwise, "", depthwise_refuses(p), ""}};
    for (const Algorithm winograd : {Algorithm::winograd4, Algorithm::winograd2}) {
        const std::string refusal = winograd_refuses(p, terms);
        verdicts.push_back(
            {winograd, "", refusal,
             refusal.empty() ? winograd_passes(tile_of(winograd), direction, p, terms) : ""});
    }
    verdicts.push_back({Algorithm::direct, "", "", ""});
    for (Verdict& v : verdicts) v.name = kAlgorithmNames[static_cast<int>(v.algorithm)];
    return verdicts;
}

// The first that "auto" takes, or the one named; throws std::invalid_argument with the reason.
inline Algorithm choose_algorithm(Direction direction, const ConvolutionProblem& p,
                                  const Terms& terms, const std::string& name) {
    std::string names = "auto";
    for (const Verdict& v : convolution_algorithms(direction, p, terms)) {
        if (name == v.name && !v.refusal.empty()) {
            throw std::invalid_argument("algorithm '" + name +
                                        "' can't take this problem: " + v.refusal);
        }
        const bool taken = name == "auto" && v.refusal.empty() && v.passed.empty();
        if (taken || name == v.name) return v.algorithm;
        names += std::string(", ") + v.name;
    }
    throw std::invalid_argument("algorithm must be one of " + names + " on CUDA, got '" + name +
                                "'");
}

}  // namespace pyconv::cuda
