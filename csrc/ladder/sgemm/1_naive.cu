// One thread computes one element of C. Neighbouring threads (threadIdx.x) have neighbouring
// *rows*: each of their loads of A, and each store, touches a sector of 32 bytes for 4 bytes of
// use.
extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int m, int n, int k) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    const int column = blockIdx.y * blockDim.y + threadIdx.y;
    float sum = 0;
    for (int i = 0; i < k; ++i) sum += a[row * k + i] * b[i * n + column];
    c[row * n + column] = sum;
}
