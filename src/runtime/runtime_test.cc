// Threads, result memory, counters and SIMD targets.
#include "melisma/runtime.h"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "runtime/parallel.h"
#include "runtime/registry.h"
#include "runtime/scratch.h"
#include "testing/fixtures.h"

namespace melisma {
namespace {

using namespace testing;

TEST(ParallelFor, CallsEachIndexOnce) {
  for (const int n : {1, 2, 3}) {
    const Threads threads(n);
    for (const std::int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
      parallel_for(count, [&](std::int64_t i) { ++calls[static_cast<std::size_t>(i)]; });
      for (const auto& c : calls) ASSERT_EQ(c, 1) << n << " threads, " << count;
    }
  }
}

TEST(ParallelFor, OneThreadAndNestedCallsGoInOrder) {
  std::vector<std::int64_t> order;
  {
    const Threads threads(1);
    parallel_for(5, [&](std::int64_t i) { order.push_back(i); });
  }
  EXPECT_EQ(order, (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  const Threads threads(3);
  std::atomic<int> disorder{0};
  parallel_for(8, [&](std::int64_t) {
    std::int64_t last = -1;
    parallel_for(50, [&](std::int64_t j) {
      disorder += j != last + 1 ? 1 : 0;
      last = j;
    });
  });
  EXPECT_EQ(disorder, 0);
}

TEST(ParallelFor, RethrowsAndGoesOnWorking) {
  for (const int n : {1, 3}) {
    const Threads threads(n);
    EXPECT_THROW(parallel_for(100,
                              [](std::int64_t i) {
                                if (i == 37) throw std::domain_error("37");
                              }),
                 std::domain_error);
    std::atomic<int> calls{0};
    parallel_for(100, [&](std::int64_t) { ++calls; });
    EXPECT_EQ(calls, 100);
  }
}

TEST(Threads, Errors) {
  const int before = num_threads();
  EXPECT_GE(before, 1);
  for (const int bad : {0, -1, 1 << 30}) {
    expect_error(ErrorKind::kInvalidArgument, "set_num_threads", {std::to_string(bad)}, [&] { set_num_threads(bad); });
  }
  EXPECT_EQ(num_threads(), before);
}

TEST(ResultMemory, IsAlignedAndPooledWithinItsLimit) {
  trim_pool();
  EXPECT_EQ(pooled_bytes(), 0u);
  std::vector<void*> blocks;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{4097}, std::size_t{1} << 20,
                                  std::size_t{5} << 20, std::size_t{40} << 20, std::size_t{33} << 20}) {
    void* block = allocate_result(bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(block);
    EXPECT_EQ(address % 64, 0u) << bytes;
    if (bytes >= std::size_t{32} << 20) {
      EXPECT_EQ(address % (std::size_t{2} << 20), 0u) << bytes;
    }
    std::memset(block, 1, bytes);
    blocks.push_back(block);
  }
  for (void* block : blocks) {
    release_result(block);
    EXPECT_LE(pooled_bytes(), std::size_t{64} << 20);
  }
  EXPECT_GT(pooled_bytes(), 0u);
  trim_pool();
  void* block = allocate_result(std::size_t{5} << 20);
  release_result(block);
  EXPECT_EQ(allocate_result(std::size_t{5} << 20), block) << "a released block is taken again";
  release_result(block);
  release_result(nullptr);
  trim_pool();
  EXPECT_EQ(pooled_bytes(), 0u);
}

TEST(ResultMemory, TooMuchIsAnError) {
  for (const std::size_t bytes : {~std::size_t{0}, ~std::size_t{0} / 2, std::size_t{1} << 60}) {
    expect_error(ErrorKind::kOutOfMemory, "allocate_result", {std::to_string(bytes)}, [&] { allocate_result(bytes); });
  }
}

TEST(ScratchMemory, NestsAndIsAligned) {
  Scratch outer(scratch_bytes<float>(3) + scratch_bytes<double>(100));
  float* a = outer.take<float>(3);
  double* b = outer.take<double>(100);
  Scratch inner(scratch_bytes<double>(100));
  double* c = inner.take<double>(100);
  for (const void* p : {static_cast<const void*>(a), static_cast<const void*>(b), static_cast<const void*>(c)}) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % 64, 0u);
  }
  std::fill_n(b, 100, 1.0);
  std::fill_n(c, 100, 2.0);
  std::fill_n(a, 3, 3.0f);
  EXPECT_EQ(b[0], 1.0);
  EXPECT_EQ(b[99], 1.0);
}

TEST(Registry, CountsCallsAndStrictModeRefusesFallbacks) {
  reset_call_counts();
  count_call("op_a", "kernel");
  count_call("op_a", "kernel");
  count_call("op_b", "slow", "because");
  std::uint64_t preferred = 0, fallbacks = 0;
  for (const CallCount& c : call_counts()) {
    if (c.op == "op_a") preferred += c.calls;
    if (c.op == "op_b" && c.reason == "because" && c.kernel == "slow") fallbacks += c.calls;
  }
  EXPECT_EQ(preferred, 2u);
  EXPECT_EQ(fallbacks, 1u);
  set_strict(true);
  EXPECT_TRUE(strict());
  EXPECT_NO_THROW(count_call("op_a", "kernel"));
  expect_error(ErrorKind::kUnavailable, "op_b", {"because"}, [] { count_call("op_b", "slow", "because"); });
  set_strict(false);
  reset_call_counts();
  EXPECT_TRUE(call_counts().empty());
}

TEST(Backends, HaveReasons) {
  bool cpu = false;
  for (const BackendInfo& b : backends()) {
    EXPECT_FALSE(b.reason.empty()) << b.name;
    cpu = cpu || (b.name == "cpu" && b.available);
  }
  EXPECT_TRUE(cpu);
}

TEST(SimdTargets, CanBeForced) {
  const std::vector<std::string> all = simd_targets();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(simd_target(), all.front());
  for (const std::string& name : all) {
    set_simd_target(name);
    EXPECT_EQ(simd_target(), name);
  }
  expect_error(ErrorKind::kInvalidArgument, "set_simd_target", {"MMX"}, [] { set_simd_target("MMX"); });
  EXPECT_EQ(simd_target(), all.back());
  set_simd_target("");
  EXPECT_EQ(simd_target(), all.front());
}

}  // namespace
}  // namespace melisma
