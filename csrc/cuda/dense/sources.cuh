// Where the operands of a product lie. A kernel reads them through sources, so that a convolution
// is the same loop as a matrix product (implicit GEMM): a source says where element (row, k) lies.
//
// Elements are read in pieces of kPiece neighbours, along k or along the rows; where memory has no
// aligned pieces (kPiece 1) one at a time. A source says of a row what doesn't change (Line), of a
// k where it is (Step), and where both meet (Place). A thread's k goes on by kDepth, the depth of a
// tile: `advance` says whether its places go on by a constant (`move`), or must be found anew.
// What lies past the end along k is zero; rows past the end may be any, because their sums are not
// stored.
//
// Offsets are counted in pieces: 31 bits reach far, and cost one register.
#pragma once

#include <cstdint>

#include "cuda/common/index.h"
#include "cuda/common/storage.cuh"

namespace pyconv::cuda {

enum class Along { depth, rows };

// A piece in memory: the address is of use only where it lies inside.
template <class T>
struct Place {
    const T* at;
    bool inside;
};

template <int kPiece, class T>
__device__ const T* piece_at(const T* data, int offset) {
    return data + static_cast<std::int64_t>(offset) * kPiece;
}

__device__ inline int clamp_row(int row, int rows, int piece) {
    return max(min(row, rows - piece), 0);
}

// Pixels of an image that the taps of a kernel see from the points of a grid: grid point (y, x) and
// tap (r, s) meet at (origin + y * step + r * tap_step, ...). Outside the image is zero.
//
// A matrix is an image of one row of pixels, seen by a kernel of one tap.
struct Window {
    int height, width, pixel;      // of the image; pieces from pixel to pixel
    FastDivider grid, grid_width;  // points of a grid, of its row
    int grid_height;
    int origin_y, origin_x, step_y, step_x;  // of the grid
    FastDivider taps_across, channels;       // of the kernel
    int tap_step_y, tap_step_x;

    struct Point {
        int y, x, offset;  // what the first tap sees
        int row, column;   // in the grid
    };
    __device__ Point point(int index) const {
        Point p;
        int at;
        const int image = grid.divide(index, at);
        p.row = grid_width.divide(at, p.column);
        p.y = origin_y + p.row * step_y;
        p.x = origin_x + p.column * step_x;
        p.offset = ((image * height + p.y) * width + p.x) * pixel;
        return p;
    }
    // Of element k = (tap row, tap column, channel), from the first.
    struct Tap {
        int y, x, channel, offset;
    };
    template <int kPiece>
    __device__ Tap tap(int k) const {
        Tap t;
        int column;
        const int index = channels.divide(k, t.channel);
        t.y = taps_across.divide(index, column) * tap_step_y;
        t.x = column * tap_step_x;
        t.offset = (t.y * width + t.x) * pixel + t.channel / kPiece;
        return t;
    }
    __device__ bool inside(int y, int x) const {
        return static_cast<unsigned>(y) < static_cast<unsigned>(height) &&
               static_cast<unsigned>(x) < static_cast<unsigned>(width);
    }
};

// Row: a point of the grid; k: tap and channel.
template <class T, int kPieceSize, int kTileDepth>
struct PixelRows {
    using Element = T;
    static constexpr Along kAlong = Along::depth;
    static constexpr int kPiece = kPieceSize, kDepth = kTileDepth;
    const T* data;
    int rows, depth;
    Window window;
    int group_step;

    struct Line {
        int y, x, offset;
    };
    struct Step {
        int k;
        Window::Tap tap;
    };
    __device__ void select(int group) { data += group * group_step; }
    __device__ Line line(int row) const {
        const Window::Point p = window.point(clamp_row(row, rows, 1));
        return {p.y, p.x, p.offset};
    }
    __device__ Step step(int k) const { return {k, window.template tap<kPiece>(k)}; }
    __device__ Place<T> find(const Line& line, const Step& s) const {
        return {piece_at<kPiece>(data, line.offset + s.tap.offset),
                window.inside(line.y + s.tap.y, line.x + s.tap.x) && s.k < depth};
    }
    __device__ bool advance(Step& s) const {
        s.k += kDepth;
        if (s.tap.channel + kDepth < static_cast<int>(window.channels.divisor)) {
            s.tap.channel += kDepth;
            s.tap.offset += kDepth / kPiece;
            return true;
        }
        s.tap = window.template tap<kPiece>(s.k);
        return false;
    }
    __device__ void move(Place<T>& place, const Line&, const Step&) const { place.at += kDepth; }
    __device__ const T* element(const Line& line, const Step& s, int i) const {
        if (s.k + i >= depth) return nullptr;
        const Window::Tap t = window.template tap<kPiece>(s.k + i);
        if (!window.inside(line.y + t.y, line.x + t.x)) return nullptr;
        return piece_at<kPiece>(data, line.offset + t.offset);
    }
};

// Row: tap and channel; k: a point of the grid. For the gradient of the weight.
template <class T, int kPieceSize, int kTileDepth>
struct TapRows {
    using Element = T;
    static constexpr Along kAlong = Along::rows;
    static constexpr int kPiece = kPieceSize, kDepth = kTileDepth;
    const T* data;
    int rows, depth;
    Window window;
    int group_step;

    struct Line {
        int y, x, offset, row;
    };
    struct Step {
        int k, y, x, offset;
        int left, rows_left;  // points to the end of the grid's row, rows to that of the image
    };
    __device__ void select(int group) { data += group * group_step; }
    __device__ Line line(int row) const {
        const int first = kPiece > 1 ? clamp_row(row, rows, kPiece) : row;
        const Window::Tap t = window.template tap<kPiece>(first);
        return {t.y, t.x, t.offset, first};
    }
    __device__ Step step(int k) const {
        const Window::Point p = window.point(k);
        return {k,
                p.y,
                p.x,
                p.offset,
                static_cast<int>(window.grid_width.divisor) - p.column,
                window.grid_height - p.row};
    }
    __device__ Place<T> find(const Line& line, const Step& s) const {
        return {piece_at<kPiece>(data, s.offset + line.offset),
                window.inside(s.y + line.y, s.x + line.x) && s.k < depth &&
                    (kPiece > 1 || line.row < rows)};
    }
    __device__ bool advance(Step& s) const {
        s.k += kDepth;
        s.left -= kDepth;
        const int across = kDepth * window.step_x;
        if (s.left > 0) {
            s.x += across;
            s.offset += across * window.pixel;
            return true;
        }
        const int width = static_cast<int>(window.grid_width.divisor);
        if (width >= kDepth && s.rows_left > 1) {  // the next row
            s.left += width;
            s.rows_left -= 1;
            const int back = across - width * window.step_x;
            s.x += back;
            s.y += window.step_y;
            s.offset += (window.step_y * window.width + back) * window.pixel;
        } else {
            s = step(s.k);
        }
        return false;
    }
    __device__ void move(Place<T>& p, const Line& line, const Step& s) const {
        p.at += static_cast<std::int64_t>(kDepth * window.step_x) * window.pixel * kPiece;
        p.inside = window.inside(s.y + line.y, s.x + line.x) && s.k < depth;
    }
    __device__ const T* element(const Line& line, const Step& s, int i) const {
        if (line.row + i >= rows || s.k >= depth) return nullptr;
        const Window::Tap t = window.template tap<kPiece>(line.row + i);
        if (!window.inside(s.y + t.y, s.x + t.x)) return nullptr;
        return piece_at<kPiece>(data, s.offset + t.offset);
    }
};

// The weight, and dy for the gradient of the weight: element (row, k) at k * pitch + row.
template <class T, int kPieceSize, int kTileDepth>
struct AlongRows {
    using Element = T;
    static constexpr Along kAlong = Along::rows;
    static constexpr int kPiece = kPieceSize, kDepth = kTileDepth;
    const T* data;
    int rows, depth;
    int pitch, group_step;  // the pitch in pieces

    struct Line {
        int offset, count;  // rows from here on
    };
    struct Step {
        int k, offset;
    };
    __device__ void select(int group) { data += group * group_step; }
    __device__ Line line(int row) const {
        const int r = kPiece > 1 ? clamp_row(row, rows, kPiece) : row;
        return {r / kPiece, rows - r};
    }
    __device__ Step step(int k) const { return {k, k * pitch}; }
    __device__ Place<T> find(const Line& line, const Step& s) const {
        return {piece_at<kPiece>(data, line.offset + s.offset),
                s.k < depth && (kPiece > 1 || line.count > 0)};
    }
    __device__ bool advance(Step& s) const {
        s.k += kDepth;
        s.offset += kDepth * pitch;
        return true;
    }
    __device__ void move(Place<T>& place, const Line&, const Step& s) const {
        place.at += static_cast<std::int64_t>(kDepth * kPiece) * pitch;
        place.inside = s.k < depth;
    }
    __device__ const T* element(const Line& line, const Step& s, int i) const {
        if (s.k >= depth || i >= line.count) return nullptr;
        return piece_at<kPiece>(data, line.offset + s.offset + i);
    }
};

// The weight for the gradient of the image. Row: an input channel; k: a tap of the phase and an
// output channel.
template <class T, int kPieceSize, int kTileDepth>
struct WeightRows {
    using Element = T;
    static constexpr Along kAlong = Along::depth;
    static constexpr int kPiece = kPieceSize, kDepth = kTileDepth;
    const T* data;  // of the first tap of the phase
    int rows, depth;
    FastDivider taps_across, channels;  // of the phase; output channels of a group
    int tap_row, tap_column, pitch;     // steps, in pieces
    int group_step;

    using Line = int;
    struct Step {
        int k, channel, offset;
    };
    __device__ void select(int group) { data += group * group_step; }
    __device__ Line line(int row) const { return clamp_row(row, rows, 1) * pitch; }
    __device__ Step step(int k) const {
        Step s;
        int column;
        s.k = k;
        const int tap = channels.divide(k, s.channel);
        const int tap_y = taps_across.divide(tap, column);
        s.offset = tap_y * tap_row + column * tap_column + s.channel / kPiece;
        return s;
    }
    __device__ Place<T> find(Line line, const Step& s) const {
        return {piece_at<kPiece>(data, line + s.offset), s.k < depth};
    }
    __device__ bool advance(Step& s) const {
        if (s.channel + kDepth < static_cast<int>(channels.divisor)) {
            s.k += kDepth;
            s.channel += kDepth;
            s.offset += kDepth / kPiece;
            return true;
        }
        s = step(s.k + kDepth);
        return false;
    }
    __device__ void move(Place<T>& place, Line, const Step&) const { place.at += kDepth; }
    __device__ const T* element(Line line, const Step& s, int i) const {
        if (s.k + i >= depth) return nullptr;
        return piece_at<kPiece>(data, line + step(s.k + i).offset);
    }
};

// Whether pieces lie aligned: they begin at multiples of `step`, along `extent` elements.
template <class T>
bool in_pieces(const T* data, std::int64_t step, std::int64_t extent) {
    return aligned_to(16, data) && step % kPack<T> == 0 && extent % kPack<T> == 0;
}

}  // namespace pyconv::cuda
