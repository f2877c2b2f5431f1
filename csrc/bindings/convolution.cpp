#include "bindings/array.h"

namespace pyconv::bindings {

void register_convolution(py::module_& module) { (void)module; }

}  // namespace pyconv::bindings
