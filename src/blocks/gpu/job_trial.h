// Times the variants of one call, on its own tensors and stream.
#pragma once

#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "blocks/gpu/variant.h"
#include "melisma/queue.h"
#include "runtime/gpu/backend.h"

namespace melisma::gpu {

// The same working memory for every run: what the first asked for, the next ones are given in the same order.
class ReusedWorkspace {
 public:
  explicit ReusedWorkspace(const Queue& queue) : inner_(queue), queue_(queue) {
    if (queue.workspace == nullptr) return;
    queue_.context = this;
    queue_.workspace = [](void* context, std::size_t bytes) {
      return static_cast<ReusedWorkspace*>(context)->next(bytes);
    };
  }
  ReusedWorkspace(const ReusedWorkspace&) = delete;
  ReusedWorkspace& operator=(const ReusedWorkspace&) = delete;

  void start_again() { next_ = 0; }
  const Queue& queue() const { return queue_; }

 private:
  void* next(std::size_t bytes) {
    if (next_ == given_.size()) given_.emplace_back();
    auto& [size, memory] = given_[next_++];
    if (memory == nullptr || size < bytes) {
      memory = inner_.workspace(inner_.context, bytes);
      size = bytes;
    }
    return memory;
  }

  const Queue& inner_;
  Queue queue_;
  std::vector<std::pair<std::size_t, void*>> given_;
  std::size_t next_ = 0;
};

// queue: whose workspace does not throw.
template <class Job, class Launch>
class JobTrial {
 public:
  JobTrial(const Backend& backend, Launch launch, const Job& job, const Plan& plan, int device, const Queue& queue)
      : backend_(backend), launch_(launch), job_(job), plan_(plan), device_(device), workspace_(queue) {}

  Trial trial() {
    return {[this] { return capturing(); }, [this](int line) { return time(line); }};
  }

 private:
  static constexpr int kRuns = 4;  // in one time, so that a launch's share of the clock's grain is small

  bool capturing() {
    bool answer = true;
    Status status;
    backend_.capturing(device_, workspace_.queue(), &answer, &status);
    return answer || status.failure != Failure::kNone;
  }

  double time(int line) {
    plan_.variant = line;
    status_ = {};
    double microseconds = 0.0;
    Status timed;
    const auto run = [](void* self) { static_cast<JobTrial*>(self)->run(); };
    backend_.time(device_, workspace_.queue(), run, this, &microseconds, &timed);
    const bool failed = timed.failure != Failure::kNone || status_.failure != Failure::kNone;
    return failed ? std::numeric_limits<double>::infinity() : microseconds / kRuns;
  }

  void run() {
    for (int i = 0; i < kRuns && status_.failure == Failure::kNone; ++i) {
      workspace_.start_again();
      launch_(job_, plan_, device_, workspace_.queue(), &status_);
    }
  }

  const Backend& backend_;
  Launch launch_;
  const Job& job_;
  Plan plan_;
  int device_;
  ReusedWorkspace workspace_;
  Status status_;
};

}  // namespace melisma::gpu
