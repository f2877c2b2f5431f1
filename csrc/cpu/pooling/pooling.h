// Pools, and all operations whose outputs are weighted sums of cells, on channels-last images.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "cpu/pooling/axis.h"

namespace pyconv {

// y = the sum over an output's cells, weighted and divided along both axes.
template <class T>
void gather_sums(Isa isa, const Axis& rows, const Axis& columns, std::int64_t images,
                 std::int64_t channels, const T* x, T* y);

// y = the largest cell of every window, and where it lies in its plane; -inf and -1 where there is
// none. With `relu` y = max(y, 0), and -1 where that is 0. `index` may be null; int32 or int64.
template <class T, class Index>
void max_pool(Isa isa, const Axis& rows, const Axis& columns, std::int64_t images,
              std::int64_t channels, const T* x, T* y, Index* index, bool relu);

// dx = the sum of dy over the windows that a cell won. `rows` and `columns` are the forward's. The
// int32 indices are for planes of less than 2^31 cells.
template <class T, class Index>
void max_pool_backward(Isa isa, const Axis& rows, const Axis& columns, std::int64_t images,
                       std::int64_t channels, const T* dy, const Index* index, T* dx);

}  // namespace pyconv
