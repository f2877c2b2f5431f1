// The transforms of Winograd's weight gradient: the r x r weights are the result, the m x m pixels
// of dy the filter, F(r x r, m x m) on the same tiles of the image and the same points.
#pragma once

#include "cpu/convolution/winograd.inl"

namespace pyconv::PYCONV_ISA {

// Y[i * kTile + j] = (G dy G^T)_ij of one tile of kSize x kSize pixels; those outside are zero.
template <class T, int kTile, int kSize>
void winograd_gradient_tile(const WinogradInput<T>& p) {
    using V = Vec<T>;
    constexpr std::make_integer_sequence<int, kTile> each{};
    for (std::int64_t c = 0; c < p.channels; c += V::kLanes) {
        const int lanes = static_cast<int>(p.channels - c < V::kLanes ? p.channels - c : V::kLanes);
        V half[kSize][kTile];
#pragma GCC unroll 6
        for (int s = 0; s < kSize; ++s) {
            V g[kSize];
#pragma GCC unroll 6
            for (int r = 0; r < kSize; ++r) {
                const bool inside = r < p.bottom && s < p.right;
                g[r] = inside ? load(p.in + r * p.row + s * p.pixel + c, lanes) : V::zero();
            }
            winograd_filter<T, kTile, kSize>(g, half[s], each);
        }
        T* out = p.out + c;
#pragma GCC unroll 8
        for (int i = 0; i < kTile; ++i) {
            V g[kSize], u[kTile];
#pragma GCC unroll 6
            for (int s = 0; s < kSize; ++s) g[s] = half[s][i];
            winograd_filter<T, kTile, kSize>(g, u, each);
#pragma GCC unroll 8
            for (int j = 0; j < kTile; ++j) {
                u[j].store(out);
                out += p.plane;
            }
        }
    }
}

// dw[r][s] = (A^T M A)_rs for the weights of one input channel.
template <class T, int kTile, int kSize>
void winograd_gradient_result(const WinogradOutput<T>& p) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    for (std::int64_t c = 0; c < p.channels; c += kLanes) {
        const int lanes = static_cast<int>(p.channels - c < kLanes ? p.channels - c : kLanes);
        const T* in = p.in + c;
        V half[kTile][kSize];
#pragma GCC unroll 8
        for (int j = 0; j < kTile; ++j) {
            V m[kTile];
#pragma GCC unroll 8
            for (int i = 0; i < kTile; ++i) m[i] = V::load(in + (i * kTile + j) * p.plane);
            winograd_output(m, half[j]);
        }
#pragma GCC unroll 5
        for (int r = 0; r < kSize; ++r) {
            V m[kTile], y[kSize];
#pragma GCC unroll 8
            for (int j = 0; j < kTile; ++j) m[j] = half[j][r];
            winograd_output(m, y);
#pragma GCC unroll 5
            for (int s = 0; s < kSize; ++s) store(y[s], p.out + r * p.row + s * p.pixel + c, lanes);
        }
    }
}

}  // namespace pyconv::PYCONV_ISA
