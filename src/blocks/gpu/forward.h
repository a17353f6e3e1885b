// Frames to spectra, powers or bands.
#pragma once

#include "blocks/gpu/dispatch.h"
#include "blocks/gpu/fast_forward.h"
#include "blocks/gpu/generic_forward.h"

namespace melisma::gpu {

struct ForwardKernels {
  static std::string refuses(const ForwardJob& job, std::int64_t shared_limit) {
    return fast_forward_refuses(job, shared_limit);
  }
  static std::vector<int> lines(const ForwardJob& job, std::int64_t shared_limit) {
    return fast_forward_indices(job, shared_limit);
  }
  static std::string line_name(int line) { return fast_forward_variant_name(line); }
  static std::string generic_kernel(const ForwardJob& job) { return generic_forward_kernel(job); }
};

template <class Runner>
void run_forward(const ForwardJob& job, const Plan& plan, Runner& runner) {
  if (plan.fast) return run_fast_forward_line(job, runner, plan.variant);
  run_generic_forward(job, runner);
}

}  // namespace melisma::gpu
