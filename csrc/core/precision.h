// Whether float32 sums keep to the definition ("strict"), or algorithms with a larger stated error
// may run: a mode of the process, and of the calling thread where it has set its own.
#pragma once

#include <optional>

namespace pyconv {

bool strict_float32();
void set_default_strict(bool strict);
void set_thread_strict(std::optional<bool> strict);

}  // namespace pyconv
