// Which cells of one axis every output is made of. Pools, resampling and padding, and the
// gradients of all of them, are a pair of these: one for the rows, one for the columns.
#pragma once

#include <cstdint>
#include <vector>

#include "core/pooling.h"

namespace pyconv {

// Neighbouring outputs, `step` apart, that are made in the same way of cells that move along.
struct Run {
    std::int64_t output, step, count;
};

struct Axis {
    std::int64_t size;     // cells
    std::int64_t outputs;  // each made of cells[first[output]] ... cells[first[output + 1] - 1]
    std::vector<std::int64_t> first{0};
    std::vector<std::int64_t> cells;
    std::vector<double> weights;   // of the cells; empty where all are 1
    std::vector<double> divisors;  // of the outputs; empty where all are 1
    // Output q + output_step is likely to be made as output q, of cells cell_step further on.
    std::int64_t output_step = 1, cell_step = 1;

    Axis(std::int64_t size, std::int64_t outputs) : size(size), outputs(outputs) {}
    // After an output's cells were appended.
    void end_output() { first.push_back(static_cast<std::int64_t>(cells.size())); }
    // Sets the steps where one size is a multiple of the other.
    void set_steps();

    std::int64_t begin(std::int64_t output) const { return first[output]; }
    std::int64_t end(std::int64_t output) const { return first[output + 1]; }
    double weight(std::int64_t entry) const { return weights.empty() ? 1.0 : weights[entry]; }
    double divisor(std::int64_t output) const { return divisors.empty() ? 1.0 : divisors[output]; }

    // All outputs, in as few runs as they allow.
    std::vector<Run> runs() const;
    // The transposed: what every cell gives to the outputs; weights take the divisors up.
    Axis adjoint() const;
};

Axis pool_axis(const PoolAxis& a);
// With the divisors of a mean.
Axis mean_pool_axis(const PoolAxis& a, bool include_padding);
Axis adaptive_axis(std::int64_t size, std::int64_t outputs);

}  // namespace pyconv
