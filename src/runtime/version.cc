#include "melisma/runtime.h"

#ifndef MELISMA_VERSION
#error "the build defines MELISMA_VERSION from the project's version"
#endif

namespace melisma {

const char* version() { return MELISMA_VERSION; }

}  // namespace melisma
