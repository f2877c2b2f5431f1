// A thread computes a column of 8 results: a value of B, once in a register, serves all of them, so
// that 9 loads from shared memory make 8 multiply-adds instead of 16. Tiles are 64 x 64, 8 deep.
constexpr int kRows = 64, kColumns = 64, kDepth = 8, kResults = 8;

extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int m, int n, int k) {
    __shared__ float tile_a[kRows][kDepth], tile_b[kDepth][kColumns];
    const int row = blockIdx.y * kRows, column = blockIdx.x * kColumns;
    const int t = threadIdx.x;  // of 512
    const int own_row = t / kColumns * kResults, own_column = t % kColumns;
    float sum[kResults] = {};
    for (int start = 0; start < k; start += kDepth) {
        tile_a[t / kDepth][t % kDepth] = a[(row + t / kDepth) * k + start + t % kDepth];
        tile_b[t / kColumns][t % kColumns] = b[(start + t / kColumns) * n + column + t % kColumns];
        __syncthreads();
        for (int i = 0; i < kDepth; ++i) {
            const float value = tile_b[i][own_column];
            for (int j = 0; j < kResults; ++j) sum[j] += tile_a[own_row + j][i] * value;
        }
        __syncthreads();
    }
    for (int j = 0; j < kResults; ++j) c[(row + own_row + j) * n + column + own_column] = sum[j];
}
