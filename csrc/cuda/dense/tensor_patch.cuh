// The kernels of tensor_patch.h.
#pragma once

#include "cuda/dense/tensor.cuh"

namespace pyconv::cuda {

template <class Shape, class A>
class PatchReader {
  public:
    static constexpr int kStageBytes = 0;

    // Where the columns begin.
    __device__ static int first(const A& a, int k) { return k / a.taps; }
    __device__ PatchReader(const A& a, SharedAddress shared, int first_row, int warp_row, int k)
        : a_(a), zeros_(shared), patches_(shared + 128), first_row_(first_row) {
        if (threadIdx.x < 32) {
            asm volatile("st.shared.u32 [%0], %1;" ::"r"(zeros_ + threadIdx.x * 4), "r"(0)
                         : "memory");
        }
        const Window& window = a.pixels.window;
        copied_.channel = reading_.channel = first(a, k);
        const int lane = static_cast<int>(threadIdx.x) % 32;
        const int row = warp_row + lane % 16;
        line_ = row + a.before;
        half_ = lane / 16;
        // Which taps of a pixel are inside the image.
        const int across = static_cast<int>(window.taps_across.divisor);
#pragma unroll
        for (int i = 0; i < kFragments; ++i) {
            mask_[i] = 0;
            if (first_row + row + i * 16 >= a.pixels.rows) continue;
            const Window::Point p = window.point(first_row + row + i * 16);
            unsigned columns = 0;
            for (int s = 0; s < across; ++s) {
                const int x = p.x + s * window.tap_step_x;
                columns |= (x >= 0 && x < window.width ? 1u : 0u) << s;
            }
            for (int t = 0, y = p.y; t < a.taps; t += across, y += window.tap_step_y) {
                if (y >= 0 && y < window.height) mask_[i] |= columns << t;
            }
        }
        look();
    }
    __device__ void begin(SharedAddress) {
        if (copied_.tap > 0) return;
        const Window& window = a_.pixels.window;
        const int chunk = static_cast<int>(threadIdx.x) % 4;
        const int lines = Shape::kRows + a_.halo;
        const SharedAddress patch = patch_of(copied_);
        for (int line = static_cast<int>(threadIdx.x) / 4; line < lines;
             line += Shape::kThreads / 4) {
            const int pixel = first_row_ - a_.before + line;
            const int offset = pixel * window.pixel + copied_.channel / A::kPiece + chunk;
            copy_async<16>(patch + Lines::offset(line, chunk),
                           piece_at<A::kPiece>(a_.pixels.data, offset),
                           pixel >= 0 && pixel < a_.pixels.rows);
        }
    }
    __device__ void end(SharedAddress) const {}
    template <class Copy, class B>
    __device__ void advance(Copy& columns, const B& b) {
        go_on(copied_);
        columns.seek(
            b, copied_.tap * static_cast<int>(a_.pixels.window.channels.divisor) + copied_.channel);
    }
    __device__ void turn() {
        go_on(reading_);
        look();
    }
    __device__ void load(unsigned (&to)[4], SharedAddress, int i, int half) const {
        load_matrices<false>(to, at_[i] ^ (half * 32));
    }

  private:
    static constexpr int kFragments = Shape::kWarpRows / 16;
    using Lines = TensorTile<typename A::Element, Along::depth, Shape::kRows>;
    struct Position {
        int channel = 0, tap = 0, patch = 0;
    };
    __device__ void go_on(Position& p) const {
        if (++p.tap < a_.taps) return;
        p.tap = 0;
        p.channel += A::kDepth;
        p.patch ^= 1;
    }
    __device__ SharedAddress patch_of(const Position& p) const {
        return patches_ + p.patch * (Shape::kRows + a_.halo) * 64;
    }
    // Where this lane's rows lie for the tap: 16 lines on, chunks are permuted alike. Zeros are
    // read from the banks that the pixel would have been read from.
    __device__ void look() {
        const Window& window = a_.pixels.window;
        int column;
        const int row = window.taps_across.divide(reading_.tap, column);
        const int distance = (window.origin_y + row * window.tap_step_y) * window.width +
                             window.origin_x + column * window.tap_step_x;
        const SharedAddress at = patch_of(reading_) + Lines::offset(line_ + distance, half_);
#pragma unroll
        for (int i = 0; i < kFragments; ++i) {
            at_[i] = mask_[i] >> reading_.tap & 1 ? at + i * 16 * 64 : zeros_ + at % 128;
        }
    }

    const A& a_;
    SharedAddress zeros_, patches_;
    int first_row_, line_, half_;
    unsigned mask_[kFragments];
    SharedAddress at_[kFragments];
    Position copied_, reading_;
};

template <class Shape, class T, int kPiece, int kDepth>
struct ReaderOf<Shape, PatchRows<T, kPiece, kDepth>> {
    using Type = PatchReader<Shape, PatchRows<T, kPiece, kDepth>>;
};

template <class T>
template <class B>
void TensorPatches<T>::run(
    const PatchRows<T, TensorProduct<T>::kPiece, TensorProduct<T>::kDepth>& a, const B& b,
    const ProductTask<T>& task, const TensorPlan& plan) {
    const auto launch = [&](auto shape) {
        using Shape = decltype(shape);
        const int bytes = std::max(patch_bytes(Shape::kSize, a.halo), Shape::kSlabsBytes);
        launch_tensor<Shape>(a, b, task, plan, bytes);
    };
    if (plan.tile == 1) return launch(TensorShape<1>{});
    if (plan.tile == 2) return launch(TensorShape<2>{});
    if (plan.tile == 3) return launch(TensorShape<3>{});
    launch(TensorShape<4>{});
}

#define PYCONV_PATCH_INSTANCE(B, T)                                                  \
    template void TensorPatches<T>::run(                                             \
        const PatchRows<T, TensorProduct<T>::kPiece, TensorProduct<T>::kDepth>&,     \
        const B<TensorProduct<T>, TensorProduct<T>::kPiece>&, const ProductTask<T>&, \
        const TensorPlan&)

}  // namespace pyconv::cuda
