// Warnings, each text once. The handler may wait for another lock (Python's), so it is called with none of ours held.
#pragma once

#include <string>

namespace melisma {

// May be called under locks: keeps the text for the next tell_warnings.
void warn_later(const std::string& message);
void tell_warnings();

}  // namespace melisma
