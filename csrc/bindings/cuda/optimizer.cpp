#include "cuda/optimizer/optimizer.h"

#include <deque>

#include "bindings/cuda/array.h"

namespace pyconv::bindings {

namespace {

// The arrays as segments. The parameter's order is that of all four; what lies otherwise is copied
// there and, where it changes, back.
class Segments {
  public:
    // Each list is a Python list of as many arrays, or None.
    Segments(const py::list& parameters, py::handle gradients, py::handle first, py::handle second,
             Call& call)
        : call_(call) {
        const auto item = [](py::handle list, py::ssize_t i) {
            return list.is_none() ? py::handle() : py::handle(PyList_GET_ITEM(list.ptr(), i));
        };
        for (py::ssize_t i = 0; i < PyList_GET_SIZE(parameters.ptr()); ++i) {
            const py::handle parameter = item(parameters, i), gradient = item(gradients, i);
            const AxisOrder order =
                gradient ? common_order({parameter, gradient}) : common_order({parameter});
            cuda::Segment segment;
            segment.n = Shape::of(parameter).size();
            segment.parameter = in_place(parameter, order);
            if (gradient) segment.gradient = dense<float>(gradient, order, call);
            segment.first = in_place(item(first, i), order);
            segment.second = in_place(item(second, i), order);
            list.push_back(segment);
        }
    }
    // Arrays that are only read.
    Segments(const py::list& arrays, Call& call) : call_(call) {
        for (const py::handle array : arrays) {
            cuda::Segment segment;
            segment.n = Shape::of(array).size();
            segment.gradient = dense<float>(array, common_order({array}), call);
            list.push_back(segment);
        }
    }
    void finish() {
        for (auto& array : changed_) array.finish();
    }

    std::vector<cuda::Segment> list;

  private:
    float* in_place(py::handle array, const AxisOrder& order) {
        return array ? changed_.emplace_back(array, order, call_).data() : nullptr;
    }

    Call& call_;
    std::deque<InPlace<float>> changed_;
};

py::handle first_of(const py::list& arrays) { return PyList_GET_ITEM(arrays.ptr(), 0); }

void sgd_step_binding(const py::list& parameters, const py::list& gradients, py::handle momenta,
                      double lr, double momentum, double dampening, bool nesterov,
                      double weight_decay) {
    Call call(first_of(parameters));
    Segments segments(parameters, gradients, momenta, py::none(), call);
    cuda::sgd_step(segments.list, {lr, momentum, dampening, weight_decay, nesterov}, call.stream());
    segments.finish();
}

void adam_step_binding(const py::list& parameters, const py::list& gradients, py::handle first,
                       py::handle second, std::int64_t step, double lr, double beta1, double beta2,
                       double eps, double weight_decay, bool decoupled) {
    Call call(first_of(parameters));
    Segments segments(parameters, gradients, first, second, call);
    cuda::adam_step(segments.list, {lr, beta1, beta2, eps, weight_decay, decoupled, step},
                    call.stream());
    segments.finish();
}

// An array of float64 without axes.
py::object power_sum_binding(const py::list& arrays, double order) {
    Call call(first_of(arrays));
    const Segments segments(arrays, call);
    Result<double> sum({}, Order::c, call);
    cuda::power_sum(segments.list, order, sum.data(), call.allocator(), call.stream());
    return sum.finish();
}

// `factor` is an array of float32 without axes.
void scale_binding(const py::list& arrays, py::handle factor) {
    Call call(first_of(arrays));
    Segments segments(arrays, py::none(), py::none(), py::none(), call);
    cuda::scale(segments.list, dense<float>(factor, Order::c, call), call.stream());
    segments.finish();
}

}  // namespace

void register_optimizer(py::module_& module) {
    module.def("sgd_step", &sgd_step_binding);
    module.def("adam_step", &adam_step_binding);
    module.def("power_sum", &power_sum_binding);
    module.def("scale", &scale_binding);
}

}  // namespace pyconv::bindings
