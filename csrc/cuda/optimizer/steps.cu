#include <cmath>
#include <string>

#include "cuda/optimizer/segments.cuh"

namespace pyconv::cuda {

namespace {

// The rules, for one element: parameter, gradient, first and second moment. Fused multiply-adds are
// written out, so that the bits are those of the CPU.
template <bool kMomentum>
struct Sgd {
    static constexpr bool kFirst = kMomentum, kSecond = false, kGradient = true;
    float lr, momentum, undamped, weight_decay;
    bool nesterov;

    __device__ void operator()(float& p, float g, float& v, float&) const {
        if (weight_decay != 0) g = fmaf(weight_decay, p, g);
        if (kMomentum) {
            v = fmaf(momentum, v, __fmul_rn(undamped, g));
            g = nesterov ? fmaf(momentum, v, g) : v;
        }
        p = fmaf(-lr, g, p);
    }
};

struct Adam {
    static constexpr bool kFirst = true, kSecond = true, kGradient = true;
    float beta1, rest1, beta2, rest2, eps, step, correction, weight_decay, shrink;

    __device__ void operator()(float& p, float g, float& m, float& v) const {
        if (weight_decay != 0) g = fmaf(weight_decay, p, g);
        p = __fmul_rn(shrink, p);
        m = fmaf(beta1, m, __fmul_rn(rest1, g));
        v = fmaf(beta2, v, __fmul_rn(__fmul_rn(rest2, g), g));
        p = __fsub_rn(p, __fdiv_rn(__fmul_rn(step, m), fmaf(__fsqrt_rn(v), correction, eps)));
    }
};

struct Scale {
    static constexpr bool kFirst = false, kSecond = false, kGradient = false;
    const float* factor;

    __device__ void operator()(float& p, float, float&, float&) const { p *= *factor; }
};

template <class Rule>
__global__ void __launch_bounds__(kThreads)
    step_kernel(const __grid_constant__ Table table, const Rule rule) {
    const Part part = part_of_block(table);
    const Segment& s = part.segment;
    over_part(part, [&](auto width, std::int64_t i) {
        constexpr int N = decltype(width)::value;
        Pack<float, N> p = load_pack<N>(s.parameter + i), g = p, m = p, v = p;
        if (Rule::kGradient) g = load_pack<N>(s.gradient + i);
        if (Rule::kFirst) m = load_pack<N>(s.first + i);
        if (Rule::kSecond) v = load_pack<N>(s.second + i);
#pragma unroll
        for (int j = 0; j < N; ++j) rule(p.value[j], g.value[j], m.value[j], v.value[j]);
        store_pack<N>(s.parameter + i, p);
        if (Rule::kFirst) store_pack<N>(s.first + i, m);
        if (Rule::kSecond) store_pack<N>(s.second + i, v);
    });
}

template <class Rule>
void launch(const char* name, const std::vector<Segment>& segments, const Rule& rule,
            cudaStream_t stream) {
    over_tables(segments, [&](const Table& table, int blocks) {
        step_kernel<Rule><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(table, rule);
        check_launch(
            name, std::to_string(table.count) + " arrays, " + std::to_string(blocks) + " blocks");
    });
}

}  // namespace

void sgd_step(const std::vector<Segment>& segments, const SgdSettings& s, cudaStream_t stream) {
    const auto run = [&](auto rule) {
        rule.lr = static_cast<float>(s.lr);
        rule.momentum = static_cast<float>(s.momentum);
        rule.undamped = static_cast<float>(1 - s.dampening);
        rule.weight_decay = static_cast<float>(s.weight_decay);
        rule.nesterov = s.nesterov;
        launch("sgd_step", segments, rule, stream);
    };
    if (s.momentum != 0) {
        run(Sgd<true>{});
    } else {
        run(Sgd<false>{});
    }
}

void adam_step(const std::vector<Segment>& segments, const AdamSettings& s, cudaStream_t stream) {
    const double steps = static_cast<double>(s.step);
    Adam rule;
    rule.beta1 = static_cast<float>(s.beta1);
    rule.rest1 = static_cast<float>(1 - s.beta1);
    rule.beta2 = static_cast<float>(s.beta2);
    rule.rest2 = static_cast<float>(1 - s.beta2);
    rule.eps = static_cast<float>(s.eps);
    rule.step = static_cast<float>(s.lr / (1 - std::pow(s.beta1, steps)));
    rule.correction = static_cast<float>(1 / std::sqrt(1 - std::pow(s.beta2, steps)));
    rule.weight_decay = static_cast<float>(s.decoupled ? 0 : s.weight_decay);
    rule.shrink = static_cast<float>(s.decoupled ? 1 - s.lr * s.weight_decay : 1);
    launch("adam_step", segments, rule, stream);
}

void scale(const std::vector<Segment>& segments, const float* factor, cudaStream_t stream) {
    launch("scale", segments, Scale{factor}, stream);
}

}  // namespace pyconv::cuda
