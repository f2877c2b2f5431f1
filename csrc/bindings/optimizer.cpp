#include "cpu/optimizer/optimizer.h"

#include <cmath>
#include <deque>

#include "bindings/flat.h"

namespace pyconv::bindings {

namespace {

// The arrays of one type as segments. The parameter's order is that of all four; what lies
// otherwise is copied there and, where it changes, back.
template <class T>
class Segments {
  public:
    explicit Segments(Scratch& scratch) : scratch_(scratch) {}

    void add(py::handle parameter, py::handle gradient, py::handle first, py::handle second) {
        const AxisOrder order = common_order({parameter, gradient});
        Segment<T> segment;
        segment.n = Shape::of(parameter).size();
        segment.parameter = in_place(parameter, order);
        segment.gradient = dense<T>(gradient, order, scratch_);
        if (first) segment.first = in_place(first, order);
        if (second) segment.second = in_place(second, order);
        list.push_back(segment);
    }
    void add(py::handle array) {
        Segment<T> segment;
        segment.n = Shape::of(array).size();
        segment.gradient = dense<T>(array, order_of(array), scratch_);
        list.push_back(segment);
    }
    void finish() {
        for (auto& array : changed_) array.finish();
    }

    std::vector<Segment<T>> list;

  private:
    T* in_place(py::handle array, const AxisOrder& order) {
        if (lies_dense(array, dense_strides(Shape::of(array), order, sizeof(T)))) {
            return static_cast<T*>(PyArray_DATA(as_array(array)));
        }
        return changed_.emplace_back(array, order, scratch_).data();
    }

    Scratch& scratch_;
    std::deque<FlatInPlace<T>> changed_;
};

// Arrays of both types; each list is a Python list of as many, or None.
struct Lists {
    Scratch scratch;
    Segments<float> floats{scratch};
    Segments<double> doubles{scratch};

    Lists(const py::list& parameters, const py::list& gradients, py::handle first,
          py::handle second) {
        const auto item = [](py::handle list, py::ssize_t i) {
            return list.is_none() ? py::handle() : py::handle(PyList_GET_ITEM(list.ptr(), i));
        };
        for (py::ssize_t i = 0; i < PyList_GET_SIZE(parameters.ptr()); ++i) {
            const py::handle parameter = item(parameters, i);
            const py::handle gradient = item(gradients, i);
            if (type_of(parameter) == NPY_FLOAT32) {
                floats.add(parameter, gradient, item(first, i), item(second, i));
            } else {
                doubles.add(parameter, gradient, item(first, i), item(second, i));
            }
        }
    }
    explicit Lists(const py::list& arrays) {
        for (const py::handle array : arrays) {
            if (type_of(array) == NPY_FLOAT32) {
                floats.add(array);
            } else {
                doubles.add(array);
            }
        }
    }
    void finish() {
        floats.finish();
        doubles.finish();
    }
};

void sgd_step_binding(const py::list& parameters, const py::list& gradients, py::handle momenta,
                      double lr, double momentum, double dampening, bool nesterov,
                      double weight_decay) {
    Lists lists(parameters, gradients, momenta, py::none());
    const SgdSettings settings{lr, momentum, dampening, weight_decay, nesterov};
    {
        Running running;
        sgd_step(current_isa(), lists.floats.list, settings);
        sgd_step(current_isa(), lists.doubles.list, settings);
    }
    lists.finish();
}

void adam_step_binding(const py::list& parameters, const py::list& gradients, py::handle first,
                       py::handle second, std::int64_t step, double lr, double beta1, double beta2,
                       double eps, double weight_decay, bool decoupled) {
    Lists lists(parameters, gradients, first, second);
    const AdamSettings settings{lr, beta1, beta2, eps, weight_decay, decoupled, step};
    {
        Running running;
        adam_step(current_isa(), lists.floats.list, settings);
        adam_step(current_isa(), lists.doubles.list, settings);
    }
    lists.finish();
}

double power_sum_binding(const py::list& arrays, double order) {
    const Lists lists(arrays);
    Running running;
    const double floats = power_sum(current_isa(), lists.floats.list, order);
    const double doubles = power_sum(current_isa(), lists.doubles.list, order);
    if (!std::isinf(order)) return floats + doubles;
    return floats > doubles || std::isnan(floats) ? floats : doubles;
}

}  // namespace

void register_optimizer(py::module_& module) {
    module.def("sgd_step", &sgd_step_binding);
    module.def("adam_step", &adam_step_binding);
    module.def("power_sum", &power_sum_binding);
}

}  // namespace pyconv::bindings
