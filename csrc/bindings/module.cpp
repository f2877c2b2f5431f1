// Registration only.
#define PYCONV_IMPORT_ARRAY
#include <pybind11/stl.h>

#include "bindings/array.h"
#include "core/isa.h"
#include "core/precision.h"

namespace py = pybind11;
using namespace pyconv;  // NOLINT

PYBIND11_MODULE(_cpu, module) {
    if (_import_array() < 0) throw py::error_already_set();
    module.doc() = "Compiled kernels for NumPy arrays. Arguments are checked in pyconv.kernels.";

    default_isa();  // an unusable PYCONV_ISA is an error at import
    module.def("available_isas", [] {
        std::vector<std::string> names;
        for (const Isa isa : available_isas()) names.emplace_back(isa_name(isa));
        return names;
    });
    module.def("current_isa", [] { return isa_name(current_isa()); });
    module.def("set_thread_isa", [](const py::object& name) {
        if (name.is_none()) {
            clear_thread_isa();
        } else {
            set_thread_isa(isa_by_name(name.cast<std::string>()));
        }
    });
    module.def("strict_float32", &strict_float32);
    module.def("set_default_strict", &set_default_strict);
    module.def("set_thread_strict", &set_thread_strict);
    module.def("set_thread_count", &set_thread_count);
    module.def("thread_count", &thread_count);
    module.def("available_cores", &available_cores);
    module.def("pool_trim", &pool_trim);
    module.def("pool_statistics", [] {
        const PoolStatistics s = pool_statistics();
        return py::dict(py::arg("live") = s.live, py::arg("cached") = s.cached,
                        py::arg("high_water") = s.high_water);
    });
    module.attr("compiler") = __VERSION__;

    bindings::register_dense(module);
    bindings::register_convolution(module);
    bindings::register_pooling(module);
    bindings::register_normalization(module);
    bindings::register_activation(module);
    bindings::register_loss(module);
    bindings::register_resample(module);
    bindings::register_optimizer(module);
    bindings::register_dropout(module);
}
