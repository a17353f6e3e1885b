// One call of an operator with parameters, shapes and strides taken from bytes; shared by libFuzzer and GoogleTest.
#pragma once

#include <cstddef>
#include <cstdint>

namespace melisma::fuzz {

// Either the call succeeds and has written nothing outside its result, or it throws Error. Anything else aborts.
// Returns whether an operator ran.
bool call_with_parameters(const std::uint8_t* bytes, std::size_t size);

}  // namespace melisma::fuzz
