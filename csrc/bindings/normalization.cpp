#include "bindings/array.h"

namespace pyconv::bindings {

void register_normalization(py::module_& module) { (void)module; }

}  // namespace pyconv::bindings
