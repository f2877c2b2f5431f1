// 16 bytes a load and store, and two tiles of each operand: the next is fetched while this one is
// multiplied. (As sgemm/6 and 7.) Two neighbouring threads fetch the 32 bytes of a pixel, so that
// whole sectors are loaded. The package's kernel (convolution/sources.cuh, dense/product.cuh) is
// this one with any size, stride, dilation and group, and the same for the gradients.
constexpr int kSide = 64, kDepth = 8, kThreads = 64, kPad = 4;

__device__ float4 load(const float* from) { return *reinterpret_cast<const float4*>(from); }

extern "C" __global__ void conv3x3(const float* x, const float* w, float* y, int n, int h, int wd,
                                   int c, int f) {
    __shared__ __align__(16) float tile_x[2][kDepth][kSide + kPad], tile_w[2][kDepth][kSide];
    const int first = blockIdx.y * kSide, feature = blockIdx.x * kSide;
    const int t = threadIdx.x;
    const int own_pixel = t / 8 * 4, own_feature = t % 8 * 4;
    int inside[2] = {}, pixel[2];  // of the two pixels of which it fetches a half
    for (int j = 0; j < 2; ++j) {
        pixel[j] = first + t / 2 + 32 * j;
        const int row = pixel[j] / wd % h, column = pixel[j] % wd;
        for (int tap = 0; tap < 9; ++tap) {
            const int iy = row + tap / 3 - 1, ix = column + tap % 3 - 1;
            inside[j] |= (iy >= 0 && iy < h && ix >= 0 && ix < wd) << tap;
        }
    }
    float4 next_x[2], next_w[2];
    const float* weights = w + t / 16 * f + feature + t % 16 * 4;
    const auto fetch = [&](int tap, int start) {
        const int offset = ((tap / 3 - 1) * wd + tap % 3 - 1) * c + start + t % 2 * 4;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            next_x[j] =
                inside[j] >> tap & 1 ? load(x + pixel[j] * c + offset) : make_float4(0, 0, 0, 0);
            next_w[j] = load(weights + 4 * j * f);
        }
        weights += kDepth * f;
    };
    const auto keep = [&](int half) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int at = t / 2 + 32 * j, depth = t % 2 * 4;
            tile_x[half][depth][at] = next_x[j].x;
            tile_x[half][depth + 1][at] = next_x[j].y;
            tile_x[half][depth + 2][at] = next_x[j].z;
            tile_x[half][depth + 3][at] = next_x[j].w;
            *reinterpret_cast<float4*>(&tile_w[half][t / 16 + 4 * j][t % 16 * 4]) = next_w[j];
        }
    };
    float sum[8][8] = {};
    int tap = 0, start = 0;
    fetch(tap, start);
    keep(0);
    __syncthreads();
    for (int half = 0; tap < 9; half ^= 1) {
        start += kDepth;
        if (start == c) {
            start = 0;
            ++tap;
        }
        if (tap < 9) fetch(tap, start);
#pragma unroll
        for (int i = 0; i < kDepth; ++i) {
            float left[8], right[8];
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                *reinterpret_cast<float4*>(&left[4 * j]) =
                    load(&tile_x[half][i][own_pixel + 32 * j]);
                *reinterpret_cast<float4*>(&right[4 * j]) =
                    load(&tile_w[half][i][own_feature + 32 * j]);
            }
#pragma unroll
            for (int p = 0; p < 8; ++p) {
#pragma unroll
                for (int q = 0; q < 8; ++q) sum[p][q] += left[p] * right[q];
            }
        }
        if (tap < 9) keep(half ^ 1);
        __syncthreads();
    }
#pragma unroll
    for (int p = 0; p < 8; ++p) {
        const int at = first + own_pixel + p % 4 + p / 4 * 32;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            *reinterpret_cast<float4*>(&y[at * f + feature + own_feature + 32 * j]) =
                make_float4(sum[p][4 * j], sum[p][4 * j + 1], sum[p][4 * j + 2], sum[p][4 * j + 3]);
        }
    }
}
