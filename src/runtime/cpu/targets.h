// The SIMD targets that we build and test. Include before anything of Highway's.
//
// SVE is left out because its vectors have no size at compile time and the transforms keep arrays of vectors in
// registers; SSSE3 and the AVX-512 sub-variants because they would only add build time.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
