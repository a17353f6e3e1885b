// libFuzzer's entry: `make fuzz`.
#include "parameters.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  melisma::fuzz::call_with_parameters(bytes, size);
  return 0;
}
