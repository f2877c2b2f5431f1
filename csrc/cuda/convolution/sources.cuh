// The operands of a convolution as the sources of a matrix product (implicit GEMM): nothing is
// copied, an element is found when it is read.
#pragma once

#include "cuda/dense/product.cuh"

namespace pyconv::cuda {

// Pixels of an image that the taps of a kernel see from the points of a grid: grid point (y, x) and
// tap (r, s) meet at (origin + y * step + r * tap_step, ...). Outside the image is zero.
struct Window {
    int height, width, pixel;                // of the image; channels from pixel to pixel
    FastDivider grid, grid_width;            // points of a grid, of its row
    int origin_y, origin_x, step_y, step_x;  // of the grid
    FastDivider taps_across, channels;       // of the kernel
    int tap_step_y, tap_step_x;

    struct Point {
        std::int64_t image;  // its first pixel
        int y, x;
    };
    __device__ Point point(int index) const {
        int at, x;
        const int image = grid.divide(index, at);
        const int y = grid_width.divide(at, x);
        return {static_cast<std::int64_t>(image) * height * width, origin_y + y * step_y,
                origin_x + x * step_x};
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
        if (static_cast<unsigned>(y) >= static_cast<unsigned>(height) ||
            static_cast<unsigned>(x) >= static_cast<unsigned>(width)) {
            return nullptr;
        }
        return data + (p.image + static_cast<std::int64_t>(y) * width + x) * pixel + t.channel;
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

    struct Place {
        Window::Point point;
        bool valid;
    };
    __device__ void select(int group) { data += group * group_step; }
    __device__ Place place(int row) const {
        const bool valid = row < rows;
        return {window.point(valid ? row : 0), valid};
    }
    __device__ float at(const Place& place, int k) const {
        if (k >= depth) return 0;
        const float* from = window.find(data, place.point, window.tap(k));
        return from ? *from : 0;
    }
    __device__ float4 load(const Place& place, int k) const {
        if (!place.valid) return zero_four();
        if constexpr (kVectors) {
            if (k >= depth) return zero_four();
            const float* from = window.find(data, place.point, window.tap(k));
            return from ? *reinterpret_cast<const float4*>(from) : zero_four();
        } else {
            return make_float4(at(place, k), at(place, k + 1), at(place, k + 2), at(place, k + 3));
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

    struct Place {
        Window::Tap tap[kVectors ? 1 : 4];
        int count;  // rows from here on
    };
    __device__ void select(int group) { data += group * group_step; }
    __device__ Place place(int row) const {
        Place p;
        p.count = rows - row;
#pragma unroll
        for (int i = 0; i < (kVectors ? 1 : 4); ++i) {
            p.tap[i] = window.tap(i < p.count ? row + i : 0);
        }
        return p;
    }
    __device__ float4 load(const Place& place, int k) const {
        if (k >= depth || place.count <= 0) return zero_four();
        const Window::Point point = window.point(k);
        if constexpr (kVectors) {
            const float* from = window.find(data, point, place.tap[0]);
            return from ? *reinterpret_cast<const float4*>(from) : zero_four();
        } else {
            float x[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float* from =
                    i < place.count ? window.find(data, point, place.tap[i]) : nullptr;
                x[i] = from ? *from : 0;
            }
            return make_float4(x[0], x[1], x[2], x[3]);
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
    FastDivider taps_across, channels;      // of the phase; output channels of a group
    std::int64_t tap_row, tap_column, row;  // steps
    int group_step;

    struct Place {
        const float* at;  // null: no such row
    };
    __device__ void select(int group) { data += group * group_step; }
    __device__ Place place(int r) const { return {r < rows ? data + r * row : nullptr}; }
    __device__ const float* find(const Place& place, int k) const {
        int channel, column;
        const int tap = channels.divide(k, channel);
        const int tap_y = taps_across.divide(tap, column);
        return place.at + tap_y * tap_row + column * tap_column + channel;
    }
    __device__ float4 load(const Place& place, int k) const {
        float4 x = zero_four();
        if (!place.at) return x;
        if constexpr (kVectors) {
            if (k < depth) x = *reinterpret_cast<const float4*>(find(place, k));
        } else {
            if (k < depth) x.x = *find(place, k);
            if (k + 1 < depth) x.y = *find(place, k + 1);
            if (k + 2 < depth) x.z = *find(place, k + 2);
            if (k + 3 < depth) x.w = *find(place, k + 3);
        }
        return x;
    }
};

}  // namespace pyconv::cuda
