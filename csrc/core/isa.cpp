#include "core/isa.h"

#include <cstdlib>
#include <stdexcept>

namespace pyconv {

namespace {

std::vector<Isa> detect() {
    std::vector<Isa> found{Isa::generic};
#ifdef PYCONV_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        found.push_back(Isa::avx2);
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
            found.push_back(Isa::avx512);
        }
    }
#endif
    PYCONV_EMULATED(found.push_back(Isa::emulated512);)
    return found;
}

constexpr int kUnset = -1;
thread_local int thread_isa = kUnset;

}  // namespace

const char* isa_name(Isa isa) {
    switch (isa) {
        case Isa::avx2:
            return "avx2";
        case Isa::avx512:
            return "avx512";
        case Isa::emulated512:
            return "emulated512";
        default:
            return "generic";
    }
}

const std::vector<Isa>& available_isas() {
    static const std::vector<Isa> isas = detect();
    return isas;
}

Isa isa_by_name(const std::string& name) {
    std::string names;
    for (const Isa isa : available_isas()) {
        if (name == isa_name(isa)) return isa;
        names += names.empty() ? "" : ", ";
        names += isa_name(isa);
    }
    if (name == "avx2" || name == "avx512") {
        throw std::invalid_argument("this processor has no " + name + "; it can run " + names);
    }
    if (name == "emulated512") {
        throw std::invalid_argument(
            "emulated512 is in builds with PYCONV_EMULATION=ON; this one can run " + names);
    }
    throw std::invalid_argument("unknown instruction set '" + name + "'; there are " + names);
}

Isa default_isa() {
    static const Isa isa = [] {
        if (const char* name = std::getenv("PYCONV_ISA")) {
            try {
                return isa_by_name(name);
            } catch (const std::invalid_argument& error) {
                throw std::invalid_argument(std::string("PYCONV_ISA: ") + error.what());
            }
        }
        Isa best = Isa::generic;
        for (const Isa found : available_isas()) {
            if (found != Isa::emulated512) best = found;
        }
        return best;
    }();
    return isa;
}

bool stores_past_caches() {
#ifdef PYCONV_X86
    static const bool pays = [] {
        __builtin_cpu_init();
        return !__builtin_cpu_is("intel");
    }();
    return pays;
#else
    return false;
#endif
}

Isa current_isa() { return thread_isa == kUnset ? default_isa() : static_cast<Isa>(thread_isa); }
void set_thread_isa(Isa isa) { thread_isa = static_cast<int>(isa); }
void clear_thread_isa() { thread_isa = kUnset; }

}  // namespace pyconv
