// Spectra to overlap-added samples: spectra that are given, or those of a signal times the gradient of what was made of
// them.
#pragma once

#include "blocks/gpu/dispatch.h"
#include "blocks/gpu/fast_gradient.h"
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

struct GradientKernels {
  static std::string refuses(const InverseJob& job, std::int64_t shared_limit) {
    return fast_gradient_refuses(job, shared_limit);
  }
  static std::vector<int> lines(const InverseJob& job, std::int64_t shared_limit) {
    return fast_gradient_indices(job, shared_limit);
  }
  static std::string line_name(int line) { return fast_gradient_variant_name(line); }
  static std::string generic_kernel(const InverseJob& job) { return generic_inverse_kernel(job); }
};

inline void plan_inverse(const InverseJob& job, const Choice& choice, Plan* plan) {
  if (computes_again(job)) return plan_job<GradientKernels>(job, choice, plan);
  plan_job<InverseKernels>(job, choice, plan);
}

template <class Runner>
void run_inverse(const InverseJob& job, const Plan& plan, Runner& runner) {
  if (!plan.fast) return run_generic_inverse(job, runner);
  if (computes_again(job)) return run_fast_gradient_line(job, runner, plan.variant);
  run_fast_inverse_line(job, runner, plan.variant);
}

}  // namespace melisma::gpu
