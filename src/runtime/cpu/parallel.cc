#include "runtime/parallel.h"

#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "melisma/runtime.h"
#include "runtime/check.h"
#include "runtime/options.h"

#ifdef __SANITIZE_THREAD__
// oneTBB is not compiled with ThreadSanitizer, which therefore must be told where its threads start and are waited for.
extern "C" void __tsan_acquire(void*);
extern "C" void __tsan_release(void*);
#define MELISMA_HAPPENS_BEFORE(address) __tsan_release(address)
#define MELISMA_HAPPENS_AFTER(address) __tsan_acquire(address)
#else
#define MELISMA_HAPPENS_BEFORE(address)
#define MELISMA_HAPPENS_AFTER(address)
#endif

namespace melisma {
namespace {

constexpr int kMostThreads = 65536;

std::atomic<int> threads_set{0};        // by set_num_threads; 0: the default
std::atomic<bool> forked{false};        // this process is a child of one that had the library loaded
std::atomic<bool> workers_lost{false};  // and that one had started TBB, whose threads do not survive the fork
std::atomic<bool> workers_started{false};

thread_local bool inside = false;  // a parallel_for, so that a nested one runs in order on its caller

[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, [] {
  forked = true;
  if (workers_started) workers_lost = true;
  inside = false;
});

// CPUs that this process may run on: TBB asks for the affinity mask, std::thread::hardware_concurrency does not.
int cpus() {
  static const int count = std::max(1, tbb::info::default_concurrency());
  return count;
}

int default_threads() {
  if (options().num_threads) return *options().num_threads;
  return forked ? 1 : cpus();
}

// The arena for the present number of threads. An old one lives on while a call still uses it.
std::shared_ptr<tbb::task_arena> arena(int threads) {
  static std::mutex* mutex = new std::mutex;  // never destroyed, as the arena: a thread may still run at exit
  static auto* current = new std::shared_ptr<tbb::task_arena>;
  const std::lock_guard lock(*mutex);
  workers_started = true;
  if (*current == nullptr || (*current)->max_concurrency() != threads) {
    *current = std::make_shared<tbb::task_arena>(threads);
  }
  return *current;
}

void run_in_order(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  for (std::int64_t i = 0; i < n; ++i) body(i);
}

}  // namespace

void set_num_threads(int n) {
  if (n < 1 || n > kMostThreads) fail_argument("set_num_threads", "n must be 1 to %d, got %d", kMostThreads, n);
  if (n > 1 && workers_lost) {
    throw Error(ErrorKind::kUnavailable,
                "set_num_threads: n must be 1 in a process forked after threads were used, got " + std::to_string(n) +
                    " (start it with 'spawn' or 'forkserver' for more)");
  }
  threads_set = n;
}

int num_threads() {
  if (workers_lost) return 1;
  const int set = threads_set.load(std::memory_order_relaxed);
  return set > 0 ? set : default_threads();
}

void parallel_for(std::int64_t n, const std::function<void(std::int64_t)>& body) {
  if (n <= 1 || inside) return run_in_order(n, body);
  // More than the CPUs would only make TBB print a warning.
  const int limit = std::min(num_threads(), cpus());
  const int threads = static_cast<int>(std::min<std::int64_t>(n, limit));
  if (threads == 1) {
    inside = true;
    struct Leave {
      ~Leave() { inside = false; }
    } leave;
    return run_in_order(n, body);
  }
  // Each thread takes the next index until none is left: late workers find less to do, and neighbours in memory are
  // worked on at about the same time.
  std::atomic<std::int64_t> next{0};
  [[maybe_unused]] char begun, done;
  struct Joined {  // also where a body throws
    [[maybe_unused]] char& done;
    ~Joined() { MELISMA_HAPPENS_AFTER(&done); }
  } joined{done};
  MELISMA_HAPPENS_BEFORE(&begun);
  arena(limit)->execute([&] {
    tbb::parallel_for(
        0, threads, 1,
        [&](int) {
          MELISMA_HAPPENS_AFTER(&begun);
          struct Inside {
            bool before = std::exchange(inside, true);
            ~Inside() { inside = before; }
          } guard;
          try {
            for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) body(i);
          } catch (...) {
            next.store(n, std::memory_order_relaxed);
            MELISMA_HAPPENS_BEFORE(&done);
            throw;
          }
          MELISMA_HAPPENS_BEFORE(&done);
        },
        tbb::simple_partitioner());
  });
}

}  // namespace melisma
