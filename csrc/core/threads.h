// A small thread pool of our own: created at first use, sized by the affinity mask, alive after
// fork. Work is cut by the problem into tasks; which thread runs a task never changes a result.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

namespace pyconv {

// A reference to a callable: no allocation, valid while the callable lives.
template <class Signature>
class FunctionRef;

template <class Result, class... Args>
class FunctionRef<Result(Args...)> {
  public:
    template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, FunctionRef>>>
    FunctionRef(F&& f)  // NOLINT: implicit by design
        : object_(const_cast<void*>(static_cast<const void*>(&f))),
          call_([](void* object, Args... args) -> Result {
              return (*static_cast<std::remove_reference_t<F>*>(object))(
                  std::forward<Args>(args)...);
          }) {}
    Result operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

  private:
    void* object_;
    Result (*call_)(void*, Args...);
};

// Runs body(0) ... body(tasks - 1), each once, in any order, and returns when all are done.
// `microseconds` estimates the whole on one thread: short work stays on the caller. Calls from
// inside a task, and calls while another Python thread holds the pool, run on the caller alone.
// The first exception that a task throws is thrown again here.
void parallel_for(std::int64_t tasks, double microseconds, FunctionRef<void(std::int64_t)> body);

int thread_count();
void set_thread_count(int count);  // 1 .. 1024
int available_cores();             // by the affinity mask

// Denormals are flushed while a kernel runs; the mode of the thread comes back afterwards.
class FlushDenormals {
  public:
    FlushDenormals();
    ~FlushDenormals();
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

  private:
    unsigned long saved_;
};

}  // namespace pyconv
