// The one way in which an operator uses threads.
#pragma once

#include <cstdint>
#include <functional>

namespace melisma {

// Calls body(i) once for each i in [0, n), on at most num_threads() threads; on the caller alone, in order, where that
// is one, n is one, or the caller is itself inside a parallel_for. An exception of a body is rethrown after all have
// stopped.
void parallel_for(std::int64_t n, const std::function<void(std::int64_t)>& body);

}  // namespace melisma
