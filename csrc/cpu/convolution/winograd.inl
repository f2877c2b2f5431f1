// Winograd's transforms, vectors along the channels. F(m x m, r x r) works on tiles of a = m + r -
// 1:
//
//   Y = A^T ((G g G^T) . (B^T d B)) A        Lavin and Gray, Fast algorithms for CNNs (2015)
//
// which is interpolation: the columns of B^T, G and A^T are polynomials at the points below and at
// infinity. 0, +-1, 1/2, -2 has a third of the error of the usual 0, +-1, +-2, at no more
// operations.
#pragma once

#include <limits>
#include <utility>

#include "cpu/activation/activate.h"
#include "cpu/convolution/kernels.h"
#include "cpu/simd/vector.h"

namespace pyconv::PYCONV_ISA {

// The finite points of tiles of 4, 6 and 8.
template <int kTile>
constexpr double winograd_point(int i) {
    constexpr double p4[] = {0, 1, -1};
    constexpr double p6[] = {0, 1, -1, 0.5, -2};
    constexpr double p8[] = {0, 1, -1, 2, -2, 0.5, -0.5};
    return kTile == 4 ? p4[i % 3] : kTile == 6 ? p6[i % 5] : p8[i % 7];
}

// G: point_i^j / prod over k != i of (point_i - point_k); the last row is the highest coefficient.
template <class T, int kTile, int kSize>
struct FilterMatrix {
    T row[kTile][kSize];

    constexpr FilterMatrix() : row{} {
        for (int i = 0; i < kTile - 1; ++i) {
            double value = 1;
            for (int k = 0; k < kTile - 1; ++k) {
                if (k != i) value /= winograd_point<kTile>(i) - winograd_point<kTile>(k);
            }
            for (int j = 0; j < kSize; ++j) {
                row[i][j] = static_cast<T>(value);
                value *= winograd_point<kTile>(i);
            }
        }
        row[kTile - 1][kSize - 1] = 1;
    }
};

template <class T, int kTile, int kSize>
inline constexpr FilterMatrix<T, kTile, kSize> kFilterMatrix;

// Row kRow of G times g; zeros and ones cost nothing.
template <class T, int kTile, int kSize, int kRow, int kColumn = 0>
PYCONV_INLINE Vec<T> winograd_filter_row(const Vec<T> (&g)[kSize], Vec<T> sum = Vec<T>::zero()) {
    constexpr T c = kFilterMatrix<T, kTile, kSize>.row[kRow][kColumn];
    if constexpr (c != 0) {
        constexpr bool first = kColumn == 0 || kRow == kTile - 1;
        if constexpr (!first) {
            sum = fma(Vec<T>::broadcast(c), g[kColumn], sum);
        } else if constexpr (c == 1) {
            sum = g[kColumn];
        } else {
            sum = Vec<T>::broadcast(c) * g[kColumn];
        }
    }
    if constexpr (kColumn + 1 < kSize) {
        return winograd_filter_row<T, kTile, kSize, kRow, kColumn + 1>(g, sum);
    }
    return sum;
}

template <class T, int kTile, int kSize, int... kRows>
PYCONV_INLINE void winograd_filter(const Vec<T> (&g)[kSize], Vec<T> (&u)[kTile],
                                   std::integer_sequence<int, kRows...>) {
    ((u[kRows] = winograd_filter_row<T, kTile, kSize, kRows>(g)), ...);
}

// B^T d, in place: row i is the product of (x - point_k) over k != i, its coefficients times d.
template <class T>
PYCONV_INLINE void winograd_input(Vec<T> (&d)[4]) {
    const Vec<T> d1 = d[1];
    d[0] = d[2] - d[0];
    d[1] = d[2] + d1;
    const Vec<T> d3 = d[3] - d1;
    d[2] = d[2] - d1;
    d[3] = d3;
}

template <class T>
PYCONV_INLINE void winograd_input(Vec<T> (&d)[6]) {
    using V = Vec<T>;
    const V h = V::broadcast(T(1.5));
    const V e = d[4] - d[2], o = d[3] - d[1];
    const V r0 = fma(h, o, d[0] - d[2] + e);
    const V r1 = fma(h, d[3] + d[2], e + o);
    const V r2 = fma(h, d[3] - d[2], e - o);
    const V r3 = fma(V::broadcast(T(2)), o, e);
    const V r4 = fnma(V::broadcast(T(0.5)), o, e);
    const V r5 = fma(h, e, d[5] - d[3] - o);
    d[0] = r0;
    d[1] = r1;
    d[2] = r2;
    d[3] = r3;
    d[4] = r4;
    d[5] = r5;
}

template <class T>
PYCONV_INLINE void winograd_input(Vec<T> (&d)[8]) {
    using V = Vec<T>;
    const auto c = [](double value) { return V::broadcast(static_cast<T>(value)); };
    const V r0 = fma(c(5.25), d[2] - d[4], d[6] - d[0]);
    const V r7 = fma(c(5.25), d[3] - d[5], d[7] - d[1]);
    const V e1 = fnma(c(4.25), d[4], d[2] + d[6]);
    const V o1 = fnma(c(4.25), d[3], d[1] + d[5]);
    const V e2 = fma(c(0.25), d[2], fnma(c(1.25), d[4], d[6]));
    const V o2 = fma(c(0.5), d[1], fnma(c(2.5), d[3], d[5] + d[5]));
    const V e3 = fma(c(4), d[2], fnma(c(5), d[4], d[6]));
    const V o3 = fma(c(2), d[1], fnma(c(2.5), d[3], c(0.5) * d[5]));
    d[0] = r0;
    d[1] = e1 + o1;
    d[2] = e1 - o1;
    d[3] = e2 + o2;
    d[4] = e2 - o2;
    d[5] = e3 + o3;
    d[6] = e3 - o3;
    d[7] = r7;
}

// A^T m: y_j = sum over i of point_i^j m_i, and the last m for the last y.
template <class T, int kOut>
PYCONV_INLINE void winograd_output(const Vec<T> (&m)[4], Vec<T> (&y)[kOut]) {
    const Vec<T> s = m[1] + m[2];
    y[0] = m[0] + s;
    y[1] = m[1] - m[2];
    if constexpr (kOut == 3) y[2] = s;
    y[kOut - 1] = y[kOut - 1] + m[3];
}

template <class T, int kOut>
PYCONV_INLINE void winograd_output(const Vec<T> (&m)[6], Vec<T> (&y)[kOut]) {
    using V = Vec<T>;
    const V s = m[1] + m[2], t = m[1] - m[2];
    y[0] = m[0] + s + (m[3] + m[4]);
    T power = 1;
#pragma GCC unroll 5
    for (int j = 1; j < kOut; ++j) {
        power *= 2;
        const V halves = V::broadcast(1 / power);
        y[j] = j % 2 ? fma(halves, m[3], fnma(V::broadcast(power), m[4], t))
                     : fma(halves, m[3], fma(V::broadcast(power), m[4], s));
    }
    y[kOut - 1] = y[kOut - 1] + m[5];
}

template <class T, int kOut>
PYCONV_INLINE void winograd_output(const Vec<T> (&m)[8], Vec<T> (&y)[kOut]) {
    using V = Vec<T>;
    const V s[3] = {m[1] + m[2], m[3] + m[4], m[5] + m[6]};
    const V t[3] = {m[1] - m[2], m[3] - m[4], m[5] - m[6]};
    y[0] = m[0] + s[0] + (s[1] + s[2]);
    T power = 1;
#pragma GCC unroll 6
    for (int j = 1; j < kOut; ++j) {
        power *= 2;
        const V* const part = j % 2 ? t : s;
        y[j] = fma(V::broadcast(1 / power), part[2], fma(V::broadcast(power), part[1], part[0]));
    }
    y[kOut - 1] = y[kOut - 1] + m[7];
}

// V[i * kTile + j][c] = (B^T d B)_ij. What lies outside the image is zero; vectors are stored
// whole, so that `out` needs room for them.
template <class T, int kTile>
void winograd_input_tile(const WinogradInput<T>& p) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    alignas(64) T copy[kTile * kTile * kLanes];
    alignas(64) T half[kTile * kTile * kLanes];
    const bool inside = p.top == 0 && p.left == 0 && p.bottom == kTile && p.right == kTile;
    if (!inside) {
        for (int i = 0; i < kTile * kTile; ++i) V::zero().store(copy + i * kLanes);
    }
    for (std::int64_t c = 0; c < p.channels; c += kLanes) {
        const T* from = p.in + c;
        std::int64_t row = p.row, pixel = p.pixel;
        if (!inside || p.channels - c < kLanes) {
            const int lanes = static_cast<int>(p.channels - c < kLanes ? p.channels - c : kLanes);
            for (int i = p.top; i < p.bottom; ++i) {
                const T* source = from + i * row + p.left * pixel;
                T* to = copy + (i * kTile + p.left) * kLanes;
                for (int j = p.left; j < p.right; ++j, source += pixel, to += kLanes) {
                    load(source, lanes).store(to);
                }
            }
            from = copy;
            row = kTile * kLanes;
            pixel = kLanes;
        }
        for (int j = 0; j < kTile; ++j) {
            V d[kTile];
#pragma GCC unroll 8
            for (int i = 0; i < kTile; ++i) d[i] = V::load(from + i * row + j * pixel);
            winograd_input(d);
#pragma GCC unroll 8
            for (int i = 0; i < kTile; ++i) d[i].store(half + (i * kTile + j) * kLanes);
        }
        T* out = p.out + c;
        for (int i = 0; i < kTile; ++i) {
            V d[kTile];
#pragma GCC unroll 8
            for (int j = 0; j < kTile; ++j) d[j] = V::load(half + (i * kTile + j) * kLanes);
            winograd_input(d);
#pragma GCC unroll 8
            for (int j = 0; j < kTile; ++j) {
                d[j].store(out);
                out += p.plane;
            }
        }
    }
}

// Y = A^T M A of one tile, through the epilogue.
template <class T, int kTile, int kOut>
void winograd_output_tile(const WinogradOutput<T>& p) {
    using V = Vec<T>;
    constexpr int kLanes = V::kLanes;
    alignas(64) T half[kOut * kTile * kLanes];
    const Epilogue<T>& e = *p.epilogue;
    const bool plain = e.activation == Activation::none || e.activation == Activation::relu;
    const V floor = e.activation == Activation::relu
                        ? V::zero()
                        : V::broadcast(-std::numeric_limits<T>::infinity());
    for (std::int64_t c = 0; c < p.channels; c += kLanes) {
        const int lanes = static_cast<int>(p.channels - c < kLanes ? p.channels - c : kLanes);
        const T* in = p.in + c;
        for (int j = 0; j < kTile; ++j) {
            V m[kTile], y[kOut];
#pragma GCC unroll 8
            for (int i = 0; i < kTile; ++i) m[i] = V::load(in + (i * kTile + j) * p.plane);
            winograd_output(m, y);
#pragma GCC unroll 6
            for (int i = 0; i < kOut; ++i) y[i].store(half + (i * kTile + j) * kLanes);
        }
        const V bias = e.bias ? load(e.bias + c, lanes) : V::zero();
        for (int i = 0; i < p.rows; ++i) {
            V m[kTile], y[kOut];
#pragma GCC unroll 8
            for (int j = 0; j < kTile; ++j) m[j] = V::load(half + (i * kTile + j) * kLanes);
            winograd_output(m, y);
            T* to = p.out + i * p.row + c;
#pragma GCC unroll 6
            for (int j = 0; j < kOut; ++j, to += p.pixel) {
                if (j >= p.columns) break;
                V s = y[j] + bias;
                if (e.residual_offset != 0) {
                    s = fma(V::broadcast(e.residual_scale), load(to + e.residual_offset, lanes), s);
                }
                s = max(floor, s);  // the second where either is NaN
                if (!plain) s = activate(e.activation, s, e.slope);
                store(s, to, lanes);
            }
        }
    }
}

// U[i * kTile + j] = (G g G^T)_ij, for `rows` x `columns` weights.
template <class T, int kTile, int kSize>
void winograd_filter_rows(const WinogradFilter<T>& p) {
    using V = Vec<T>;
    constexpr std::make_integer_sequence<int, kTile> each{};
    for (std::int64_t row = 0; row < p.rows; ++row) {
        for (std::int64_t c = 0; c < p.columns; c += V::kLanes) {
            V half[kSize][kTile];
#pragma GCC unroll 5
            for (int s = 0; s < kSize; ++s) {
                V g[kSize];
#pragma GCC unroll 5
                for (int r = 0; r < kSize; ++r) {
                    const int tap = r * kSize + s;
                    const int source = p.turned ? kSize * kSize - 1 - tap : tap;
                    const T* const from = p.in[source] + row * p.step + c;
                    g[r] = V::load(from);
                    prefetch(from + 4 * p.step);
                }
                winograd_filter<T, kTile, kSize>(g, half[s], each);
            }
            T* out = p.out + row * p.columns + c;
#pragma GCC unroll 8
            for (int i = 0; i < kTile; ++i) {
                V g[kSize], u[kTile];
#pragma GCC unroll 5
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
}

}  // namespace pyconv::PYCONV_ISA
