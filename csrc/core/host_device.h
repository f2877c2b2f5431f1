// Marks functions that kernels on a device call, too.
#pragma once

#if defined(__CUDACC__)
#define PYCONV_HOST_DEVICE __host__ __device__
#else
#define PYCONV_HOST_DEVICE
#endif
