// All loads and stores move 16 bytes: four times fewer instructions beside the multiply-adds. A
// thread's results are four blocks of 4 x 4, 32 apart, so that the 16 bytes of neighbouring lanes
// follow each other. A row of A's tile has four values more than it needs: without them the
// transposing stores of a warp would all fall into the same banks.
constexpr int kSide = 64, kDepth = 8, kThreads = 64, kPad = 4;

__device__ float4 load(const float* from) { return *reinterpret_cast<const float4*>(from); }

extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int m, int n, int k) {
    __shared__ __align__(16) float tile_a[kDepth][kSide + kPad], tile_b[kDepth][kSide];
    const int row = blockIdx.y * kSide, column = blockIdx.x * kSide;
    const int t = threadIdx.x;
    const int own_row = t / 8 * 4, own_column = t % 8 * 4;
    float sum[8][8] = {};
    for (int start = 0; start < k; start += kDepth) {
        for (int i = t; i < kSide * kDepth / 4; i += kThreads) {
            const int at = i / 2, depth = i % 2 * 4;
            const float4 four = load(&a[(row + at) * k + start + depth]);
            tile_a[depth][at] = four.x;
            tile_a[depth + 1][at] = four.y;
            tile_a[depth + 2][at] = four.z;
            tile_a[depth + 3][at] = four.w;
            const int y = i / 16, x = i % 16 * 4;
            *reinterpret_cast<float4*>(&tile_b[y][x]) = load(&b[(start + y) * n + column + x]);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kDepth; ++i) {
            float left[8], right[8];
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                *reinterpret_cast<float4*>(&left[4 * j]) = load(&tile_a[i][own_row + 32 * j]);
                *reinterpret_cast<float4*>(&right[4 * j]) = load(&tile_b[i][own_column + 32 * j]);
            }
#pragma unroll
            for (int y = 0; y < 8; ++y) {
#pragma unroll
                for (int x = 0; x < 8; ++x) sum[y][x] += left[y] * right[x];
            }
        }
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
