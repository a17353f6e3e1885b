// Which SIMD targets this machine runs: see simd_targets() in melisma/runtime.h.
#pragma once

#include <string_view>

namespace melisma {

bool simd_target_exists(std::string_view name);

// Forces the target that MELISMA_SIMD names, if any. Cheap, runs once; before that, dispatch takes the best.
void apply_simd_option();

}  // namespace melisma
