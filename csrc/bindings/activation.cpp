#include "bindings/array.h"

namespace pyconv::bindings {

void register_activation(py::module_& module) { (void)module; }

}  // namespace pyconv::bindings
