// Neighbouring threads have neighbouring *columns*: a warp loads 128 bytes of B in a row, and one
// value of A that all its lanes share; it stores 128 bytes in a row. Nothing else has changed.
extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int m, int n, int k) {
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = 0;
    for (int i = 0; i < k; ++i) sum += a[row * k + i] * b[i * n + column];
    c[row * n + column] = sum;
}
