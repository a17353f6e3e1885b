// What every operator's tests share: SIMD targets, thread counts, sizes, error texts.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "melisma/error.h"
#include "melisma/runtime.h"
#include "melisma/window.h"
#include "testing/array.h"

namespace melisma::testing {

// A test that runs once on each SIMD target of this machine.
class SimdTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { set_simd_target(GetParam()); }
  void TearDown() override { set_simd_target(""); }
};

inline std::string target_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name;
  for (const char c : info.param) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

#define MELISMA_ON_EVERY_SIMD_TARGET(suite) \
  INSTANTIATE_TEST_SUITE_P(Simd, suite, ::testing::ValuesIn(::melisma::simd_targets()), ::melisma::testing::target_name)

// Sets the number of threads for a scope.
class Threads {
 public:
  explicit Threads(int n) : before_(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

// The sizes whose accuracy is promised.
inline std::vector<std::int64_t> promised_sizes() {
  std::vector<std::int64_t> sizes;
  for (std::int64_t n = 1; n <= 64; ++n) sizes.push_back(n);
  for (const std::int64_t n :
       {100, 128, 400, 441, 480, 512, 640, 1000, 1024, 1103, 1280, 1920, 2048, 4096, 6000, 8192, 16384, 65536}) {
    sizes.push_back(n);
  }
  return sizes;
}

// Around the numbers of lanes (4, 8, 16) and of frames that a kernel takes at once.
inline constexpr std::int64_t kFrameCounts[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33};

// float32 window; "" is no window at all.
struct Window {
  std::vector<float> values;
  Tensor tensor;

  Window(const std::string& name, std::int64_t length) : values(static_cast<std::size_t>(length)) {
    tensor = Tensor(values.data(), DType::kFloat32, {length});
    if (!name.empty()) make_window(name, true, 12.0, tensor);
    present_ = !name.empty();
  }
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;
  const Tensor* get() const { return present_ ? &tensor : nullptr; }

 private:
  bool present_;
};

// The call must throw an Error of this kind whose text starts with "op: " and holds every one of `parts`.
template <typename F>
void expect_error(ErrorKind kind, const std::string& op, const std::vector<std::string>& parts, F call) {
  try {
    call();
    ADD_FAILURE() << op << ": no error, expected one with '" << (parts.empty() ? "" : parts[0]) << "'";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.kind(), kind) << text;
    EXPECT_EQ(text.rfind(op + ": ", 0), 0u) << text;
    for (const std::string& part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in: " << text;
  }
}

}  // namespace melisma::testing
