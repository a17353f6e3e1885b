// Many stacks that one thread of the machine runs in turn.
#pragma once

#include <memory>
#include <vector>

namespace melisma::emulator {

// Fibers of the calling thread, which must be the one that made them. They are kept between runs, for a stack costs
// more to make than a block to run.
class Fibers {
 public:
  using Body = void (*)(void* context, int index);

  Fibers();
  ~Fibers();
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;

  static Fibers& of_this_thread();

  // At least `count` fibers; each one's next resume starts body(context, index). Exceptions must not leave the body.
  void prepare(int count, Body body, void* context);
  // Runs fiber `index` until it suspends or its body returns.
  void resume(int index);
  // By the fiber that runs: back to whoever resumed it.
  void suspend();

 private:
  struct Fiber;
  static void enter();
  void switch_to_fiber(Fiber& fiber);

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::unique_ptr<Fiber> home_;
  Fiber* running_ = nullptr;
  Body body_ = nullptr;
  void* context_ = nullptr;
};

}  // namespace melisma::emulator
