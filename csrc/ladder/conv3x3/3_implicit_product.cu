// The convolution as a product of matrices: pixels x (taps and channels) times (taps and channels)
// x features. The left matrix exists nowhere; its tile is gathered from x when it is needed. With
// tiles in shared memory each value is loaded from global memory once for 16 results.
constexpr int kTile = 16;

extern "C" __global__ void conv3x3(const float* x, const float* w, float* y, int n, int h, int wd,
                                   int c, int f) {
    __shared__ float tile_x[kTile][kTile], tile_w[kTile][kTile];
    const int pixel = blockIdx.y * kTile + threadIdx.y;
    const int feature = blockIdx.x * kTile + threadIdx.x;
    const int image = pixel / (h * wd), row = pixel / wd % h, column = pixel % wd;
    float sum = 0;
    for (int start = 0; start < 9 * c; start += kTile) {
        // The element (pixel, start + threadIdx.x): which tap, which channel?
        const int at = start + threadIdx.x, tap = at / c;
        const int iy = row + tap / 3 - 1, ix = column + tap % 3 - 1;
        const bool inside = at < 9 * c && iy >= 0 && iy < h && ix >= 0 && ix < wd;
        tile_x[threadIdx.y][threadIdx.x] =
            inside ? x[((image * h + iy) * wd + ix) * c + at % c] : 0;
        const int depth = start + threadIdx.y;
        tile_w[threadIdx.y][threadIdx.x] = depth < 9 * c ? w[depth * f + feature] : 0;
        __syncthreads();
        for (int i = 0; i < kTile; ++i) sum += tile_x[threadIdx.y][i] * tile_w[i][threadIdx.x];
        __syncthreads();
    }
    y[pixel * f + feature] = sum;
}
