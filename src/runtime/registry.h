// What ran where: call counters that `melisma.call_counts()` shows, and strict mode.
#pragma once

namespace melisma {

// All three are string literals. reason is "" for the preferred kernel; otherwise why it was not taken.
void count_call(const char* op, const char* kernel, const char* reason = "");

}  // namespace melisma
