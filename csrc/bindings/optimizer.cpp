#include "bindings/array.h"

namespace pyconv::bindings {

void register_optimizer(py::module_& module) { (void)module; }

}  // namespace pyconv::bindings
