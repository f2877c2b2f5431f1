// A thread computes a square of 8 x 8 results, an outer product at a time: 16 loads from shared
// memory make 64 multiply-adds. A's tile lies transposed, so that both operands of a step are rows.
constexpr int kSide = 64, kDepth = 8, kThreads = 64, kResults = 8;

extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int m, int n, int k) {
    __shared__ float tile_a[kDepth][kSide], tile_b[kDepth][kSide];
    const int row = blockIdx.y * kSide, column = blockIdx.x * kSide;
    const int t = threadIdx.x;
    const int own_row = t / 8 * kResults, own_column = t % 8 * kResults;
    float sum[kResults][kResults] = {};
    for (int start = 0; start < k; start += kDepth) {
        for (int i = t; i < kSide * kDepth; i += kThreads) {
            tile_a[i % kDepth][i / kDepth] = a[(row + i / kDepth) * k + start + i % kDepth];
            tile_b[i / kSide][i % kSide] = b[(start + i / kSide) * n + column + i % kSide];
        }
        __syncthreads();
        for (int i = 0; i < kDepth; ++i) {
            float left[kResults], right[kResults];
            for (int j = 0; j < kResults; ++j) left[j] = tile_a[i][own_row + j];
            for (int j = 0; j < kResults; ++j) right[j] = tile_b[i][own_column + j];
            for (int y = 0; y < kResults; ++y) {
                for (int x = 0; x < kResults; ++x) sum[y][x] += left[y] * right[x];
            }
        }
        __syncthreads();
    }
    for (int y = 0; y < kResults; ++y) {
        for (int x = 0; x < kResults; ++x) {
            c[(row + own_row + y) * n + column + own_column + x] = sum[y][x];
        }
    }
}
