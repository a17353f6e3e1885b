// The variant that set_variant or MELISMA_VARIANT asks for.
#pragma once

#include <string>

namespace melisma {

struct ForcedVariant {
  std::string variant;  // a name or a place; "" where none is forced
  const char* by;       // "set_variant", "MELISMA_VARIANT"
};
ForcedVariant forced_variant(const char* kernel);

}  // namespace melisma
