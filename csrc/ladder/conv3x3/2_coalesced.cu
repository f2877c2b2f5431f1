// Neighbouring threads have neighbouring *features*, which lie side by side in w and y: a warp
// loads 128 bytes of weights in a row, and one value of x for all its lanes.
extern "C" __global__ void conv3x3(const float* x, const float* w, float* y, int n, int h, int wd,
                                   int c, int f) {
    const int feature = blockIdx.x * blockDim.x + threadIdx.x;
    const int pixel = blockIdx.y * blockDim.y + threadIdx.y;
    const int image = pixel / (h * wd), row = pixel / wd % h, column = pixel % wd;
    float sum = 0;
    for (int ky = 0; ky < 3; ++ky) {
        for (int kx = 0; kx < 3; ++kx) {
            const int iy = row + ky - 1, ix = column + kx - 1;
            if (iy < 0 || iy >= h || ix < 0 || ix >= wd) continue;
            for (int i = 0; i < c; ++i) {
                sum += x[((image * h + iy) * wd + ix) * c + i] *
                       w[((ky * 3 + kx) * c + i) * f + feature];
            }
        }
    }
    y[pixel * f + feature] = sum;
}
