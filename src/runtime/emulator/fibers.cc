// ucontext makes a stack, _setjmp and _longjmp switch between them: swapcontext would ask the kernel for the signal
// mask at each switch. The checked longjmp takes a jump to another stack for a fault.
#undef _FORTIFY_SOURCE
#if defined(__APPLE__) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700
#define _DARWIN_C_SOURCE
#endif

#include "runtime/emulator/fibers.h"

#include <csetjmp>
#include <cstddef>
#include <new>
#include <utility>

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

namespace melisma::emulator {
namespace {

// Only pages that are used cost memory, so there is room for a kernel compiled without optimisation.
constexpr std::size_t kStackBytes = 512 << 10;

}  // namespace

struct Fibers::Fiber {
  ucontext_t start;
  std::jmp_buf position;
  int index = 0;
  bool started = false;
  void* mapping = nullptr;  // the lowest page is a guard
  std::size_t mapped = 0;
  // What the sanitizers know it by.
  const void* stack = nullptr;
  std::size_t stack_bytes = 0;
  void* fake_stack = nullptr;
  void* tsan = nullptr;

  Fiber() = default;
  ~Fiber() {
    if (mapping == nullptr) return;
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(stack, stack_bytes);
#endif
#ifdef __SANITIZE_THREAD__
    __tsan_destroy_fiber(tsan);
#endif
    munmap(mapping, mapped);
  }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void make(int number, void (*enter)()) {
    index = number;
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    mapped = kStackBytes + page;
    mapping = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) {
      mapping = nullptr;
      throw std::bad_alloc();
    }
    mprotect(mapping, page, PROT_NONE);
    stack = static_cast<char*>(mapping) + page;
    stack_bytes = kStackBytes;
    getcontext(&start);
    start.uc_stack.ss_sp = static_cast<char*>(mapping) + page;
    start.uc_stack.ss_size = stack_bytes;
    start.uc_link = nullptr;
    makecontext(&start, enter, 0);
#ifdef __SANITIZE_THREAD__
    tsan = __tsan_create_fiber(0);
#endif
  }

  // Around each switch: before it with the fiber that comes, after it with the fiber that is back.
  void announce([[maybe_unused]] Fiber& leaving) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&leaving.fake_stack, stack, stack_bytes);
#endif
#ifdef __SANITIZE_THREAD__
    __tsan_switch_to_fiber(tsan, 0);
#endif
  }
};

Fibers::Fibers() : home_(std::make_unique<Fiber>()) {
#ifdef __SANITIZE_THREAD__
  home_->tsan = __tsan_get_current_fiber();
#endif
}

Fibers::~Fibers() = default;

Fibers& Fibers::of_this_thread() {
  thread_local Fibers fibers;
  return fibers;
}

void Fibers::prepare(int count, Body body, void* context) {
  body_ = body;
  context_ = context;
  while (static_cast<int>(fibers_.size()) < count) {
    auto fiber = std::make_unique<Fiber>();
    fiber->make(static_cast<int>(fibers_.size()), &Fibers::enter);
    fibers_.push_back(std::move(fiber));
  }
}

void Fibers::enter() {
  Fibers& fibers = of_this_thread();
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &fibers.home_->stack, &fibers.home_->stack_bytes);
#endif
  for (;;) {
    fibers.body_(fibers.context_, fibers.running_->index);
    fibers.suspend();
  }
}

void Fibers::resume(int index) {
  Fiber& fiber = *fibers_[static_cast<std::size_t>(index)];
  running_ = &fiber;
  switch_to_fiber(fiber);
  running_ = nullptr;
}

void Fibers::switch_to_fiber(Fiber& fiber) {
  if (_setjmp(home_->position) == 0) {
    fiber.announce(*home_);
    if (fiber.started) _longjmp(fiber.position, 1);
    fiber.started = true;
    setcontext(&fiber.start);
  }
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(home_->fake_stack, nullptr, nullptr);
#endif
}

void Fibers::suspend() {
  Fiber& fiber = *running_;
  if (_setjmp(fiber.position) == 0) {
    home_->announce(fiber);
    _longjmp(home_->position, 1);
  }
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(running_->fake_stack, &home_->stack, &home_->stack_bytes);
#endif
}

}  // namespace melisma::emulator
