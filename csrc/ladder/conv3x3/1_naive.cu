// One thread computes one pixel of one feature, by the formula. Neighbouring threads have
// neighbouring *pixels*: their loads of x and their stores are C and F values apart.
extern "C" __global__ void conv3x3(const float* x, const float* w, float* y, int n, int h, int wd,
                                   int c, int f) {
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    const int feature = blockIdx.y * blockDim.y + threadIdx.y;
    const int image = pixel / (h * wd), row = pixel / wd % h, column = pixel % wd;
    float sum = 0;
    for (int ky = 0; ky < 3; ++ky) {
        for (int kx = 0; kx < 3; ++kx) {
            const int iy = row + ky - 1, ix = column + kx - 1;
            if (iy < 0 || iy >= h || ix < 0 || ix >= wd) continue;  // padding
            for (int i = 0; i < c; ++i) {
                sum += x[((image * h + iy) * wd + ix) * c + i] *
                       w[((ky * 3 + kx) * c + i) * f + feature];
            }
        }
    }
    y[pixel * f + feature] = sum;
}
