#include "blocks/gpu/run.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "blocks/gpu/fast_forward.h"
#include "blocks/gpu/fast_gradient.h"
#include "blocks/gpu/fast_inverse.h"
#include "blocks/gpu/job_trial.h"
#include "blocks/gpu/variant.h"
#include "melisma/error.h"
#include "runtime/gpu/backend.h"
#include "runtime/options.h"
#include "runtime/registry.h"
#include "runtime/tuning/tuned.h"
#include "runtime/warning.h"

namespace melisma::gpu {
namespace {

// The counters keep the addresses of their texts, and a reason may hold a number: so each text is kept once, and beyond
// a few of them all others are one.
const char* kept(const char* reason) {
  constexpr std::size_t kMost = 64;
  static std::mutex mutex;
  static std::set<std::string, std::less<>>* const texts = new std::set<std::string, std::less<>>;
  const std::lock_guard lock(mutex);
  const auto found = texts->find(reason);
  if (found != texts->end()) return found->c_str();
  return texts->size() < kMost ? texts->insert(reason).first->c_str()
                               : "the fast kernel does not take it (see explain)";
}

// The caller's workspace callback may throw, which must not pass through the other shared object.
struct GuardedQueue {
  const Queue& inner;
  std::exception_ptr thrown;
  Queue queue;

  explicit GuardedQueue(const Queue& given) : inner(given), queue(given) {
    if (given.workspace == nullptr) return;
    queue.context = this;
    queue.workspace = [](void* context, std::size_t bytes) -> void* {
      auto* self = static_cast<GuardedQueue*>(context);
      try {
        return self->inner.workspace(self->inner.context, bytes);
      } catch (...) {
        self->thrown = std::current_exception();
        return nullptr;
      }
    };
  }
  GuardedQueue(const GuardedQueue&) = delete;
  GuardedQueue& operator=(const GuardedQueue&) = delete;
};

void raise(const char* op, const Status& status, const std::exception_ptr& thrown = nullptr) {
  const std::string text = std::string(op) + ": " + status.message;
  switch (status.failure) {
    case Failure::kNone: return;
    case Failure::kWorkspace:
      if (thrown) std::rethrow_exception(thrown);
      throw Error(ErrorKind::kOutOfMemory, text);
    case Failure::kMemory: throw Error(ErrorKind::kOutOfMemory, text);
    case Failure::kArgument: throw Error(ErrorKind::kInvalidArgument, text);
    case Failure::kUnavailable:
    case Failure::kDevice: throw Error(ErrorKind::kUnavailable, text);
  }
}

template <class Job>
auto functions_of(const Backend& backend) {
  if constexpr (std::is_same_v<Job, ForwardJob>) return std::pair(backend.plan_forward, backend.forward);
  if constexpr (std::is_same_v<Job, InverseJob>) return std::pair(backend.plan_inverse, backend.inverse);
  if constexpr (std::is_same_v<Job, WindowJob>) return std::pair(backend.plan_window, backend.window);
  if constexpr (std::is_same_v<Job, ConvForwardJob>) return std::pair(backend.plan_conv_forward, backend.conv_forward);
  if constexpr (std::is_same_v<Job, ConvBackwardJob>) {
    return std::pair(backend.plan_conv_backward, backend.conv_backward);
  }
  if constexpr (std::is_same_v<Job, ConvUpdateJob>) return std::pair(backend.plan_conv_update, backend.conv_update);
}

DeviceInfo ask_info(const char* op, const Backend& backend, Device device) {
  DeviceInfo info;
  Status status;
  backend.device_info(device.index, &info, &status);
  raise(op, status);
  return info;
}

// Of a CUDA device asked for once, for the driver takes its time.
const DeviceInfo& info_of(const char* op, const Backend& backend, Device device) {
  constexpr int kKept = 64;
  static DeviceInfo kept[kKept];
  static std::once_flag asked[kKept];
  thread_local DeviceInfo other;
  if (device.type != DeviceType::kCuda || device.index < 0 || device.index >= kKept) {
    return other = ask_info(op, backend, device);
  }
  DeviceInfo& info = kept[device.index];
  std::call_once(asked[device.index], [&] { info = ask_info(op, backend, device); });  // what throws is asked again
  return info;
}

std::vector<int> lines_of(const ForwardJob& job, const DeviceInfo& info) {
  return fast_forward_indices(job, info.shared_limit);
}
std::vector<int> lines_of(const InverseJob& job, const DeviceInfo& info) {
  return job.x.data != nullptr ? fast_gradient_indices(job, info.shared_limit)
                               : fast_inverse_indices(job, info.shared_limit);
}

template <class Job>
Plan planned(const char* op, const Backend& backend, const Job& job, const Choice& choice, bool describe = false) {
  Status status;
  Plan plan;
  plan.describe = describe;
  functions_of<Job>(backend).first(job, choice, &plan, &status);
  raise(op, status);
  return plan;
}

// With the variant that is chosen for the job, timed first where that is asked for.
template <class Job>
Plan plan_call(const char* op, const Backend& backend, Device device, const Job& job, const Queue& queue) {
  const DeviceInfo& info = info_of(op, backend, device);
  const JobClass job_class = class_of(job, device);
  const std::uint32_t generation = tuning_generation.load(std::memory_order_acquire);
  Choice choice{options().cuda_path, -1, info.shared_limit};
  const Variant* const remembered = remembered_variant(job_class);
  if (remembered != nullptr) choice.variant = remembered->line;
  Plan plan = planned(op, backend, job, choice);
  if (remembered != nullptr || !plan.fast) return plan;

  const GuardedQueue guarded(queue);
  JobTrial trial(backend, functions_of<Job>(backend).second, job, plan, device.index, guarded.queue);
  const Trial asked = trial.trial();
  const Variant variant = choose_variant(op, job_class, lines_of(job, info), info, &asked);
  remember_variant(job_class, variant, generation);
  plan.variant = variant.line;
  tell_warnings();
  return plan;
}

// Jobs whose kernels have no variants.
template <class Job>
inline constexpr bool kNoVariants = std::is_same_v<Job, WindowJob> || std::is_same_v<Job, ConvForwardJob> ||
                                    std::is_same_v<Job, ConvBackwardJob> || std::is_same_v<Job, ConvUpdateJob>;

template <class Job>
void run_job(const char* op, Device device, const Job& job, const Queue& queue) {
  const Backend& backend = gpu_backend(op, device);
  Plan plan;
  if constexpr (kNoVariants<Job>) {
    plan = planned(op, backend, job, {options().cuda_path});
  } else {
    plan = plan_call(op, backend, device, job, queue);
  }
  if (plan.fallback) {
    count_call(op, backend.generic_name, kept(plan.reason));
  } else {
    count_call(op, plan.fast ? backend.name : backend.generic_name);
  }
  GuardedQueue guarded(queue);
  Status status;
  functions_of<Job>(backend).second(job, plan, device.index, guarded.queue, &status);
  raise(op, status, guarded.thrown);
}

template <class Job>
Explanation explain_job(const char* op, Device device, const Job& job) {
  const Backend& backend = gpu_backend(op, device);
  const DeviceInfo& info = info_of(op, backend, device);
  const Plan plan = planned(op, backend, job, {options().cuda_path, -1, info.shared_limit}, true);
  if (!plan.fast) return {backend.name, plan.kernel, plan.reason};
  const JobClass job_class = class_of(job, device);
  const Variant variant = choose_variant(op, job_class, lines_of(job, info), info, nullptr);
  tell_warnings();
  return {backend.name, table_of(job_class).name(variant.line), text_of(variant, job_class, plan.variants)};
}

}  // namespace

void run(const char* op, Device device, const ForwardJob& job, const Queue& queue) { run_job(op, device, job, queue); }
void run(const char* op, Device device, const InverseJob& job, const Queue& queue) { run_job(op, device, job, queue); }
void run(const char* op, Device device, const WindowJob& job, const Queue& queue) { run_job(op, device, job, queue); }
void run(const char* op, Device device, const ConvForwardJob& job, const Queue& queue) {
  run_job(op, device, job, queue);
}
void run(const char* op, Device device, const ConvBackwardJob& job, const Queue& queue) {
  run_job(op, device, job, queue);
}
void run(const char* op, Device device, const ConvUpdateJob& job, const Queue& queue) {
  run_job(op, device, job, queue);
}

Explanation explain(const char* op, Device device, const ForwardJob& job) { return explain_job(op, device, job); }
Explanation explain(const char* op, Device device, const InverseJob& job) { return explain_job(op, device, job); }
Explanation explain(const char* op, Device device, const ConvForwardJob& job) {
  const Backend& backend = gpu_backend(op, device);
  const Plan plan = planned(op, backend, job, {options().cuda_path}, true);
  return {backend.name, plan.kernel, plan.reason};
}

}  // namespace melisma::gpu
