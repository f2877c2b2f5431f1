// Block sizes, with the cache arithmetic beside them. They are data: nothing here depends on the
// number of threads, so that results don't either.
#pragma once

#include <cstdint>

namespace pyconv::tuning {

// GEMM. A packed panel of b, depth x 32 floats (AVX-512) or x 16 (AVX2), shares L1 with the tile's
// rows of a: 256 x 32 x 4 = 32 KB of 48 KB (Ice Lake), 384 x 16 x 4 = 24 KB of 32 KB (Zen 3).
constexpr std::int64_t gemm_depth(int lanes) { return lanes >= 16 ? 256 : 384; }
// Rows of a block of a that stay in L2 while the panels pass: 140 x 256 x 4 = 143 KB of 1.25 MB;
// 96 x 384 x 4 = 147 KB of 512 KB.
constexpr std::int64_t gemm_rows(int lanes) { return lanes >= 16 ? 140 : 96; }

// Columns of b from which on a, lying along the sum, is packed: that takes about a cycle an
// element, and the tiles read rows as well where they are few enough for L1 and the TLB.
constexpr std::int64_t gemm_packs_a = 768;
// A matrix b up to this size stays in L1 as it lies.
constexpr std::int64_t gemm_in_place = 24 << 10;
// Few rows of a and a b from this size on, which comes from L3 or memory: rows of b are read from
// end to end, so many side by side as the hardware's prefetcher follows.
constexpr std::int64_t gemm_few_rows = 4;
constexpr std::int64_t gemm_far = 1 << 20;
constexpr std::int64_t gemm_rows_at_once = 16;

// Convolution. Output pixels of a block, whose input stays in L1 and L2 while the panels of the
// weight pass.
constexpr std::int64_t convolution_pixels(int lanes) { return lanes >= 16 ? 140 : 96; }

// Part of the taps on padding from which on rows are sorted by the taps that they see.
constexpr double sorted_dead_taps = 0.25;

// From this size on a weight is packed panel by panel where it is used, if the rows are so few that
// all of them stay in L2 beside a panel: the whole weight would go to L3 and back.
constexpr std::int64_t weight_by_panel = 512 << 10;
constexpr std::int64_t rows_by_panel = 400 << 10;

// Few channels on both sides: output pixels of a strip, whose copy of the image stays in L1.
constexpr std::int64_t few_outputs_pixels = 1024;

// Winograd. Tiles of a block: reading the transformed weight once for each block costs as much as
// writing and reading the tiles at channels * columns / (2 * (channels + columns)) of them; a whole
// number of row tiles, at least two. 64 to 64 channels, 28 tiles of 36: V has 258 KB, M as many.
constexpr std::int64_t winograd_block(int lanes, std::int64_t channels, std::int64_t columns,
                                      std::int64_t tallest) {
    const std::int64_t balance = channels * columns / (2 * (channels + columns));
    const std::int64_t least = lanes >= 16 ? 28 : 24;
    const std::int64_t wanted = balance < least ? least : balance > 168 ? 168 : balance;
    return (wanted + tallest - 1) / tallest * tallest;
}
// What is summed before it is transformed back stays in L2.
constexpr std::int64_t winograd_product_bytes = 512 << 10;
// Its weight gradient: tiles between two visits of the sums. A panel of dy and a strip of x, 128 x
// (32 + 16) x 4 = 24 KB, stay in L1; and how large the sums may be, that they stay in L2.
constexpr std::int64_t winograd_gradient_tiles(std::int64_t channels, std::int64_t columns) {
    const std::int64_t balance = channels * columns / (channels + columns);
    return balance < 64 ? 64 : balance > 128 ? 128 : balance;
}
constexpr std::int64_t winograd_gradient_bytes = 640 << 10;
// Fewer channels than this, and the transforms cost more than they save.
constexpr std::int64_t winograd_channels = 16;
// For estimates, in flops that the tiles do meanwhile: an element transformed there or back; a byte
// of the transformed weight as it is read from L2, L3, a crowded L3, memory; a byte as it is
// written.
constexpr double winograd_element_cost = 16;
constexpr double weight_byte_cost(double bytes) {
    return bytes <= (1 << 20) ? 1.5 : bytes <= (8 << 20) ? 3 : bytes <= (24 << 20) ? 4.5 : 9;
}
constexpr double winograd_weight_cost = 7;
// And a byte of the sums of a weight gradient, as each block of tiles adds to them.
constexpr double winograd_visit_cost = 14;

// Weight gradient. Pixels summed between two visits of the accumulators: a panel of dy,
// 512 x 32 x 4 = 64 KB, and a strip of x, 512 x 14 x 4 = 28 KB, stay in L2.
constexpr std::int64_t gradient_pixels = 512;
// What a block of a 1x1 layer reads, where channels are many; it and the next one stay in L2.
constexpr std::int64_t gradient_block_bytes = 384 << 10;
// Partial sums of dw that are kept at a time, for ranges of pixels: they stay in L2.
constexpr std::int64_t gradient_partial_bytes = 1 << 20;
// Channels of dy up to which a 1x1 layer reads it in place; longer rows fall into few sets of L1.
constexpr std::int64_t gradient_in_place = 512;
// Channels of x from which on a 1x1 layer packs it: pixels 4 KB apart share one set of L1. Blocks
// are half as large then, so that the panel of dy (32 KB) stays in L1 while the strips of x stream
// by.
constexpr std::int64_t gradient_packs_input = 1024;

// Groups of few channels. Weights of the vectors of channels that a row of pixels meets at a time:
// half of L1, the other half for the pixels.
constexpr std::int64_t grouped_weight_bytes = 24 << 10;

// Results from this size on, of what is bound by memory, are written past the caches, as they would
// leave them before they are read: this spares reading their lines first. Half of a 32 MB L3.
constexpr std::int64_t past_caches = 16 << 20;

// Tasks that a call is cut into where it is long enough: any number up to this many threads is
// kept busy.
constexpr std::int64_t tasks = 16;

// A rough speed of compute-bound kernels, flops a microsecond, to tell short work from long.
constexpr double flops_per_microsecond = 5e4;

}  // namespace pyconv::tuning
