// Which kernel a job runs on: the fast one of its size where there is one and it takes the job, else the generic one.
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "blocks/gpu/job.h"
#include "blocks/gpu/plain.h"
#include "runtime/gpu/backend.h"
#include "runtime/gpu/device_error.h"

namespace melisma::gpu {

template <std::size_t kSize>
void copy_text(char (&to)[kSize], const std::string& text) {
  std::snprintf(to, kSize, "%s", text.c_str());
}

// Kernels: a fast kernel's refuses(job, shared_limit), lines(job, shared_limit) of its table that take the job, the
// default first, and line_name(line); and the generic one's generic_kernel(job).
template <class Kernels, class Job>
void plan_job(const Job& job, const Choice& choice, Plan* plan) {
  const std::string refused = choice.path == Path::kGeneric ? "MELISMA_CUDA_PATH=generic asks for it"
                                                            : Kernels::refuses(job, choice.shared_limit);
  plan->fast = refused.empty();
  if (plan->fast) {
    const std::vector<int> lines = Kernels::lines(job, choice.shared_limit);
    const auto chosen = std::find(lines.begin(), lines.end(), choice.variant);
    plan->variant = chosen == lines.end() ? lines[0] : *chosen;
    plan->variants = static_cast<int>(lines.size());
    if (plan->describe) copy_text(plan->kernel, Kernels::line_name(plan->variant));
    return;
  }
  if (choice.path == Path::kFast) {
    throw DeviceError(Failure::kUnavailable,
                      "MELISMA_CUDA_PATH=fast, and the fast kernel does not take the call: " + refused);
  }
  plan->fallback = choice.path == Path::kAuto && Kernels::refuses(plain(job), choice.shared_limit).empty();
  if (plan->describe) copy_text(plan->kernel, Kernels::generic_kernel(job));
  copy_text(plan->reason, refused);
}

}  // namespace melisma::gpu
