#include "cpu/convolution/winograd.h"

#include <algorithm>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/convolution/winograd_tiles.h"
#include "cpu/dense/pack.h"
#include "cpu/tuning/blocks.h"

namespace pyconv {

namespace {

// Where the transformed weight lies.
template <class T>
struct WeightLayout {
    WeightLayout(const DenseKernels<T>& dense, int variant, std::int64_t channels,
                 std::int64_t columns)
        : panels(dense, columns),
          depth(channels),
          elements(kWinogradVariants[variant].tile() * kWinogradVariants[variant].tile()) {}

    std::int64_t plane(std::int64_t panel) const {
        return depth * panels.width(panel) + kWinogradGap;
    }
    std::int64_t offset(std::int64_t panel) const {
        return panel == 0 ? 0 : panel * elements * plane(0);  // all but the last are as wide
    }
    std::int64_t size() const {
        const std::int64_t last = panels.count() - 1;
        return offset(last) + elements * plane(last);
    }

    Panels<T> panels;
    std::int64_t depth;
    std::int64_t elements;
};

// Channels [first, first + count) of a panel, whose transformed weight begins at `to`.
template <class T>
void transform_weight(const WinogradKernels<T>& kernels, const WeightLayout<T>& layout, int variant,
                      const TapMatrices<T>& weight, bool turned, std::int64_t panel,
                      std::int64_t first, std::int64_t count, T* to) {
    const int taps = kWinogradVariants[variant].kernel * kWinogradVariants[variant].kernel;
    const std::int64_t width = layout.panels.width(panel);
    WinogradFilter<T> filter{};
    filter.rows = count;
    filter.columns = width;
    filter.turned = turned;
    filter.out = to + first * width;
    filter.plane = layout.plane(panel);
    const bool in_place = weight.column == 1 && layout.panels.valid(panel) == width;
    filter.step = in_place ? weight.depth : width;
    Scratch scratch;
    T* const copy = in_place ? nullptr : scratch.take<T>(taps * count * width);
    for (int t = 0; t < taps; ++t) {
        const T* const from =
            weight.tap(0, t) + first * weight.depth + layout.panels.first(panel) * weight.column;
        filter.in[t] = in_place ? from : copy + t * count * width;
        if (in_place) continue;
        pack(from, weight.depth, weight.column, count, layout.panels.valid(panel), width,
             copy + t * count * width);
    }
    kernels.variants[variant].filter(filter);
}

constexpr std::int64_t kWeightChannels = 32;  // 9 taps x 32 x 32 floats: 36 KB, in L1 or L2

template <class T>
class Winograd {
  public:
    Winograd(const DenseKernels<T>& dense, const WinogradKernels<T>& kernels,
             const WinogradProblem<T>& problem)
        : dense_(dense),
          kernels_(kernels.variants[problem.variant]),
          all_kernels_(kernels),
          p_(problem),
          layout_(dense, problem.variant, problem.in_channels, problem.out_channels),
          tiles_(problem),
          tallest_(layout_.panels.tallest(dense)),
          pitch_(winograd_pitch(problem.in_channels)) {}

    void run() {
        const std::int64_t total = tiles_.count();
        if (total == 0) return;
        const EvenCut blocks(
            total, tuning::winograd_block(dense_.lanes, p_.in_channels, p_.out_channels, tallest_));
        // The blocks are shared out, or, where they are few, the work inside each. An element of
        // the result is computed the same way in every block, so that this may ask for threads.
        const bool share_blocks = blocks.count() >= 4 * thread_count();
        // A panel of M, elements x tiles x columns, stays in L2 while it is summed and read.
        const std::int64_t columns =
            tuning::winograd_product_bytes /
            (layout_.elements * blocks.size(0) * static_cast<std::int64_t>(sizeof(T)));
        std::int64_t most = std::max<std::int64_t>(1, columns / layout_.panels.width(0));
        if (!share_blocks && thread_count() > 1) {
            most = std::min(most, (layout_.panels.count() + thread_count() - 1) / thread_count());
        }
        const EvenCut groups(layout_.panels.count(), most);
        Scratch scratch;
        if (!p_.packed && blocks.count() > 1) {
            T* const fresh = scratch.take<T>(layout_.size());
            pack_winograd(dense_, all_kernels_, p_.variant, p_.weight, p_.turned, p_.in_channels,
                          p_.out_channels, fresh);
            p_.packed = fresh;
        }
        const double work = block_work(blocks.size(0));
        const auto run_block = [&](std::int64_t block) {
            multiply_block(blocks.begin(block), blocks.size(block), groups, work);
        };
        if (share_blocks) {
            parallel_for(blocks.count(), work * static_cast<double>(blocks.count()), run_block);
        } else {
            for (std::int64_t block = 0; block < blocks.count(); ++block) run_block(block);
        }
    }

  private:
    double block_work(std::int64_t count) const {
        return 2.0 * static_cast<double>(layout_.elements * count) *
               static_cast<double>(p_.in_channels * p_.out_channels) /
               tuning::flops_per_microsecond;
    }

    void multiply_block(std::int64_t first, std::int64_t count, const EvenCut& groups,
                        double work) {
        Scratch scratch;
        const std::int64_t plane = count * pitch_ + kWinogradGap;
        T* const v = scratch.take<T>(layout_.elements * plane);
        const EvenCut shares(count, 8);
        parallel_for(shares.count(), work / 8, [&](std::int64_t share) {
            for (std::int64_t i = shares.begin(share); i < shares.begin(share) + shares.size(share);
                 ++i) {
                kernels_.input(tiles_.input(tiles_.place(first + i), p_.in, v + i * pitch_, plane));
            }
        });
        parallel_for(groups.count(), work, [&](std::int64_t group) {
            multiply_group(first, count, v, plane, groups.begin(group),
                           groups.begin(group) + groups.size(group));
        });
    }

    // The panels [panel0, panel1) of a block's result.
    void multiply_group(std::int64_t first, std::int64_t count, const T* v, std::int64_t v_plane,
                        std::int64_t panel0, std::int64_t panel1) const {
        Scratch scratch;
        const Panels<T>& panels = layout_.panels;
        const std::int64_t column0 = panels.first(panel0);
        const std::int64_t width = panels.first(panel1 - 1) + panels.width(panel1 - 1) - column0;
        const T* weight = p_.packed + (p_.packed ? layout_.offset(panel0) : 0);
        if (!p_.packed) {
            const std::int64_t last = panel1 - 1;
            T* const fresh = scratch.take<T>(layout_.offset(last) - layout_.offset(panel0) +
                                             layout_.elements * layout_.plane(last));
            for (std::int64_t panel = panel0; panel < panel1; ++panel) {
                const EvenCut slabs(p_.in_channels, kWeightChannels);
                for (std::int64_t slab = 0; slab < slabs.count(); ++slab) {
                    transform_weight(all_kernels_, layout_, p_.variant, p_.weight, p_.turned, panel,
                                     slabs.begin(slab), slabs.size(slab),
                                     fresh + layout_.offset(panel) - layout_.offset(panel0));
                }
            }
            weight = fresh;
        }
        const std::int64_t m_pitch = winograd_pitch(width);
        const std::int64_t m_plane = count * m_pitch + kWinogradGap;
        T* const m = scratch.take<T>(layout_.elements * m_plane);
        const Epilogue<T> plain;
        const TapPair one{0, 0};
        const T* rows[kMaxTileRows];
        T* results[kMaxTileRows];
        RowTile<T> tile{rows, 0, &one, 1, p_.in_channels, nullptr, 0, 0, results, dense_.lanes};
        for (std::int64_t element = 0; element < layout_.elements; ++element) {
            for (std::int64_t panel = panel0; panel < panel1; ++panel) {
                const int vectors = panels.vectors(panel);
                tile.b = weight + layout_.offset(panel) - layout_.offset(panel0) +
                         element * layout_.plane(panel);
                tile.b_step = panels.width(panel);
                const EvenCut cut(count, dense_.max_rows[vectors]);
                for (std::int64_t part = 0; part < cut.count(); ++part) {
                    const int height = static_cast<int>(cut.size(part));
                    for (int i = 0; i < height; ++i) {
                        const std::int64_t row = cut.begin(part) + i;
                        rows[i] = v + element * v_plane + row * pitch_;
                        results[i] =
                            m + element * m_plane + row * m_pitch + panels.first(panel) - column0;
                    }
                    dense_.rows[vectors][height](tile, plain);
                }
            }
        }
        Epilogue<T> epilogue = p_.epilogue;
        if (epilogue.bias) epilogue.bias += column0;
        const std::int64_t channels = std::min(width, p_.out_channels - column0);
        for (std::int64_t i = 0; i < count; ++i) {
            transform_output(tiles_.place(first + i), m + i * m_pitch, m_plane, column0, channels,
                             epilogue);
        }
    }

    void transform_output(const WinogradPlace& at, const T* m, std::int64_t plane,
                          std::int64_t column, std::int64_t channels,
                          const Epilogue<T>& epilogue) const {
        const WinogradRect out = tiles_.output(at);
        if (out.rows == 0 || out.columns == 0) return;
        kernels_.output({m, plane, p_.out + out.offset + column, out.row, out.pixel, out.rows,
                         out.columns, channels, &epilogue});
    }

    const DenseKernels<T>& dense_;
    const typename WinogradKernels<T>::Entry& kernels_;
    const WinogradKernels<T>& all_kernels_;
    WinogradProblem<T> p_;
    WeightLayout<T> layout_;
    WinogradTiles<T> tiles_;
    int tallest_;
    std::int64_t pitch_;  // of a tile's channels in V
};

}  // namespace

template <class T>
WinogradProblem<T> winograd_forward_problem(int variant, const ConvolutionProblem& p, const T* x,
                                            const WeightView<T>& weight, T* y) {
    WinogradProblem<T> q;
    q.variant = variant;
    q.batch = p.batch;
    q.in_channels = p.in_channels;
    q.in_height = p.in_height;
    q.in_width = p.in_width;
    q.out_channels = p.out_channels;
    q.out_height = p.out_height;
    q.out_width = p.out_width;
    q.pad_top = p.pad_top;
    q.pad_left = p.pad_left;
    q.dilation_height = p.dilation_height;
    q.dilation_width = p.dilation_width;
    q.in = x;
    q.out = y;
    q.weight = forward_matrices(weight, p);
    return q;
}

template <class T>
WinogradProblem<T> winograd_backward_problem(int variant, const ConvolutionProblem& p, const T* dy,
                                             const WeightView<T>& weight, T* dx) {
    WinogradProblem<T> q;
    q.variant = variant;
    q.batch = p.batch;
    q.in_channels = p.out_channels;
    q.in_height = p.out_height;
    q.in_width = p.out_width;
    q.out_channels = p.in_channels;
    q.out_height = p.in_height;
    q.out_width = p.in_width;
    q.pad_top = p.dilation_height * (p.kernel_height - 1) - p.pad_top;
    q.pad_left = p.dilation_width * (p.kernel_width - 1) - p.pad_left;
    q.dilation_height = p.dilation_height;
    q.dilation_width = p.dilation_width;
    q.in = dy;
    q.out = dx;
    q.weight = backward_matrices(weight, p);
    q.turned = true;
    return q;
}

template <class T>
void run_winograd(const DenseKernels<T>& dense, const WinogradKernels<T>& kernels,
                  const WinogradProblem<T>& problem) {
    Winograd<T>(dense, kernels, problem).run();
}

template <class T>
std::int64_t winograd_weight_size(const DenseKernels<T>& dense, int variant,
                                  std::int64_t in_channels, std::int64_t out_channels) {
    return WeightLayout<T>(dense, variant, in_channels, out_channels).size();
}

template <class T>
void pack_winograd(const DenseKernels<T>& dense, const WinogradKernels<T>& kernels, int variant,
                   const TapMatrices<T>& weight, bool turned, std::int64_t in_channels,
                   std::int64_t out_channels, T* packed) {
    const WeightLayout<T> layout(dense, variant, in_channels, out_channels);
    const EvenCut slabs(in_channels, kWeightChannels);
    const double work = static_cast<double>(layout.size()) / 1e3;
    parallel_for(layout.panels.count() * slabs.count(), work, [&](std::int64_t task) {
        const std::int64_t slab = task / layout.panels.count();
        const std::int64_t panel = task % layout.panels.count();
        transform_weight(kernels, layout, variant, weight, turned, panel, slabs.begin(slab),
                         slabs.size(slab), packed + layout.offset(panel));
    });
}

#define PYCONV_INSTANTIATE(T)                                                                     \
    template WinogradProblem<T> winograd_forward_problem<T>(int, const ConvolutionProblem&,       \
                                                            const T*, const WeightView<T>&, T*);  \
    template WinogradProblem<T> winograd_backward_problem<T>(int, const ConvolutionProblem&,      \
                                                             const T*, const WeightView<T>&, T*); \
    template void run_winograd<T>(const DenseKernels<T>&, const WinogradKernels<T>&,              \
                                  const WinogradProblem<T>&);                                     \
    template std::int64_t winograd_weight_size<T>(const DenseKernels<T>&, int, std::int64_t,      \
                                                  std::int64_t);                                  \
    template void pack_winograd<T>(const DenseKernels<T>&, const WinogradKernels<T>&, int,        \
                                   const TapMatrices<T>&, bool, std::int64_t, std::int64_t, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
