#include "runtime/warning.h"

#include <atomic>
#include <cstdio>
#include <mutex>
#include <set>
#include <vector>

#include "melisma/runtime.h"

namespace melisma {
namespace {

void print(const char* message) { std::fprintf(stderr, "melisma: %s\n", message); }

std::atomic<WarningHandler> handler{print};
std::atomic<bool> waiting{false};
std::mutex mutex;

struct Texts {
  std::set<std::string> known;
  std::vector<std::string> waiting;
};
Texts& texts() {
  static auto* const kept = new Texts;  // never destroyed: warnings may come out of other statics' ends
  return *kept;
}

}  // namespace

void warn_later(const std::string& message) {
  const std::lock_guard lock(mutex);
  if (!texts().known.insert(message).second) return;
  texts().waiting.push_back(message);
  waiting.store(true, std::memory_order_release);
}

void tell_warnings() {
  if (!waiting.load(std::memory_order_acquire)) return;
  std::vector<std::string> told;
  {
    const std::lock_guard lock(mutex);
    told.swap(texts().waiting);
    waiting.store(false, std::memory_order_release);
  }
  for (const std::string& message : told) {
    if (const WarningHandler tell = handler.load()) tell(message.c_str());
  }
}

void set_warning_handler(WarningHandler new_handler) { handler.store(new_handler); }

}  // namespace melisma
