#include "cpu/pooling/axis.h"

#include <algorithm>

namespace pyconv {

namespace {

// Output `other` is made as output `one`, of cells `step` further on.
bool follows(const Axis& axis, std::int64_t one, std::int64_t other, std::int64_t step) {
    const std::int64_t a = axis.begin(one);
    const std::int64_t b = axis.begin(other);
    const std::int64_t count = axis.end(one) - a;
    if (axis.end(other) - b != count || axis.divisor(one) != axis.divisor(other)) return false;
    for (std::int64_t i = 0; i < count; ++i) {
        if (axis.cells[a + i] + step != axis.cells[b + i]) return false;
        if (axis.weight(a + i) != axis.weight(b + i)) return false;
    }
    return true;
}

}  // namespace

void Axis::set_steps() {
    if (size > 0 && outputs % size == 0) {
        output_step = outputs / size;
    } else if (outputs > 0 && size % outputs == 0) {
        cell_step = size / outputs;
    }
}

std::vector<Run> Axis::runs() const {
    std::vector<Run> result;
    for (std::int64_t phase = 0; phase < std::min(output_step, outputs); ++phase) {
        for (std::int64_t q = phase; q < outputs;) {
            Run run{q, output_step, 1};
            for (q += output_step; q < outputs; q += output_step) {
                if (!follows(*this, q - output_step, q, cell_step)) break;
                ++run.count;
            }
            result.push_back(run);
        }
    }
    return result;
}

Axis Axis::adjoint() const {
    Axis result(outputs, size);
    result.output_step = cell_step;
    result.cell_step = output_step;
    result.first.assign(static_cast<std::size_t>(size) + 1, 0);
    for (const std::int64_t cell : cells) ++result.first[cell + 1];
    for (std::int64_t i = 0; i < size; ++i) result.first[i + 1] += result.first[i];
    const bool weighted = !weights.empty() || !divisors.empty();
    result.cells.resize(cells.size());
    if (weighted) result.weights.resize(cells.size());
    std::vector<std::int64_t> next(result.first.begin(), result.first.end() - 1);
    for (std::int64_t output = 0; output < outputs; ++output) {
        for (std::int64_t i = begin(output); i < end(output); ++i) {
            const std::int64_t entry = next[cells[i]]++;
            result.cells[entry] = output;
            if (weighted) result.weights[entry] = weight(i) / divisor(output);
        }
    }
    return result;
}

Axis pool_axis(const PoolAxis& a) {
    Axis axis(a.size, a.outputs);
    axis.cell_step = a.stride;
    for (std::int64_t output = 0; output < a.outputs; ++output) {
        const PoolWindow window = pool_window(a, output);
        for (std::int64_t tap = window.begin; tap < window.end; ++tap) {
            axis.cells.push_back(window.start + tap * a.dilation);
        }
        axis.end_output();
    }
    return axis;
}

Axis mean_pool_axis(const PoolAxis& a, bool include_padding) {
    Axis axis = pool_axis(a);
    for (std::int64_t output = 0; output < a.outputs; ++output) {
        axis.divisors.push_back(static_cast<double>(pool_count(a, output, include_padding)));
    }
    return axis;
}

Axis adaptive_axis(std::int64_t size, std::int64_t outputs) {
    Axis axis(size, outputs);
    axis.set_steps();
    for (std::int64_t output = 0; output < outputs; ++output) {
        const AdaptiveWindow window = adaptive_window(size, outputs, output);
        for (std::int64_t cell = window.begin; cell < window.end; ++cell) {
            axis.cells.push_back(cell);
        }
        axis.divisors.push_back(static_cast<double>(window.end - window.begin));
        axis.end_output();
    }
    return axis;
}

}  // namespace pyconv
