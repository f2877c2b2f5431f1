// How products are cut on compute capability 9.0: every tile once, every pixel of a grid in one
// line of one box.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cuda/dense/hopper_walk.cuh"

namespace {

using namespace pyconv::cuda;

void fail(const char* what, std::int64_t a, std::int64_t b, std::int64_t c) {
    std::fprintf(stderr, "failed: %s, %lld %lld %lld\n", what, static_cast<long long>(a),
                 static_cast<long long>(b), static_cast<long long>(c));
    std::exit(1);
}

// Every pixel once, by boxes that can be copied.
void check_boxes(std::int64_t width, std::int64_t height, std::int64_t images, int step,
                 std::int64_t pixels, bool whole) {
    const PixelBox box = plan_box(width, height, images, step, step, pixels, whole);
    HopperWalk walk{};
    walk.grid_width = static_cast<int>(width);
    walk.grid_height = static_cast<int>(height);
    walk.images = static_cast<int>(images);
    walk.boxes_across = FastDivider(divide_up(width, box.width));
    walk.boxes_down = FastDivider(divide_up(height, box.height));
    walk.box_width = FastDivider(box.width);
    walk.box_height = FastDivider(box.height);
    walk.box_images = static_cast<int>(box.images);
    walk.box_pixels = static_cast<int>(box.width * box.height * box.images);
    const bool too_wide = (box.width - 1) * step >= 256 || (box.height - 1) * step >= 256;
    const bool cut = width % box.width != 0 || height % box.height != 0;
    if (walk.box_pixels > pixels || too_wide || (whole && cut)) fail("box", width, height, images);
    std::vector<int> seen(static_cast<std::size_t>(width * height * images));
    for (int i = 0; i < box.tiles; ++i) {
        const HopperWalk::Pixel first = walk.box(i);
        for (int line = 0; line < kHopperRows; ++line) {
            const int row = walk.row_of(first, line);
            if (row >= 0) ++seen.at(static_cast<std::size_t>(row));
        }
    }
    for (const int times : seen) {
        if (times != 1) fail("pixels", width, height, images);
    }
}

// Every tile of every part once; parts cover the steps.
void check_tiles(int down, int across, int steps, int parts) {
    const Split split = split_evenly(steps, parts, 1);
    HopperWalk walk{};
    walk.down = down;
    walk.across = across;
    walk.steps = steps;
    walk.part_steps = split.depth;
    walk.tiles = down * across * split.count;
    std::vector<int> seen(static_cast<std::size_t>(down * across));
    for (int i = 0; i < walk.tiles; ++i) {
        const HopperWalk::Tile t = walk.tile(i);
        if (t.end <= t.first_step || t.end > steps) fail("steps", down, across, parts);
        seen.at(static_cast<std::size_t>(t.row * across + t.column)) += t.end - t.first_step;
    }
    for (const int done : seen) {
        if (done != steps) fail("tiles", down, across, parts);
    }
}

// What is chosen fits, and leaves no part empty.
void check_plan(std::int64_t down, std::int64_t columns, std::int64_t steps) {
    const HopperPlan plan = plan_hopper(down, down * kHopperRows, columns, steps, 2, 0);
    const Split& split = plan.split;
    const std::int64_t before = static_cast<std::int64_t>(split.count - 1) * split.depth;
    const bool covers = before < steps && before + split.depth >= steps;
    if (plan.columns % 64 != 0 || plan.columns == 0 || !covers) fail("plan", down, columns, steps);
}

}  // namespace

int main() {
    for (const int width : {1, 2, 7, 13, 56, 65, 130, 257}) {
        for (const int height : {1, 3, 7, 14, 56}) {
            for (const int images : {1, 2, 5, 33}) {
                for (const int step : {1, 2, 8}) {
                    check_boxes(width, height, images, step, kHopperRows, false);
                    check_boxes(width, height, images, step, kHopperSlab, true);
                }
            }
        }
    }
    for (int down = 1; down < 20; ++down) {
        for (const int across : {1, 2, 3, 9}) {
            for (const int parts : {1, 2, 5}) check_tiles(down, across, 11, parts);
        }
    }
    for (const std::int64_t down : {1, 7, 100, 5000}) {
        for (const std::int64_t columns : {1, 64, 65, 200, 4096}) {
            for (const std::int64_t steps : {1, 5, 36, 1000}) check_plan(down, columns, steps);
        }
    }
    std::printf("plans of compute capability 9.0: ok\n");
    return 0;
}
