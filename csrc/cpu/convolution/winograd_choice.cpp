// Where Winograd pays: an estimate from the problem alone.
#include <algorithm>

#include "cpu/convolution/winograd.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// Of the products along one axis, the share that falls on the image.
double inside_share(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t dilation,
                    std::int64_t pad) {
    double products = 0;
    for (std::int64_t tap = 0; tap < kernel; ++tap) {
        const std::int64_t shift = tap * dilation - pad;
        const std::int64_t first = std::max<std::int64_t>(0, -shift);
        const std::int64_t end = std::min(out, in - shift);
        products += static_cast<double>(std::max<std::int64_t>(0, end - first));
    }
    return products / static_cast<double>(out * kernel);
}

// The time of a problem in flops at the tiles' rate: out is that of the variant, or 0 for direct.
double estimate(int out, const WinogradProblem<float>& p, std::int64_t kernel, bool packed) {
    const double weight = static_cast<double>(p.in_channels * p.out_channels);
    if (out == 0) {
        const double positions =
            static_cast<double>(p.batch * p.out_height * p.out_width) *
            inside_share(p.in_height, p.out_height, kernel, p.dilation_height, p.pad_top) *
            inside_share(p.in_width, p.out_width, kernel, p.dilation_width, p.pad_left);
        const double taps = static_cast<double>(kernel * kernel);
        const double bytes = 4 * taps * weight;
        return 2 * taps * positions * weight + bytes * tuning::weight_byte_cost(bytes);
    }
    const double elements = static_cast<double>((out + kernel - 1) * (out + kernel - 1));
    const double tiles = static_cast<double>(p.tiles(out));
    const double bytes = 4 * elements * weight;
    return elements * tiles *
               (2.2 * weight + tuning::winograd_element_cost *
                                   static_cast<double>(p.in_channels + p.out_channels)) +
           bytes * (tuning::weight_byte_cost(bytes) + (packed ? 0 : tuning::winograd_weight_cost));
}

// The same of the weight gradient.
double estimate_gradient(int out, const WinogradProblem<float>& p, std::int64_t kernel) {
    const double weight = static_cast<double>(p.in_channels * p.out_channels);
    if (out == 0) return 1.1 * estimate(0, p, kernel, true);
    const double elements = static_cast<double>((out + kernel - 1) * (out + kernel - 1));
    const std::int64_t tiles = p.tiles(out);
    const std::int64_t block = tuning::winograd_gradient_tiles(p.in_channels, p.out_channels);
    const double visits = static_cast<double>((tiles + block - 1) / block);
    return elements * static_cast<double>(tiles) *
               (2.2 * weight + tuning::winograd_element_cost *
                                   static_cast<double>(p.in_channels + p.out_channels)) +
           4 * elements * weight * visits * tuning::winograd_visit_cost;
}

}  // namespace

std::string winograd_passes(int out, Direction direction, const ConvolutionProblem& p,
                            bool packed) {
    if (std::min(p.in_channels, p.out_channels) < tuning::winograd_channels) {
        return "fewer than " + std::to_string(tuning::winograd_channels) + " channels";
    }
    const WeightView<float> none{};
    const WinogradProblem<float> q =
        direction == Direction::backward_input
            ? winograd_backward_problem<float>(0, p, nullptr, none, nullptr)
            : winograd_forward_problem<float>(0, p, nullptr, none, nullptr);
    const auto time = [&](int variant) {
        return direction == Direction::backward_weight
                   ? estimate_gradient(variant, q, p.kernel_height)
                   : estimate(variant, q, p.kernel_height, packed);
    };
    const double own = time(out);
    const auto passes = [&](int other, const char* name) -> std::string {
        const double share = time(other) / own;
        if (share > 1) return "";
        return std::string(name) + " is estimated to take " +
               std::to_string(static_cast<int>(100 * share)) + " % of its time";
    };
    const std::string slower = passes(0, "direct");
    return slower.empty() && out == 4 ? passes(2, "winograd2") : slower;
}

}  // namespace pyconv
