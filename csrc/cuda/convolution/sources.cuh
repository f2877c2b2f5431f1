// The operands of a convolution as the sources of a matrix product (implicit GEMM): nothing is
// copied, an element is found when it is read.
#pragma once

#include "cuda/dense/product.cuh"

namespace pyconv::cuda {

// Pixels of an image that the taps of a kernel see from the points of a grid: grid point (y, x) and
// tap (r, s) meet at (origin + y * step + r * tap_step, ...). Outside the image is zero.
struct Window {
    int height, width, pixel;      // of the image; channels from pixel to pixel
    FastDivider grid, grid_width;  // points of a grid, of its row
    int grid_height;
    int origin_y, origin_x, step_y, step_x;  // of the grid
    FastDivider taps_across, channels;       // of the kernel
    int tap_step_y, tap_step_x;

    struct Point {
        std::int64_t image;  // its first pixel
        int y, x;
    };
    __device__ Point point(int index) const {
        int row, column;
        return point(index, row, column);
    }
    __device__ Point point(int index, int& row, int& column) const {
        int at;
        const int image = grid.divide(index, at);
        row = grid_width.divide(at, column);
        return {static_cast<std::int64_t>(image) * height * width, origin_y + row * step_y,
                origin_x + column * step_x};
    }
    __device__ bool inside(int y, int x) const {
        return static_cast<unsigned>(y) < static_cast<unsigned>(height) &&
               static_cast<unsigned>(x) < static_cast<unsigned>(width);
    }
    __device__ std::int64_t offset(const Point& p, int y, int x) const {
        return (p.image + static_cast<std::int64_t>(y) * width + x) * pixel;
    }
    // Of element k = (tap row, tap column, channel).
    struct Tap {
        int y, x, channel;
    };
    __device__ Tap tap(int k) const {
        Tap t;
        int column;
        const int index = channels.divide(k, t.channel);
        t.y = taps_across.divide(index, column) * tap_step_y;
        t.x = column * tap_step_x;
        return t;
    }
    __device__ const float* find(const float* data, const Point& p, const Tap& t) const {
        const int y = p.y + t.y, x = p.x + t.x;
        return inside(y, x) ? data + offset(p, y, x) + t.channel : nullptr;
    }
};

// Row: a point of the grid; k: tap and channel.
template <bool kVectors>
struct PixelRows {
    static constexpr Along kAlong = Along::depth;
    static constexpr bool kInVectors = kVectors;
    const float* data;
    int rows, depth;
    Window window;
    int group_step;

    using Line = Window::Point;
    struct Step {
        int k;
        Window::Tap tap;
    };
    struct Place {
        const float* at;
        bool inside;
        Window::Point point;  // of use where four k are no neighbours
    };
    __device__ void select(int group) { data += group * group_step; }
    __device__ Line line(int row) const { return window.point(clamp_row(row, rows, 1)); }
    __device__ Step step(int k) const { return {k, window.tap(k)}; }
    __device__ Place find(const Line& line, const Step& s) const {
        if constexpr (!kVectors) return {nullptr, false, line};
        const int y = line.y + s.tap.y, x = line.x + s.tap.x;
        return {data + window.offset(line, y, x) + s.tap.channel,
                window.inside(y, x) && s.k < depth,
                {}};
    }
    __device__ bool advance(Step& s) const {
        s.k += kTileDepth;
        s.tap.channel += kTileDepth;
        if (s.tap.channel < static_cast<int>(window.channels.divisor)) return true;
        s.tap = window.tap(s.k);
        return false;
    }
    __device__ void move(Place& place, const Line&, const Step&) const { place.at += kTileDepth; }
    __device__ float at(const Window::Point& point, int k) const {
        if (k >= depth) return 0;
        const float* from = window.find(data, point, window.tap(k));
        return from ? *from : 0;
    }
    __device__ float4 load(const Place& p, const Step& s) const {
        if constexpr (kVectors) {
            return p.inside ? *reinterpret_cast<const float4*>(p.at) : zero_four();
        } else {
            return make_float4(at(p.point, s.k), at(p.point, s.k + 1), at(p.point, s.k + 2),
                               at(p.point, s.k + 3));
        }
    }
};

// Row: tap and channel; k: a point of the grid. For the gradient of the weight.
template <bool kVectors>
struct TapRows {
    static constexpr Along kAlong = Along::rows;
    static constexpr bool kInVectors = kVectors;
    const float* data;
    int rows, depth;
    Window window;
    int group_step;

    struct Line {
        Window::Tap tap[kVectors ? 1 : 4];
        int count;  // rows from here on
    };
    struct Step {
        int k, left, rows_left;  // points to the end of the grid's row, rows to that of the image
        Window::Point point;
    };
    struct Place {
        const float* at[kVectors ? 1 : 4];  // null: outside
        bool row_inside, inside;
    };
    __device__ void select(int group) { data += group * group_step; }
    __device__ Line line(int row) const {
        Line l;
        const int first = kVectors ? clamp_row(row, rows, 4) : row;
        l.count = rows - first;
#pragma unroll
        for (int i = 0; i < (kVectors ? 1 : 4); ++i) {
            l.tap[i] = window.tap(i < l.count ? first + i : 0);
        }
        return l;
    }
    __device__ Step step(int k) const {
        int column, row;
        const Window::Point point = window.point(k, row, column);
        return {k, static_cast<int>(window.grid_width.divisor) - column, window.grid_height - row,
                point};
    }
    __device__ Place find(const Line& line, const Step& s) const {
        Place p{};
        if constexpr (kVectors) {
            const int y = s.point.y + line.tap[0].y, x = s.point.x + line.tap[0].x;
            p.at[0] = data + window.offset(s.point, y, x) + line.tap[0].channel;
            p.row_inside = static_cast<unsigned>(y) < static_cast<unsigned>(window.height);
            p.inside = window.inside(y, x) && s.k < depth;
        } else {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const bool there = i < line.count && s.k < depth;
                p.at[i] = there ? window.find(data, s.point, line.tap[i]) : nullptr;
            }
        }
        return p;
    }
    __device__ bool advance(Step& s) const {
        s.k += kTileDepth;
        s.left -= kTileDepth;
        if (s.left > 0) {
            s.point.x += kTileDepth * window.step_x;
            return kVectors;
        }
        const int width = static_cast<int>(window.grid_width.divisor);
        if (width >= kTileDepth && s.rows_left > 1) {  // the next row
            s.left += width;
            s.rows_left -= 1;
            s.point.x += (kTileDepth - width) * window.step_x;
            s.point.y += window.step_y;
        } else {
            s = step(s.k);
        }
        return false;
    }
    __device__ void move(Place& p, const Line& line, const Step& s) const {
        p.at[0] += kTileDepth * window.step_x * window.pixel;
        const auto x = static_cast<unsigned>(s.point.x + line.tap[0].x);
        p.inside = p.row_inside && x < static_cast<unsigned>(window.width) && s.k < depth;
    }
    __device__ float4 load(const Place& p, const Step&) const {
        if constexpr (kVectors) {
            return p.inside ? *reinterpret_cast<const float4*>(p.at[0]) : zero_four();
        } else {
            return make_float4(p.at[0] ? *p.at[0] : 0, p.at[1] ? *p.at[1] : 0,
                               p.at[2] ? *p.at[2] : 0, p.at[3] ? *p.at[3] : 0);
        }
    }
};

// The weight for the gradient of the image. Row: an input channel; k: a tap of the phase and an
// output channel.
template <bool kVectors>
struct WeightRows {
    static constexpr Along kAlong = Along::depth;
    static constexpr bool kInVectors = kVectors;
    const float* data;  // of the first tap of the phase
    int rows, depth;
    FastDivider taps_across, channels;        // of the phase; output channels of a group
    std::int64_t tap_row, tap_column, pitch;  // steps
    int group_step;

    using Line = const float*;
    struct Step {
        int k, channel;
        std::int64_t offset;
    };
    using Place = const float*;
    __device__ void select(int group) { data += group * group_step; }
    __device__ Line line(int row) const { return data + clamp_row(row, rows, 1) * pitch; }
    __device__ Step step(int k) const {
        Step s;
        int column;
        s.k = k;
        const int tap = channels.divide(k, s.channel);
        const int tap_y = taps_across.divide(tap, column);
        s.offset = tap_y * tap_row + column * tap_column + s.channel;
        return s;
    }
    __device__ Place find(Line line, const Step& s) const {
        return kVectors ? line + s.offset : line;
    }
    __device__ bool advance(Step& s) const {
        if (kVectors && s.channel + kTileDepth < static_cast<int>(channels.divisor)) {
            s.k += kTileDepth;
            s.channel += kTileDepth;
            return true;
        }
        s = step(s.k + kTileDepth);
        return false;
    }
    __device__ void move(Place& place, Line, const Step&) const { place += kTileDepth; }
    __device__ float4 load(Place place, const Step& s) const {
        float4 x = zero_four();
        if constexpr (kVectors) {
            if (s.k < depth) x = *reinterpret_cast<const float4*>(place);
        } else {
            if (s.k < depth) x.x = place[s.offset];
            if (s.k + 1 < depth) x.y = place[step(s.k + 1).offset];
            if (s.k + 2 < depth) x.z = place[step(s.k + 2).offset];
            if (s.k + 3 < depth) x.w = place[step(s.k + 3).offset];
        }
        return x;
    }
};

}  // namespace pyconv::cuda
