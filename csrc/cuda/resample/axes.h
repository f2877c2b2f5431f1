// Resampling and padding along one axis (see cuda/pooling/axes.h); host and device share it.
#pragma once

#include <cmath>
#include <optional>

#include "cuda/pooling/axes.h"

namespace pyconv::cuda {

// A cell, and how far on to the next an output lies.
struct Position {
    int cell;
    float next;  // weights of the next cell and of this one
    float own;
};

// Output q lies at max(q slope + offset, 0) / whole: fractions of integers, so that weights recur.
class ExactPositions {
  public:
    // At q size / outputs.
    static ExactPositions of_sizes(std::int64_t size, std::int64_t outputs) {
        const Ratio ratio(size, outputs);
        return {ratio.cells, 0, ratio.outputs};
    }
    // Cells are areas: at (q + 1/2) size / outputs - 1/2.
    static ExactPositions of_areas(std::int64_t size, std::int64_t outputs) {
        const Ratio ratio(size, outputs);
        return {2 * ratio.cells, ratio.cells - ratio.outputs, 2 * ratio.outputs};
    }
    // First and last outputs lie on the first and last cells.
    static ExactPositions of_corners(std::int64_t size, std::int64_t outputs) {
        if (size == 1 || outputs == 1) return {0, 0, 1};
        return of_sizes(size - 1, outputs - 1);
    }

    PYCONV_HOST_DEVICE Position at(int output) const {
        const int source = output * slope_ + offset_;
        int rest;
        const int cell = whole_.divide(source < 0 ? 0 : source, rest);
        const float whole = static_cast<float>(static_cast<int>(whole_));
        return {cell, static_cast<float>(rest) / whole,
                static_cast<float>(static_cast<int>(whole_) - rest) / whole};
    }
    // The first output that lies at that cell or behind it; the number of outputs where none does.
    PYCONV_HOST_DEVICE int first(int cell, int outputs) const {
        if (cell <= 0) return 0;
        if (slope_ == 0) return outputs;
        const int q = (cell * whole_ - offset_ + slope_ - 1) / by_slope_;
        return q < outputs ? q : outputs;
    }

  private:
    ExactPositions(std::int64_t slope, std::int64_t offset, std::int64_t whole)
        : slope_(static_cast<int>(slope)),
          offset_(static_cast<int>(offset)),
          whole_(whole),
          by_slope_(slope == 0 ? 1 : slope) {}

    int slope_, offset_;
    FastDivider whole_, by_slope_;
};

// A scale m / 2^k with small m and 2^k: dividing by it in floating point, rounded down, gives what
// integers give.
inline std::optional<ExactPositions> exact_nearest(std::int64_t size, std::int64_t outputs,
                                                   double scale) {
    if (scale == 0) return ExactPositions::of_sizes(size, outputs);
    constexpr std::int64_t kDenominator = 1 << 10, kMost = 1 << 18;
    const double numerator = scale * kDenominator;
    if (numerator != std::floor(numerator) || numerator > kMost) return {};
    const std::int64_t m = static_cast<std::int64_t>(numerator);
    if (size >= kMostRows / m || outputs > kMostRows / kDenominator) return {};
    return ExactPositions::of_sizes(kDenominator, m);
}

inline std::optional<ExactPositions> exact_linear(std::int64_t size, std::int64_t outputs,
                                                  double scale, bool align_corners) {
    if (align_corners) return ExactPositions::of_corners(size, outputs);
    if (scale > 0 && static_cast<double>(size) * scale != static_cast<double>(outputs)) return {};
    return ExactPositions::of_areas(size, outputs);
}

// Products and sums are rounded each by itself, as on the CPU, or a position could fall short of a
// cell.
PYCONV_HOST_DEVICE inline double rounded_product(double a, double b) {
#if defined(__CUDA_ARCH__)
    return __dmul_rn(a, b);
#else
    return a * b;
#endif
}

// A scale that is no simple fraction: output q lies at q / scale, or, cells being areas, at
// (q + 1/2) (1 / scale) - 1/2.
class ScaledPositions {
  public:
    ScaledPositions(std::int64_t size, double scale, bool areas)
        : last_(static_cast<int>(size - 1)), areas_(areas), scale_(scale), step_(1 / scale) {}

    PYCONV_HOST_DEVICE Position at(int output) const {
        double source = output / scale_;
        if (areas_) {
            source = rounded_product(output + 0.5, step_) - 0.5;
            if (source < 0) source = 0;
        }
        const int cell = source < last_ ? static_cast<int>(source) : last_;
        const double next = source - cell < 1 ? source - cell : 1.0;
        return {cell, static_cast<float>(next), static_cast<float>(1 - next)};
    }
    PYCONV_HOST_DEVICE int first(int cell, int outputs) const {
        if (cell <= 0) return 0;
        const double guess = areas_ ? (cell + 0.5) * scale_ - 0.5 : cell * scale_;
        int q = guess < outputs ? (guess > 0 ? static_cast<int>(guess) : 0) : outputs;
        while (q > 0 && at(q - 1).cell >= cell) --q;
        while (q < outputs && at(q).cell < cell) ++q;
        return q;
    }

  private:
    int last_;
    bool areas_;
    double scale_, step_;
};

// The cell that an output lies in.
template <class Positions>
struct NearestAxis : PlainAxis {
    Positions positions;

    NearestAxis(std::int64_t size, std::int64_t outputs, const Positions& positions)
        : PlainAxis{checked_int("cells", size), checked_int("outputs", outputs)},
          positions(positions) {}
    PYCONV_HOST_DEVICE Terms terms(int output) const { return {positions.at(output).cell, 1}; }
};

template <class Positions>
struct NearestGradient : PlainAxis {
    Positions positions;

    NearestGradient(std::int64_t size, std::int64_t outputs, const Positions& positions)
        : PlainAxis{checked_int("outputs", outputs), checked_int("cells", size)},
          positions(positions) {}
    PYCONV_HOST_DEVICE Terms terms(int cell) const {
        const int begin = positions.first(cell, size);
        const int end = cell == outputs - 1 ? size : positions.first(cell + 1, size);
        return {begin, end - begin};
    }
};

// The cells before and behind an output.
template <class Positions>
struct LinearAxis : PlainAxis {
    Positions positions;

    LinearAxis(std::int64_t size, std::int64_t outputs, const Positions& positions)
        : PlainAxis{checked_int("cells", size), checked_int("outputs", outputs)},
          positions(positions) {}

    struct Pair {
        Position position;
        int count;  // 1 where the output lies on the cell, or behind the last
    };
    PYCONV_HOST_DEVICE Pair terms(int output) const {
        const Position p = positions.at(output);
        return {p, p.next == 0 || p.cell == size - 1 ? 1 : 2};
    }
    PYCONV_HOST_DEVICE int cell(const Pair& t, int i) const { return t.position.cell + i; }
    PYCONV_HOST_DEVICE float weight(const Pair& t, int i) const {
        if (t.count == 1) return 1;
        return i == 0 ? t.position.own : t.position.next;
    }
};

// A cell gets its part of the outputs that lie at it and at the cell before.
template <class Positions>
struct LinearGradient : PlainAxis {
    Positions positions;

    LinearGradient(std::int64_t size, std::int64_t outputs, const Positions& positions)
        : PlainAxis{checked_int("outputs", outputs), checked_int("cells", size)},
          positions(positions) {}

    struct Neighbours {
        int first, count, to;
    };
    PYCONV_HOST_DEVICE Neighbours terms(int cell) const {
        const int begin = positions.first(cell - 1, size);
        const int end = cell == outputs - 1 ? size : positions.first(cell + 1, size);
        return {begin, end - begin, cell};
    }
    PYCONV_HOST_DEVICE int cell(const Neighbours& t, int i) const { return t.first + i; }
    PYCONV_HOST_DEVICE float weight(const Neighbours& t, int i) const {
        const Position p = positions.at(t.first + i);
        if (p.cell < t.to) return p.next;
        return t.to == outputs - 1 ? 1 : p.own;
    }
};

// A frame of zeros, or of the cells mirrored about the first and the last.
struct PaddingAxis : PlainAxis {
    int before;
    bool reflect;

    PaddingAxis(std::int64_t size, std::int64_t before, std::int64_t after, bool reflect)
        : PlainAxis{static_cast<int>(size),
                    checked_int("cells of a padded axis", before + size + after)},
          before(static_cast<int>(before)),
          reflect(reflect) {}
    PYCONV_HOST_DEVICE Terms terms(int output) const {
        int cell = output - before;
        if (reflect) {
            if (cell < 0) cell = -cell;
            if (cell >= size) cell = 2 * (size - 1) - cell;
        }
        return {cell, cell >= 0 && cell < size ? 1 : 0};
    }
};

// A cell gets its own output, and those that mirror it before and behind.
struct PaddingGradient : PlainAxis {
    int before;
    bool reflect;

    PaddingGradient(std::int64_t size, std::int64_t before, std::int64_t after, bool reflect)
        : PlainAxis{checked_int("cells of a padded axis", before + size + after),
                    static_cast<int>(size)},
          before(static_cast<int>(before)),
          reflect(reflect) {}

    struct Mirrored {
        int own, front, back, count;  // -1: none
    };
    PYCONV_HOST_DEVICE Mirrored terms(int cell) const {
        Mirrored m{cell + before, -1, -1, 1};
        if (!reflect) return m;
        const int last = outputs - 1;
        if (cell > 0 && cell <= before) m.front = before - cell;
        if (cell < last && before + 2 * last - cell < size) m.back = before + 2 * last - cell;
        m.count = 1 + (m.front >= 0) + (m.back >= 0);
        return m;
    }
    // In their order.
    PYCONV_HOST_DEVICE int cell(const Mirrored& m, int i) const {
        if (m.front >= 0) return i == 0 ? m.front : i == 1 ? m.own : m.back;
        return i == 0 ? m.own : m.back;
    }
};

}  // namespace pyconv::cuda
