#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/emulator/runner.h"
#include "runtime/gpu/dialect.h"

namespace melisma::emulator {
namespace {

using gpu::Thread;  // NOLINT: by the macros

// Sums of 128 values a block, through shuffles within warps and shared memory between them.
struct Sum {
  struct Args {
    MEL_GLOBAL(const float) x;
    MEL_GLOBAL(float) sums;
    bool barrier;
  };
  static constexpr int kThreads = 128;
  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(float) of_warps = MEL_SHARED_CAST(float, shared);
    float sum = args.x[t.block() * kThreads + t.thread()];
    for (int step = 16; step > 0; step /= 2) sum += t.shuffle_xor(sum, step);
    if (t.lane() == 0) of_warps[t.warp()] = sum;
    if (args.barrier) t.sync();
    float all = 0;
    for (int i = 0; i < 4; ++i) all += of_warps[i];
    if (t.thread() == 0) args.sums[t.block()] = all;
  }
};

TEST(Emulator, AReductionIsTheSameInEveryOrder) {
  std::vector<float> x(128 * 7);
  std::iota(x.begin(), x.end(), 0.0f);
  for (const Options& options : every_order()) {
    std::vector<float> sums(7, NAN);
    Runner(options).launch<Sum>(7, 16, {x.data(), sums.data(), true});
    for (int i = 0; i < 7; ++i) EXPECT_EQ(sums[i], 128 * 128 * i + 127 * 64);
  }
}

TEST(Emulator, ARaceShowsAsNaN) {
  const std::vector<float> x(128, 1.0f);
  bool seen = false;
  for (const Options& options : every_order()) {
    float sum = 0;
    Runner(options).launch<Sum>(1, 16, {x.data(), &sum, false});
    seen = seen || std::isnan(sum);
  }
  EXPECT_TRUE(seen);
}

struct Shuffles {
  struct Args {
    MEL_GLOBAL(float) turned;
    MEL_GLOBAL(std::int64_t) down;
    MEL_GLOBAL(double) twice;
    MEL_GLOBAL(int) counts;  // on how many lanes something is true, and whether it is on all
  };
  static constexpr int kThreads = 64;
  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const int i = t.thread();
    args.turned[i] = t.shuffle(static_cast<float>(i), (t.lane() + 1) % 32);
    args.down[i] = t.shuffle_down(static_cast<std::int64_t>(i) << 40, 4);
    // The second may be reached by one lane before another has taken from the first.
    const double once = t.shuffle_xor(i * 0.5, 1);
    args.twice[i] = t.shuffle_xor(once + 100, 1);
    args.counts[2 * i] = t.count(t.lane() % 3 == 0 || t.thread() >= 32);
    args.counts[2 * i + 1] = t.all(t.lane() != 7 || t.thread() >= 32) ? 1 : 0;
  }
};

TEST(Emulator, Shuffles) {
  for (const Options& options : every_order()) {
    std::vector<float> turned(64, NAN);
    std::vector<std::int64_t> down(64, -1);
    std::vector<double> twice(64, NAN);
    std::vector<int> counts(128, -1);
    Runner(options).launch<Shuffles>(1, 0, {turned.data(), down.data(), twice.data(), counts.data()});
    for (int i = 0; i < 64; ++i) {
      const int lane = i % 32, warp = i / 32 * 32;
      EXPECT_EQ(turned[i], warp + (lane + 1) % 32);
      EXPECT_EQ(down[i], static_cast<std::int64_t>(lane + 4 < 32 ? i + 4 : i) << 40);
      EXPECT_EQ(twice[i], i * 0.5 + 100);
      EXPECT_EQ(counts[2 * i], i < 32 ? 11 : 32);
      EXPECT_EQ(counts[2 * i + 1], i < 32 ? 0 : 1);
    }
  }
}

enum class Fault : int {
  kNone,
  kOutside,
  kBefore,
  kMisaligned,
  kSpan,
  kGlobal,
  kTwoCalls,
  kTwoScopes,
  kReturned,
  kLane,
  kRead,
  kVector,
};

struct Faulty {
  struct Args {
    Fault fault;
    MEL_GLOBAL(float) out;
  };
  static constexpr int kThreads = 64;
  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(float) p = MEL_SHARED_CAST(float, shared);
    const bool mine = t.thread() == 37;
    if (args.fault == Fault::kOutside && mine) p[8] = 1;
    if (args.fault == Fault::kBefore && mine) *(p - 1) = 1;
    if (args.fault == Fault::kMisaligned && mine) *MEL_SHARED_CAST(float, shared + 2) = 1;
    if (args.fault == Fault::kSpan && mine) gpu::mel_store4(p + 6, gpu::Vec4<float>{1, 2, 3, 4});
    if (args.fault == Fault::kVector && mine) gpu::mel_store4(p + 1, gpu::Vec4<float>{1, 2, 3, 4});
    if (args.fault == Fault::kGlobal && mine) gpu::mel_store2(args.out + 1, gpu::Vec2<float>{1, 2});
    if (args.fault == Fault::kTwoCalls && mine) {
      t.sync_warp();
    } else {
      t.sync_warp();
    }
    if (args.fault == Fault::kTwoScopes && mine) t.sync_warp();
    if (args.fault == Fault::kReturned && mine) return;
    if (args.fault == Fault::kLane && mine) t.shuffle(1.0f, 32);
    t.sync();
    if (args.fault == Fault::kRead) args.out[t.thread() % 2] = p[t.thread() % 8];
  }
};

std::string message_of(Fault fault, Options options = {}) {
  alignas(16) float out[2] = {1, 1};
  try {
    Runner(options).launch<Faulty>(1, 32, {fault, out});
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return fault == Fault::kRead && std::isnan(out[0]) && std::isnan(out[1]) ? "NaN" : "";
}

TEST(Emulator, FaultsAreNamed) {
  for (const Options& options : every_order()) {
    const auto names = [&](Fault fault, const std::vector<std::string>& parts) {
      const std::string message = message_of(fault, options);
      for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
    };
    EXPECT_EQ(message_of(Fault::kNone, options), "");
    EXPECT_EQ(message_of(Fault::kRead, options), "NaN");
    names(Fault::kOutside, {"Faulty", "block", "thread 37", "access of 4 bytes at offset 32 of 32 bytes"});
    names(Fault::kBefore, {"access of 4 bytes at offset -4 of 32 bytes"});
    names(Fault::kMisaligned, {"misaligned cast", "offset 2 "});
    names(Fault::kSpan, {"access of 16 bytes at offset 24"});
    names(Fault::kVector, {"4 beyond a multiple of 16"});
    names(Fault::kGlobal, {"4 beyond a multiple of 8"});
    names(Fault::kTwoCalls, {"do not meet", "emulator_test.cc:", "thread 32 to 36 in sync_warp()", "thread 37 in"});
    names(Fault::kTwoScopes, {"do not meet", "thread 37 in sync_warp()", "thread 38 to 63 in sync()"});
    names(Fault::kReturned, {"do not meet", "thread 37 returned"});
    names(Fault::kLane, {"asks for lane 32"});
  }
}

TEST(Emulator, AFaultOfOneBlockAmongMany) {
  float out[2];
  EXPECT_THROW(Runner().launch<Faulty>(9, 32, {Fault::kOutside, out}), std::logic_error);
}

// The threads that waited when one failed are unwound, and the next launch finds everything in order.
TEST(Emulator, ALaunchAfterAFault) {
  EXPECT_NE(message_of(Fault::kOutside), "");
  EXPECT_EQ(message_of(Fault::kNone), "");
}

struct Nothing {
  struct Args {};
  static constexpr int kThreads = 1024;
  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args), MEL_SHARED(char)) { t.sync(); }
};

TEST(Emulator, LaunchesOutsideTheLimits) {
  Runner runner, metal(Options::metal());
  runner.launch<Nothing>(1, 227 << 10, {});
  EXPECT_THROW(runner.launch<Nothing>(0, 0, {}), std::logic_error);
  EXPECT_THROW(runner.launch<Nothing>(1, (227 << 10) + 1, {}), std::logic_error);
  metal.launch<Nothing>(1, 32 << 10, {});
  EXPECT_THROW(metal.launch<Nothing>(1, (32 << 10) + 1, {}), std::logic_error);
  EXPECT_FALSE(metal.float64());
}

TEST(Emulator, TablesAreFilledOnce) {
  int fills = 0;
  const auto fill = [&](void* p) {
    ++fills;
    *static_cast<int*>(p) = 7;
  };
  const void* first = Runner().table({"emulator_test", 3, 0}, 4, fill);
  EXPECT_EQ(*static_cast<const int*>(first), 7);
  EXPECT_EQ(Runner().table({"emulator_test", 3, 0}, 4, fill), first);
  EXPECT_EQ(fills, 1);
  EXPECT_NE(Runner().table({"emulator_test", 4, 0}, 4, fill), first);
  EXPECT_THROW(Runner().table({"emulator_test", 3, 0}, 8, fill), std::logic_error);
}

TEST(Emulator, WorkspaceIsPoisoned) {
  Runner runner;
  EXPECT_TRUE(std::isnan(*static_cast<float*>(runner.workspace(4))));
  float given = 1;
  Runner other({}, [&](std::size_t) { return &given; });
  EXPECT_EQ(other.workspace(4), &given);
  EXPECT_TRUE(std::isnan(given));
}

struct Barriers {
  struct Args {
    MEL_GLOBAL(int) out;
  };
  static constexpr int kThreads = 128;
  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(int) p = MEL_SHARED_CAST(int, shared);
    int value = t.thread();
    for (int i = 0; i < 50; ++i) {
      p[t.thread()] = value;
      t.sync();
      value = p[(t.thread() + 1) % kThreads];
      t.sync();
    }
    args.out[t.thread()] = value;
  }
};

TEST(Emulator, AHundredBarriers) {
  std::vector<int> out(128);
  Runner().launch<Barriers>(1, 512, {out.data()});
  for (int i = 0; i < 128; ++i) EXPECT_EQ(out[i], (i + 50) % 128);
}

}  // namespace
}  // namespace melisma::emulator
