// The one exception type of the library. Its kind decides the Python exception it becomes.
#pragma once

#include <stdexcept>
#include <string>

namespace melisma {

enum class ErrorKind {
  kInvalidArgument,  // a value, shape or size that the operator does not accept
  kInvalidType,      // a dtype or device that the operator does not accept
  kUnavailable,      // a backend that is not there, or a call in strict mode that would fall back
  kOutOfMemory,      // an allocation of the given size failed
};

// what() names operator, argument, limit and the value received: "stft: hop_length must be >= 1, got 0".
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace melisma
