// The matrix of one image, pixels by channels, and how it is cut into tasks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "core/threads.h"
#include "cpu/dense/panels.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

// Rows of few columns are joined: `joined` pixels make one row of whole vectors, and the pixels
// that are left over at the end are a matrix of their own. Tasks are ranges of rows, or of columns
// where there are few rows.
template <class T>
struct PixelMatrix {
    std::int64_t rows, columns, joined;

    PixelMatrix(std::int64_t pixels, std::int64_t channels, int lanes) : joined(1) {
        if (channels > 0 && channels < 16 * lanes) {
            const std::int64_t whole = lanes / std::gcd<std::int64_t>(channels, lanes);
            const std::int64_t wanted = 8 * lanes;
            joined = whole * std::max<std::int64_t>(1, wanted / (whole * channels));
            if (joined > pixels) joined = 1;
        }
        rows = pixels / joined;
        columns = channels * joined;
    }

    EvenCut row_cut() const {
        constexpr std::int64_t kFewest = 8;
        const std::int64_t most = (rows + tuning::tasks - 1) / tuning::tasks;
        return EvenCut(rows, most >= kFewest ? most : std::max<std::int64_t>(rows, 1));
    }
    // Columns are cut at multiples of this: whole vectors of every kind, whole cache lines.
    static constexpr std::int64_t kUnit = 64;
    EvenCut column_cut() const {
        const std::int64_t units = (columns + kUnit - 1) / kUnit;
        return EvenCut(
            units, row_cut().count() > 1
                       ? std::max<std::int64_t>(units, 1)
                       : std::max<std::int64_t>(1, (units + tuning::tasks - 1) / tuning::tasks));
    }
    // Rows whose sums are formed before they join the others'; a block stays in L1 or L2 for its
    // second reading: 32 KB.
    std::int64_t block() const {
        const std::int64_t fitting = 32768 / (std::max<std::int64_t>(columns, 1) * sizeof(T));
        return std::clamp<std::int64_t>(fitting, 8, 256);
    }
    double microseconds(int arrays) const {
        return static_cast<double>(rows * columns * arrays) * sizeof(T) / 1e4;
    }
};

// body(first row, rows, first column, columns, range of rows), for the tasks of a matrix; from
// last to first where what was read last is to be read again.
template <class T, class Body>
void for_tasks(const PixelMatrix<T>& m, int arrays, bool backwards, Body&& body) {
    const EvenCut rows = m.row_cut();
    const EvenCut columns = m.column_cut();
    const std::int64_t tasks = rows.count() * columns.count();
    parallel_for(tasks, m.microseconds(arrays), [&](std::int64_t index) {
        const std::int64_t task = backwards ? tasks - 1 - index : index;
        const std::int64_t range = task / columns.count();
        const std::int64_t piece = task % columns.count();
        const std::int64_t first = columns.begin(piece) * m.kUnit;
        const std::int64_t end =
            std::min(m.columns, first + columns.size(piece) * std::int64_t{m.kUnit});
        body(rows.begin(range), rows.size(range), first, end - first, range);
    });
}

}  // namespace pyconv
