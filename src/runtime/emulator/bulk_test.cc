// Bulk copies in the emulator: what a kernel may do, and what it is told where it does otherwise.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/emulator/runner.h"
#include "runtime/gpu/dialect.h"

namespace melisma::emulator {
namespace {

enum class Fault : int {
  kNone,
  kOverwritten,
  kNotSynced,
  kLength,
  kDestination,
  kStaging,
  kNoWait,
  kOneLane,
  kOtherArguments,
  kNoFence,
};

// Each warp writes 64 floats of its own, twice out of the same staging.
struct Stores {
  struct Args {
    MEL_GLOBAL(float) out;
    Fault fault;
  };
  static constexpr int kThreads = 64;
  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(float) staging = MEL_SHARED_CAST(float, shared) + 64 * t.warp();
    MEL_GLOBAL(float) out = args.out + 128 * t.warp();
    for (int round = 0; round < 2; ++round) {
      if (args.fault == Fault::kNotSynced) t.sync_warp_bulk();
      staging[t.lane()] = round + 0.5f * t.lane();
      staging[t.lane() + 32] = round - 0.5f * t.lane();
      if (args.fault != Fault::kNotSynced && args.fault != Fault::kNoFence) t.sync_warp_bulk();
      if (args.fault == Fault::kNoFence) t.sync_warp();
      int bytes = 256;
      if (args.fault == Fault::kLength) bytes = 252;
      if (args.fault == Fault::kOtherArguments && t.lane() == 3) bytes = 128;
      MEL_GLOBAL(float) to = out + 64 * round;
      if (args.fault == Fault::kDestination) to += 1;
      MEL_SHARED(float) from = staging;
      if (args.fault == Fault::kStaging) from += 1;
      if (args.fault != Fault::kOneLane || t.lane() == 0) t.bulk_store(to, from, bytes);
      if (args.fault == Fault::kOverwritten) staging[t.lane()] = -1;
      if (args.fault != Fault::kNoWait) t.bulk_wait();
    }
  }
};

std::string stores(Fault fault, const Options& options) {
  struct alignas(16) {
    float values[256];
  } out;
  for (float& value : out.values) value = NAN;
  try {
    Runner(options).launch<Stores>(1, 512, {out.values, fault});
  } catch (const std::logic_error& error) {
    return error.what();
  }
  for (int i = 0; i < 256; ++i) {
    const int round = i / 64 % 2, lane = i % 32;
    if (out.values[i] != round + (i % 64 < 32 ? 0.5f : -0.5f) * lane) return "wrong at " + std::to_string(i);
  }
  return "";
}

TEST(EmulatorBulk, Stores) {
  for (const Options& options : every_order()) EXPECT_EQ(stores(Fault::kNone, options), "");
}

TEST(EmulatorBulk, StoresMisused) {
  const auto expect = [](Fault fault, const std::string& part) {
    const std::string message = stores(fault, {});
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect(Fault::kOverwritten, "was written between bulk_store");
  expect(Fault::kNotSynced, "was written between bulk_store");
  expect(Fault::kLength, "of 252 bytes");
  expect(Fault::kDestination, "device memory 4 bytes beyond");
  expect(Fault::kStaging, "offset 4 of shared memory");
  expect(Fault::kNoWait, "returns without bulk_wait");
  expect(Fault::kOneLane, "not called by all lanes");
  expect(Fault::kOtherArguments, "other arguments");
  expect(Fault::kNoFence, "without sync_warp_bulk");
}

enum class LoadFault : int { kNone, kParity, kNoInit, kEarlyRead, kTwice, kInitTwice, kOverwritten, kOneLane };

// Each warp reads pieces of 32 floats through a barrier of its own and adds them up.
struct Loads {
  struct Args {
    MEL_GLOBAL(const float) x;
    MEL_GLOBAL(float) out;
    LoadFault fault;
  };
  static constexpr int kThreads = 64;
  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(float) piece = MEL_SHARED_CAST(float, shared) + 32 * t.warp();
    MEL_SHARED(char) barrier = shared + 256 + 8 * t.warp();
    if (args.fault != LoadFault::kNoInit) t.bulk_load_init(barrier);
    if (args.fault == LoadFault::kInitTwice) t.bulk_load_init(barrier);
    float sum = 0;
    for (int i = 0; i < 3; ++i) {
      MEL_GLOBAL(const float) from = args.x + 32 * (3 * t.warp() + i);
      if (args.fault != LoadFault::kOneLane || t.lane() == 0) t.bulk_load(piece, from, 128, barrier);
      if (args.fault == LoadFault::kTwice) t.bulk_load(piece, from, 128, barrier);
      if (args.fault == LoadFault::kEarlyRead) sum += piece[t.lane()];
      if (args.fault == LoadFault::kOverwritten) barrier[0] = 0;
      t.bulk_load_wait(barrier, args.fault == LoadFault::kParity ? 0 : i % 2);
      sum += piece[31 - t.lane()];
      t.sync_warp();
    }
    args.out[t.thread()] = sum;
  }
};

std::string loads(LoadFault fault, const Options& options) {
  struct alignas(16) {
    float values[192];
  } x;
  for (int i = 0; i < 192; ++i) x.values[i] = static_cast<float>(i);
  float out[64];
  try {
    Runner(options).launch<Loads>(1, 272, {x.values, out, fault});
  } catch (const std::logic_error& error) {
    return error.what();
  }
  for (int i = 0; i < 64; ++i) {
    if (std::isnan(out[i])) return "NaN";
    const int first = 96 * (i / 32) + 31 - i % 32;
    if (out[i] != 3.0f * static_cast<float>(first) + 96) return "wrong at " + std::to_string(i);
  }
  return "";
}

TEST(EmulatorBulk, Loads) {
  for (const Options& options : every_order()) EXPECT_EQ(loads(LoadFault::kNone, options), "");
}

TEST(EmulatorBulk, LoadsMisused) {
  for (const Options& options : every_order()) {
    const auto expect = [&](LoadFault fault, const std::string& part) {
      const std::string message = loads(fault, options);
      EXPECT_NE(message.find(part), std::string::npos) << message;
    };
    expect(LoadFault::kParity, "with parity 0");
    expect(LoadFault::kNoInit, "has not made");
    expect(LoadFault::kTwice, "before bulk_load_wait");
    expect(LoadFault::kInitTwice, "in use");
    expect(LoadFault::kOverwritten, "was overwritten");
    expect(LoadFault::kOneLane, "has not called bulk_load");
  }
  EXPECT_EQ(loads(LoadFault::kEarlyRead, {}), "NaN");
}

}  // namespace
}  // namespace melisma::emulator
