// No division in the loop: a thread fills the same places of the tile always, eight pixels of one
// channel. It finds its pixels once, and of the nine taps of each, one bit a tap, whether they are
// inside the image. From tap to tap it moves by an offset that all pixels share; within a tap by
// the channels.
constexpr int kSide = 64, kDepth = 8, kResults = 8;

extern "C" __global__ void conv3x3(const float* x, const float* w, float* y, int n, int h, int wd,
                                   int c, int f) {
    __shared__ float tile_x[kDepth][kSide], tile_w[kDepth][kSide];
    const int first = blockIdx.y * kSide, feature = blockIdx.x * kSide;
    const int t = threadIdx.x;  // of 64
    const int own_pixel = t / 8 * kResults, own_feature = t % 8 * kResults;
    const int channel = t % 8, fetched = t / 8;  // and every eighth pixel after it
    int inside[8] = {};
    for (int j = 0; j < 8; ++j) {
        const int pixel = first + fetched + 8 * j, row = pixel / wd % h, column = pixel % wd;
        for (int tap = 0; tap < 9; ++tap) {
            const int iy = row + tap / 3 - 1, ix = column + tap % 3 - 1;
            inside[j] |= (iy >= 0 && iy < h && ix >= 0 && ix < wd) << tap;
        }
    }
    float sum[kResults][kResults] = {};
    const float* weights = w + feature + t;
    for (int tap = 0; tap < 9; ++tap) {
        const float* from = x + (first + fetched + (tap / 3 - 1) * wd + tap % 3 - 1) * c + channel;
        for (int start = 0; start < c; start += kDepth) {
            for (int j = 0; j < 8; ++j) {
                tile_x[channel][fetched + 8 * j] =
                    inside[j] >> tap & 1 ? from[8 * j * c + start] : 0;
                tile_w[j][t] = *weights;
                weights += f;
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
    }
    for (int p = 0; p < kResults; ++p) {
        for (int q = 0; q < kResults; ++q) {
            y[(first + own_pixel + p) * f + feature + own_feature + q] = sum[p][q];
        }
    }
}
