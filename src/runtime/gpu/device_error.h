// What runners throw, and how it leaves a shared object as data.
#pragma once

#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "melisma/error.h"
#include "runtime/gpu/backend.h"

namespace melisma::gpu {

class DeviceError : public std::runtime_error {
 public:
  DeviceError(Failure failure, const std::string& message) : std::runtime_error(message), failure_(failure) {}
  Failure failure() const { return failure_; }

 private:
  Failure failure_;
};

// Calls f; what it throws goes into status.
template <class F>
void report(Status* status, const F& f) noexcept {
  const auto fail = [status](Failure failure, const char* message) {
    status->failure = failure;
    std::snprintf(status->message, sizeof(status->message), "%s", message);
  };
  try {
    f();
  } catch (const DeviceError& error) {
    fail(error.failure(), error.what());
  } catch (const Error& error) {
    fail(error.kind() == ErrorKind::kUnavailable ? Failure::kUnavailable : Failure::kArgument, error.what());
  } catch (const std::bad_alloc&) {
    fail(Failure::kMemory, "out of host memory");
  } catch (const std::exception& error) {
    fail(Failure::kDevice, error.what());
  } catch (...) {
    fail(Failure::kDevice, "unknown exception");
  }
}

}  // namespace melisma::gpu
