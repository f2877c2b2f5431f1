// A thread computes 8 x 8 results, pixels x features, an outer product at a time: 16 loads from
// shared memory make 64 multiply-adds. (As sgemm/5.)
constexpr int kSide = 64, kDepth = 8, kThreads = 64, kResults = 8;

extern "C" __global__ void conv3x3(const float* x, const float* w, float* y, int n, int h, int wd,
                                   int c, int f) {
    __shared__ float tile_x[kDepth][kSide], tile_w[kDepth][kSide];
    const int first = blockIdx.y * kSide, feature = blockIdx.x * kSide;
    const int t = threadIdx.x;
    const int own_pixel = t / 8 * kResults, own_feature = t % 8 * kResults;
    float sum[kResults][kResults] = {};
    for (int start = 0; start < 9 * c; start += kDepth) {
        for (int i = t; i < kSide * kDepth; i += kThreads) {
            const int pixel = first + i / kDepth, at = start + i % kDepth, tap = at / c;
            const int image = pixel / (h * wd), row = pixel / wd % h, column = pixel % wd;
            const int iy = row + tap / 3 - 1, ix = column + tap % 3 - 1;
            const bool inside = iy >= 0 && iy < h && ix >= 0 && ix < wd;
            tile_x[i % kDepth][i / kDepth] =
                inside ? x[((image * h + iy) * wd + ix) * c + at % c] : 0;
            tile_w[i / kSide][i % kSide] = w[(start + i / kSide) * f + feature + i % kSide];
        }
        __syncthreads();
        for (int i = 0; i < kDepth; ++i) {
            float left[kResults], right[kResults];
            for (int j = 0; j < kResults; ++j) left[j] = tile_x[i][own_pixel + j];
            for (int j = 0; j < kResults; ++j) right[j] = tile_w[i][own_feature + j];
            for (int p = 0; p < kResults; ++p) {
                for (int q = 0; q < kResults; ++q) sum[p][q] += left[p] * right[q];
            }
        }
        __syncthreads();
    }
    for (int p = 0; p < kResults; ++p) {
        for (int q = 0; q < kResults; ++q) {
            y[(first + own_pixel + p) * f + feature + own_feature + q] = sum[p][q];
        }
    }
}
