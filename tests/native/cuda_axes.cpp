// The axes that the device's kernels compute as they go, against the tables of the CPU's.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "cpu/resample/axis.h"
#include "cuda/resample/axes.h"

namespace {

using pyconv::Axis;
namespace cuda = pyconv::cuda;

// Every output is made of the same cells with the same weights. A cell of weight 0 is none.
template <class DeviceAxis>
void check(const char* name, const DeviceAxis& axis, const Axis& table) {
    bool same = axis.size == table.size && axis.outputs == table.outputs;
    for (int output = 0; same && output < axis.outputs; ++output) {
        std::map<std::int64_t, double> missing;
        for (std::int64_t i = table.begin(output); i < table.end(output); ++i) {
            missing[table.cells[i]] += table.weight(i) / table.divisor(output);
        }
        const auto terms = axis.terms(output);
        std::int64_t before = -1;
        for (int i = 0; i < terms.count; ++i) {
            const int cell = axis.cell(terms, i);
            const double weight = axis.weight(terms, i);
            if (weight != 0) missing[cell] -= weight / axis.divisor(output);
            same = same && cell > before && cell < axis.size;
            before = cell;
        }
        for (const auto& [cell, weight] : missing) same = same && std::abs(weight) < 1e-6;
        if (!same) std::fprintf(stderr, "output %d: ", output);
    }
    if (same) return;
    std::fprintf(stderr, "failed: %s of %lld cells, %lld outputs\n", name,
                 static_cast<long long>(table.size), static_cast<long long>(table.outputs));
    std::exit(1);
}

void check_pools(const pyconv::PoolAxis& a, bool include, float fixed) {
    const cuda::Divisor by{include, fixed};
    Axis table = fixed == 0 ? mean_pool_axis(a, include) : pool_axis(a);
    if (fixed != 0) table.divisors.assign(static_cast<std::size_t>(a.outputs), fixed);
    check("means", cuda::WindowMeans(a, by), table);
    if (a.dilation == 1)
        check("gradient of means", cuda::WindowMeansGradient(a, by), table.adjoint());
}

void check_all_pools() {
    for (std::int64_t size = 1; size <= 9; ++size) {
        for (std::int64_t kernel = 1; kernel <= 4; ++kernel) {
            for (std::int64_t stride = 1; stride <= 4; ++stride) {
                for (std::int64_t dilation = 1; dilation <= 3; ++dilation) {
                    const std::int64_t window = dilation * (kernel - 1) + 1;
                    for (std::int64_t pads = 0; pads < window * window; ++pads) {
                        for (const bool ceil : {false, true}) {
                            pyconv::PoolAxis a{size,   0,      pads % window, pads / window,
                                               kernel, stride, dilation};
                            a.outputs = pyconv::pool_output_size(size, a.before, a.after, kernel,
                                                                 stride, dilation, ceil);
                            if (a.outputs < 1) continue;
                            if (dilation == 1) check_pools(a, true, 0);
                            if (dilation == 1) check_pools(a, false, 0);
                            check_pools(a, true, -4);
                        }
                    }
                }
            }
        }
    }
}

void check_sizes(std::int64_t size, std::int64_t outputs) {
    const Axis means = pyconv::adaptive_axis(size, outputs);
    check("adaptive means", cuda::AdaptiveMeans(size, outputs), means);
    check("gradient of adaptive means", cuda::AdaptiveMeansGradient(size, outputs),
          means.adjoint());
    const auto exact = cuda::ExactPositions::of_sizes(size, outputs);
    const Axis nearest = pyconv::nearest_axis(size, outputs, 0);
    check("nearest", cuda::NearestAxis<cuda::ExactPositions>(size, outputs, exact), nearest);
    check("gradient of nearest", cuda::NearestGradient<cuda::ExactPositions>(size, outputs, exact),
          nearest.adjoint());
    for (const bool corners : {false, true}) {
        const auto positions = corners ? cuda::ExactPositions::of_corners(size, outputs)
                                       : cuda::ExactPositions::of_areas(size, outputs);
        const Axis linear = pyconv::linear_axis(size, outputs, 0, corners);
        check("linear", cuda::LinearAxis<cuda::ExactPositions>(size, outputs, positions), linear);
        check("gradient of linear",
              cuda::LinearGradient<cuda::ExactPositions>(size, outputs, positions),
              linear.adjoint());
    }
}

void check_scale(std::int64_t size, double scale) {
    using cuda::ScaledPositions;
    const auto outputs = static_cast<std::int64_t>(std::floor(static_cast<double>(size) * scale));
    if (outputs < 1) return;
    const Axis nearest = pyconv::nearest_axis(size, outputs, scale);
    const ScaledPositions in_cells(size, scale, false), in_areas(size, scale, true);
    check("nearest", cuda::NearestAxis<ScaledPositions>(size, outputs, in_cells), nearest);
    check("gradient of nearest", cuda::NearestGradient<ScaledPositions>(size, outputs, in_cells),
          nearest.adjoint());
    const Axis linear = pyconv::linear_axis(size, outputs, scale, false);
    check("linear", cuda::LinearAxis<ScaledPositions>(size, outputs, in_areas), linear);
    check("gradient of linear", cuda::LinearGradient<ScaledPositions>(size, outputs, in_areas),
          linear.adjoint());
    if (const auto exact = cuda::exact_nearest(size, outputs, scale)) {
        check("exact nearest", cuda::NearestAxis<cuda::ExactPositions>(size, outputs, *exact),
              nearest);
        check("gradient of exact nearest",
              cuda::NearestGradient<cuda::ExactPositions>(size, outputs, *exact),
              nearest.adjoint());
    }
}

}  // namespace

int main() {
    check_all_pools();
    for (std::int64_t size = 1; size <= 24; ++size) {
        for (std::int64_t outputs = 1; outputs <= 50; ++outputs) check_sizes(size, outputs);
        for (const double scale : {0.25, 0.3, 0.5, 0.7, 0.96, 1.0, 1.1, 1.25, 1.5, 1.7, 2.0, 2.3,
                                   2.0 / 3, 1.0 / 3, 3.0, 3.99, 4.0, 7.5}) {
            check_scale(size, scale);
        }
        for (std::int64_t before = 0; before <= 6; ++before) {
            for (std::int64_t after = 0; after <= 6; ++after) {
                for (const bool reflect : {false, true}) {
                    if (reflect && (before >= size || after >= size)) continue;
                    const Axis table = pyconv::padding_axis(size, before, after, reflect);
                    check("padding", cuda::PaddingAxis(size, before, after, reflect), table);
                    check("gradient of padding",
                          cuda::PaddingGradient(size, before, after, reflect), table.adjoint());
                }
            }
        }
    }
    for (const std::int64_t size : {1000, 4096, 30000, 46340}) {
        for (const std::int64_t outputs : {1, 7, 999, 1000, 8192}) check_sizes(size, outputs);
    }
    std::printf("axes of pools and resampling: ok\n");
    return 0;
}
