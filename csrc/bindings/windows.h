// The windows of a pool as Python hands them on; for both backends.
#pragma once

#include "bindings/images.h"
#include "core/pooling.h"

namespace pyconv::bindings {

// Kernel, stride, padding (top, bottom, left, right), dilation and ceil_mode, as Python hands them.
struct Windows {
    PoolAxis rows, columns;

    Windows(py::handle tuple, const Images& x) {
        const auto item = [&](int i) {
            return PyLong_AsLongLong(PyTuple_GET_ITEM(tuple.ptr(), i));
        };
        const bool ceil_mode = item(10) != 0;
        rows = {x.height, 0, item(4), item(5), item(0), item(2), item(8)};
        columns = {x.width, 0, item(6), item(7), item(1), item(3), item(9)};
        for (PoolAxis* a : {&rows, &columns}) {
            a->outputs = pool_output_size(a->size, a->before, a->after, a->kernel, a->stride,
                                          a->dilation, ceil_mode);
        }
    }
};

}  // namespace pyconv::bindings
