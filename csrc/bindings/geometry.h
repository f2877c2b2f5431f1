// The geometry of a convolution as Python hands it on; for both backends.
#pragma once

#include "bindings/shape.h"
#include "core/problem.h"

namespace pyconv::bindings {

// stride, padding (top, bottom, left, right) and dilation, as Python hands them on.
struct Geometry {
    std::int64_t stride_height, stride_width, top, bottom, left, right, dilation_height,
        dilation_width, groups;

    explicit Geometry(py::handle tuple) {
        std::int64_t* fields[] = {&stride_height,   &stride_width,   &top,   &bottom, &left, &right,
                                  &dilation_height, &dilation_width, &groups};
        for (int i = 0; i < 9; ++i) {
            *fields[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(tuple.ptr(), i));
        }
    }
};

inline ConvolutionProblem make_problem(const Shape& x, const Shape& weight, const Geometry& g) {
    ConvolutionProblem p;
    p.batch = x[0];
    p.in_channels = x[1];
    p.in_height = x[2];
    p.in_width = x[3];
    p.out_channels = weight[0];
    p.kernel_height = weight[2];
    p.kernel_width = weight[3];
    p.stride_height = g.stride_height;
    p.stride_width = g.stride_width;
    p.pad_top = g.top;
    p.pad_bottom = g.bottom;
    p.pad_left = g.left;
    p.pad_right = g.right;
    p.dilation_height = g.dilation_height;
    p.dilation_width = g.dilation_width;
    p.groups = g.groups;
    p.out_height = convolution_output_size(x[2], g.top, g.bottom, weight[2], g.stride_height,
                                           g.dilation_height);
    p.out_width =
        convolution_output_size(x[3], g.left, g.right, weight[3], g.stride_width, g.dilation_width);
    return p;
}

}  // namespace pyconv::bindings
