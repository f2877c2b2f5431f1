#include "cpu/resample/axis.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pyconv {

Axis nearest_axis(std::int64_t size, std::int64_t outputs, double scale) {
    Axis axis(size, outputs);
    axis.set_steps();
    for (std::int64_t output = 0; output < outputs; ++output) {
        const std::int64_t cell =
            scale > 0 ? static_cast<std::int64_t>(std::floor(static_cast<double>(output) / scale))
                      : output * size / outputs;
        axis.cells.push_back(std::min(cell, size - 1));
        axis.end_output();
    }
    return axis;
}

namespace {

// An output between `cell` and the next, at t of the way.
void end_between(Axis& axis, std::int64_t cell, double t) {
    if (t < 1) {
        axis.cells.push_back(cell);
        axis.weights.push_back(1 - t);
    }
    if (t > 0) {
        axis.cells.push_back(std::min(cell + 1, axis.size - 1));
        axis.weights.push_back(t);
    }
    axis.end_output();
}

}  // namespace

// Corners aligned: the first and last outputs lie on the first and last cells. Else cells are
// areas: the middle of output q lies at (q + 1/2) size / outputs - 1/2, not below 0. Where the
// sizes alone decide, the positions are fractions of integers, so that weights recur exactly.
Axis linear_axis(std::int64_t size, std::int64_t outputs, double scale, bool align_corners) {
    Axis axis(size, outputs);
    const bool by_scale = !align_corners && scale > 0 &&
                          static_cast<double>(size) * scale != static_cast<double>(outputs);
    if (by_scale) {
        for (std::int64_t output = 0; output < outputs; ++output) {
            const double source =
                std::max((static_cast<double>(output) + 0.5) * (1 / scale) - 0.5, 0.0);
            const std::int64_t cell =
                std::min(static_cast<std::int64_t>(std::floor(source)), size - 1);
            end_between(axis, cell, std::min(source - static_cast<double>(cell), 1.0));
        }
        return axis;
    }
    const std::int64_t cells = align_corners ? size - 1 : size;
    const std::int64_t steps = align_corners ? outputs - 1 : outputs;
    if (cells > 0 && steps > 0) {
        const std::int64_t common = std::gcd(cells, steps);
        axis.output_step = steps / common;
        axis.cell_step = cells / common;
    }
    // output q lies at (q * slope + offset) / whole.
    const std::int64_t whole = std::max<std::int64_t>(1, align_corners ? steps : 2 * steps);
    const std::int64_t slope = steps == 0 ? 0 : align_corners ? cells : 2 * cells;
    const std::int64_t offset = align_corners ? 0 : size - outputs;
    for (std::int64_t output = 0; output < outputs; ++output) {
        const std::int64_t source = std::max<std::int64_t>(output * slope + offset, 0);
        end_between(axis, source / whole,
                    static_cast<double>(source % whole) / static_cast<double>(whole));
    }
    return axis;
}

Axis padding_axis(std::int64_t size, std::int64_t before, std::int64_t after, bool reflect) {
    Axis axis(size, before + size + after);
    for (std::int64_t output = 0; output < axis.outputs; ++output) {
        std::int64_t cell = output - before;
        if (reflect) {
            cell = cell < 0 ? -cell : cell;
            if (cell >= size) cell = 2 * (size - 1) - cell;
        }
        if (cell >= 0 && cell < size) axis.cells.push_back(cell);
        axis.end_output();
    }
    return axis;
}

}  // namespace pyconv
