// What is derived from a bank on the host, kept for the bank asked for last: one call after another asks for the
// same's.
#pragma once

#include <optional>

#include "melisma/filter_bank.h"

namespace melisma::gpu {

template <class Derived>
class OfLastBank {
 public:
  // make(): of the bank that has this fingerprint.
  template <class Make>
  const Derived& get(const FilterBank::Fingerprint& asked, const Make& make) {
    if (!derived_ || fingerprint_.first != asked.first || fingerprint_.second != asked.second) {
      derived_ = make();
      fingerprint_ = asked;
    }
    return *derived_;
  }

 private:
  FilterBank::Fingerprint fingerprint_;
  std::optional<Derived> derived_;
};

}  // namespace melisma::gpu
