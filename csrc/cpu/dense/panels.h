// How the columns of a result are cut into panels of two vectors; an odd number of vectors ends
// with a panel of three (or one, where there is just one, or no tile of three). Every panel but
// the last is whole, so that all offsets follow from the first column.
#pragma once

#include <cstdint>

#include "cpu/dense/kernels.h"

namespace pyconv {

template <class T>
class Panels {
  public:
    Panels(const DenseKernels<T>& kernels, std::int64_t columns)
        : lanes_(kernels.lanes), columns_(columns) {
        vectors_ = (columns + lanes_ - 1) / lanes_;
        triple_ = vectors_ % 2 == 1 && vectors_ >= 3 && kernels.max_rows[3] > 0;
        count_ = triple_ ? vectors_ / 2 : (vectors_ + 1) / 2;
    }

    std::int64_t count() const { return count_; }
    std::int64_t columns() const { return columns_; }
    std::int64_t padded_columns() const { return vectors_ * lanes_; }
    std::int64_t first(std::int64_t panel) const { return panel * 2 * lanes_; }
    int vectors(std::int64_t panel) const {
        if (panel < count_ - 1) return 2;
        return static_cast<int>(vectors_ - 2 * (count_ - 1));
    }
    std::int64_t width(std::int64_t panel) const { return vectors(panel) * lanes_; }
    // Columns that exist in a panel, and in its last vector.
    std::int64_t valid(std::int64_t panel) const {
        return panel < count_ - 1 ? width(panel) : columns_ - first(panel);
    }
    int last(std::int64_t panel) const {
        return static_cast<int>(valid(panel) - (vectors(panel) - 1) * lanes_);
    }
    // The tallest tile that every panel has.
    int tallest(const DenseKernels<T>& kernels) const {
        const int first = kernels.max_rows[vectors(0)];
        const int final = kernels.max_rows[vectors(count_ - 1)];
        return first < final ? first : final;
    }
    // Where a panel of `rows` packed rows begins, and how much all of them take.
    std::int64_t offset(std::int64_t panel, std::int64_t rows) const { return first(panel) * rows; }
    std::int64_t size(std::int64_t rows) const { return padded_columns() * rows; }

  private:
    std::int64_t lanes_;
    std::int64_t columns_;
    std::int64_t vectors_;
    std::int64_t count_;
    bool triple_;
};

// `total` cut into pieces of at most `most`, all of one size or one less: no tail.
class EvenCut {
  public:
    EvenCut(std::int64_t total, std::int64_t most) {
        if (total <= most) {  // a division takes as long as many steps of a tile
            count_ = total > 0 ? 1 : 0;
            base_ = total;
            extra_ = 0;
            return;
        }
        count_ = (total + most - 1) / most;
        base_ = total / count_;
        extra_ = total % count_;
    }
    std::int64_t count() const { return count_; }
    std::int64_t begin(std::int64_t piece) const {
        return piece * base_ + (piece < extra_ ? piece : extra_);
    }
    std::int64_t size(std::int64_t piece) const { return base_ + (piece < extra_ ? 1 : 0); }

  private:
    std::int64_t count_;
    std::int64_t base_;
    std::int64_t extra_;
};

}  // namespace pyconv
