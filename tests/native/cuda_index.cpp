// The division by multiplication that the device's kernels use, against the processor's.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "cuda/common/index.h"
#include "cuda/dense/product.h"

namespace {

constexpr std::int64_t kMost = INT32_MAX;

void check(const pyconv::cuda::FastDivider& divider, std::int64_t n, std::int64_t d) {
    if (n < 0 || n > kMost) return;
    int rest = -1;
    const int quotient = divider.divide(static_cast<int>(n), rest);
    if (quotient == n / d && rest == n % d && divider.divide(static_cast<int>(n)) == quotient) {
        return;
    }
    std::fprintf(stderr, "failed: %lld / %lld gives %d, rest %d\n", static_cast<long long>(n),
                 static_cast<long long>(d), quotient, rest);
    std::exit(1);
}

void check_divisor(std::int64_t d) {
    const pyconv::cuda::FastDivider divider(d);
    for (std::int64_t n = 0; n <= 2000; ++n) check(divider, n, d);
    for (std::int64_t n = kMost - 2000; n <= kMost; ++n) check(divider, n, d);
    // Around multiples: the first, the last, and some in between.
    const std::int64_t multiples = kMost / d, step = multiples / 500 + 1;
    for (std::int64_t q = 0; q <= multiples; q += step) {
        for (std::int64_t off = -1; off <= 1; ++off) {
            check(divider, q * d + off, d);
            check(divider, (multiples - q) * d + off, d);
        }
    }
}

// The parts of a sum cover it, without an empty one.
void check_split(std::int64_t blocks, std::int64_t depth) {
    const pyconv::cuda::Split split = pyconv::cuda::split_sum(blocks, depth);
    const std::int64_t before_last = static_cast<std::int64_t>(split.count - 1) * split.depth;
    if (split.count >= 1 && (depth == 0 || before_last < depth) &&
        before_last + split.depth >= depth && split.depth % pyconv::cuda::kTileDepth == 0) {
        return;
    }
    std::fprintf(stderr, "failed: %lld terms for %lld blocks in %d parts of %d\n",
                 static_cast<long long>(depth), static_cast<long long>(blocks), split.count,
                 split.depth);
    std::exit(1);
}

}  // namespace

int main() {
    for (std::int64_t d = 1; d <= 1000; ++d) check_divisor(d);
    for (int bit = 10; bit <= 31; ++bit) {
        for (std::int64_t off = -3; off <= 3; ++off) {
            const std::int64_t d = (std::int64_t{1} << bit) + off;
            if (d <= kMost) check_divisor(d);
        }
    }
    for (std::int64_t d = 1001; d < kMost; d = d * 17 / 16 + 1) check_divisor(d);
    for (std::int64_t blocks = 0; blocks <= 300; blocks += 7) {
        for (std::int64_t depth = 0; depth <= 3000; ++depth) check_split(blocks, depth);
        check_split(blocks, pyconv::cuda::kMostRows);
    }
    std::printf("index arithmetic: ok\n");
    return 0;
}
