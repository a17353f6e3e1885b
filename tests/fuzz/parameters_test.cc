// The fuzz target on a fixed set of random inputs, so that every test run, sanitizers and AArch64 included, has it.
#include "parameters.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace melisma::fuzz {
namespace {

TEST(Parameters, RandomCallsSucceedOrThrowError) {
  constexpr int kCalls = 4000;
  std::mt19937 random(3);
  int ran = 0;
  for (int i = 0; i < kCalls; ++i) {
    std::vector<std::uint8_t> bytes(256);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    ran += call_with_parameters(bytes.data(), bytes.size());
  }
  EXPECT_GT(ran, kCalls / 50) << "nearly every call is refused: the inputs have become too wild to test the operators";
}

}  // namespace
}  // namespace melisma::fuzz
