// Depthwise convolutions, which have kernels of their own in every storage type.
#pragma once

#include <array>
#include <string>

#include "bindings/cuda/array.h"

namespace pyconv::bindings {

// Whether they run; "auto" prefers them. An error where they are asked for and can't.
bool runs_depthwise(std::int64_t in_channels, std::int64_t out_channels, py::handle geometry,
                    const std::string& algorithm);

py::object depthwise_conv2d(py::handle x, py::handle weight, py::handle bias, py::handle residual,
                            py::handle geometry, int activation, double slope, py::handle out);
py::object depthwise_backward_input(py::handle dy, py::handle weight, py::handle bias,
                                    const std::array<std::int64_t, 4>& shape, py::handle geometry,
                                    int activation, double slope, py::handle out);
py::object depthwise_backward_weight(py::handle dy, py::handle x,
                                     const std::array<std::int64_t, 4>& shape, py::handle geometry,
                                     py::handle out);

}  // namespace pyconv::bindings
