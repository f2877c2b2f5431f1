#include "cpu/simd/vector.h"
