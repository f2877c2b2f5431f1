// The instruction sets that the micro-kernels are compiled for, and the one that runs.
#pragma once

#include <string>
#include <vector>

namespace pyconv {

enum class Isa { generic, avx2, avx512, emulated512 };

const char* isa_name(Isa isa);
// What this processor can run, best last but for emulated512, which is for tests.
const std::vector<Isa>& available_isas();
// By its name; throws std::invalid_argument that says what there is.
Isa isa_by_name(const std::string& name);

// The calling thread's choice: the one set for it, else PYCONV_ISA's, else the best.
Isa current_isa();
void set_thread_isa(Isa isa);
void clear_thread_isa();
// Whether a core writes faster past its caches than through them where a result is large. Intel's
// servers don't: a core has few such writes under way.
bool stores_past_caches();
// Reads PYCONV_ISA; throws std::invalid_argument where the processor can't.
Isa default_isa();

}  // namespace pyconv

#if defined(__x86_64__) || defined(_M_X64)
#define PYCONV_X86 1
#define PYCONV_ON_X86(...) __VA_ARGS__
#else
#define PYCONV_ON_X86(...)
#endif
// emulated512, the source of avx512 once more, is in builds that are tested.
#ifdef PYCONV_EMULATION
#define PYCONV_EMULATED(...) __VA_ARGS__
#else
#define PYCONV_EMULATED(...)
#endif

// Declares the table of a family's micro-kernels for each instruction set, and NAME(isa) that
// finds it. KERNELS is a class template over the element type.
#define PYCONV_KERNEL_TABLE(KERNELS, NAME)                                            \
    PYCONV_KERNEL_TABLE_OF(generic, KERNELS, NAME)                                    \
    PYCONV_ON_X86(PYCONV_KERNEL_TABLE_OF(avx2, KERNELS, NAME)                         \
                      PYCONV_KERNEL_TABLE_OF(avx512, KERNELS, NAME))                  \
    PYCONV_EMULATED(PYCONV_KERNEL_TABLE_OF(emulated512, KERNELS, NAME))               \
    template <class T>                                                                \
    const KERNELS<T>& NAME(Isa isa) {                                                 \
        T* const type = nullptr;                                                      \
        switch (isa) {                                                                \
            PYCONV_ON_X86(case Isa::avx2 : return *avx2::NAME(type);)                 \
            PYCONV_ON_X86(case Isa::avx512 : return *avx512::NAME(type);)             \
            PYCONV_EMULATED(case Isa::emulated512 : return *emulated512::NAME(type);) \
            default:                                                                  \
                return *generic::NAME(type);                                          \
        }                                                                             \
    }
#define PYCONV_KERNEL_TABLE_OF(ISA, KERNELS, NAME) \
    namespace ISA {                                \
    const KERNELS<float>* NAME(float*);            \
    const KERNELS<double>* NAME(double*);          \
    }
