// Two tiles of each operand: while one is multiplied, the next is on its way from global memory to
// registers, and then to the other half of shared memory. One barrier a tile instead of two, and
// the latency of global memory is behind the multiply-adds. The package's kernel
// (dense/product.cuh) is this one with tiles of several sizes, operands from any source, and what
// follows the sum.
constexpr int kSide = 64, kDepth = 8, kThreads = 64, kPad = 4;

__device__ float4 load(const float* from) { return *reinterpret_cast<const float4*>(from); }

extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int m, int n, int k) {
    __shared__ __align__(16) float tile_a[2][kDepth][kSide + kPad], tile_b[2][kDepth][kSide];
    const int row = blockIdx.y * kSide, column = blockIdx.x * kSide;
    const int t = threadIdx.x;
    const int own_row = t / 8 * 4, own_column = t % 8 * 4;
    float4 next_a[2], next_b[2];  // on their way
    const auto fetch = [&](int start) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int i = t + j * kThreads;
            next_a[j] = load(&a[(row + i / 2) * k + start + i % 2 * 4]);
            next_b[j] = load(&b[(start + i / 16) * n + column + i % 16 * 4]);
        }
    };
    const auto keep = [&](int half) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int i = t + j * kThreads, at = i / 2, depth = i % 2 * 4;
            tile_a[half][depth][at] = next_a[j].x;
            tile_a[half][depth + 1][at] = next_a[j].y;
            tile_a[half][depth + 2][at] = next_a[j].z;
            tile_a[half][depth + 3][at] = next_a[j].w;
            *reinterpret_cast<float4*>(&tile_b[half][i / 16][i % 16 * 4]) = next_b[j];
        }
    };
    float sum[8][8] = {};
    fetch(0);
    keep(0);
    __syncthreads();
    for (int start = 0, half = 0; start < k; start += kDepth, half ^= 1) {
        const bool more = start + kDepth < k;
        if (more) fetch(start + kDepth);
#pragma unroll
        for (int i = 0; i < kDepth; ++i) {
            float left[8], right[8];
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                *reinterpret_cast<float4*>(&left[4 * j]) = load(&tile_a[half][i][own_row + 32 * j]);
                *reinterpret_cast<float4*>(&right[4 * j]) =
                    load(&tile_b[half][i][own_column + 32 * j]);
            }
#pragma unroll
            for (int y = 0; y < 8; ++y) {
#pragma unroll
                for (int x = 0; x < 8; ++x) sum[y][x] += left[y] * right[x];
            }
        }
        if (more) keep(half ^ 1);
        __syncthreads();
    }
#pragma unroll
    for (int y = 0; y < 8; ++y) {
        const int at = row + own_row + y % 4 + y / 4 * 32;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            *reinterpret_cast<float4*>(&c[at * n + column + own_column + 32 * j]) =
                make_float4(sum[y][4 * j], sum[y][4 * j + 1], sum[y][4 * j + 2], sum[y][4 * j + 3]);
        }
    }
}
