#include "cpu/resample/axis.h"

#include <algorithm>
#include <cmath>

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

// Corners aligned: the first and last outputs lie on the first and last cells. Else cells are
// areas: the middle of output q lies at (q + 1/2) size / outputs - 1/2, not below 0.
Axis linear_axis(std::int64_t size, std::int64_t outputs, double scale, bool align_corners) {
    Axis axis(size, outputs);
    axis.set_steps();
    const double cells = static_cast<double>(size);
    const double count = static_cast<double>(outputs);
    const double factor = align_corners ? (outputs > 1 ? (cells - 1) / (count - 1) : 0.0)
                          : scale > 0   ? 1 / scale
                                        : cells / count;
    for (std::int64_t output = 0; output < outputs; ++output) {
        const double q = static_cast<double>(output);
        const double source = align_corners ? q * factor : std::max((q + 0.5) * factor - 0.5, 0.0);
        const std::int64_t cell = std::min(static_cast<std::int64_t>(std::floor(source)), size - 1);
        const double t = std::clamp(source - static_cast<double>(cell), 0.0, 1.0);
        const std::int64_t second = std::min(cell + 1, size - 1);
        if (t < 1) {
            axis.cells.push_back(cell);
            axis.weights.push_back(1 - t);
        }
        if (t > 0) {
            axis.cells.push_back(second);
            axis.weights.push_back(t);
        }
        axis.end_output();
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
