// The gradient of the window.
#pragma once

#include "blocks/gpu/dispatch.h"
#include "blocks/gpu/generic_window.h"

namespace melisma::gpu {

inline void plan_window(const WindowJob& job, Plan* plan) {
  plan->fast = true;  // there is but one
  if (plan->describe) copy_text(plan->kernel, generic_window_kernel(job));
}

template <class Runner>
void run_window(const WindowJob& job, Runner& runner) {
  run_generic_window(job, runner);
}

}  // namespace melisma::gpu
