// Spectra to overlap-added samples.
#pragma once

#include "blocks/gpu/dispatch.h"
#include "blocks/gpu/fast_inverse.h"
#include "blocks/gpu/generic_inverse.h"

namespace melisma::gpu {

struct InverseKernels {
  static std::string refuses(const InverseJob& job, std::int64_t shared_limit) {
    return fast_inverse_refuses(job, shared_limit);
  }
  static std::vector<int> lines(const InverseJob& job, std::int64_t shared_limit) {
    return fast_inverse_indices(job, shared_limit);
  }
  static std::string line_name(int line) { return fast_inverse_variant_name(line); }
  static std::string generic_kernel(const InverseJob& job) { return generic_inverse_kernel(job); }
};

template <class Runner>
void run_inverse(const InverseJob& job, const Plan& plan, Runner& runner) {
  if (plan.fast) return run_fast_inverse_line(job, runner, plan.variant);
  run_generic_inverse(job, runner);
}

}  // namespace melisma::gpu
