#include "bindings/array.h"

namespace pyconv::bindings {

void register_pooling(py::module_& module) { (void)module; }

}  // namespace pyconv::bindings
