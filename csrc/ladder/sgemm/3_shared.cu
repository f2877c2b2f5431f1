// A block keeps a tile of A and one of B in shared memory: each element is loaded from global
// memory once for 16 results, not once for each. What limits now: two loads from shared memory for
// one multiply-add.
constexpr int kTile = 16;

extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int m, int n, int k) {
    __shared__ float tile_a[kTile][kTile], tile_b[kTile][kTile];
    const int row = blockIdx.y * kTile + threadIdx.y;
    const int column = blockIdx.x * kTile + threadIdx.x;
    float sum = 0;
    for (int start = 0; start < k; start += kTile) {
        tile_a[threadIdx.y][threadIdx.x] = a[row * k + start + threadIdx.x];
        tile_b[threadIdx.y][threadIdx.x] = b[(start + threadIdx.y) * n + column];
        __syncthreads();  // the tiles are there
        for (int i = 0; i < kTile; ++i) sum += tile_a[threadIdx.y][i] * tile_b[i][threadIdx.x];
        __syncthreads();  // and may be written again
    }
    c[row * n + column] = sum;
}
