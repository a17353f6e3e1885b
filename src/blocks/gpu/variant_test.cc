// The choice of a fast kernel's variant, on the emulator and its fake clock.
#include "blocks/gpu/variant.h"

#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <typeindex>
#include <vector>

#include "blocks/gpu/fast_forward.h"
#include "blocks/gpu/fast_gradient.h"
#include "blocks/gpu/fast_inverse.h"
#include "blocks/gpu/operators_fixtures.h"
#include "runtime/tuning/tuned.h"
#include "runtime/warning.h"

namespace melisma {
namespace {

namespace fs = std::filesystem;
using testing::Array;
using testing::emulated;
using testing::expect_error;

std::vector<std::string>& warnings() {
  static std::vector<std::string> texts;
  return texts;
}

// On a cache folder of its own.
class GpuVariants : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "melisma_variants_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    ASSERT_EQ(setenv("MELISMA_CACHE_DIR", directory_.c_str(), 1), 0);
    forget_tuned();
    warnings().clear();
    set_warning_handler([](const char* message) { warnings().push_back(message); });
    testing::emulator_options().cost = [this](const std::type_info& kernel, int, std::int64_t) {
      launched_.push_back(kernel);
      return kernel == fastest_kernel_ ? fastest_cost_ : 10.0;
    };
  }
  void TearDown() override {
    testing::emulator_options() = {};
    for (const char* kernel : {"fast-forward", "fast-inverse", "fast-gradient"}) set_variant(kernel, "");
    set_autotune(false);
    set_warning_handler(nullptr);
    forget_tuned();
    unsetenv("MELISMA_CACHE_DIR");
    fs::remove_all(directory_);
  }

  static StftParams params(std::int64_t n_fft) {
    StftParams params;
    params.frames.n_fft = n_fft;
    params.frames.hop_length = n_fft / 4;
    params.layout = Layout::kFrameMajor;
    return params;
  }
  static IstftParams inverse_params(std::int64_t n_fft) {
    IstftParams params;
    params.n_fft = n_fft;
    params.hop_length = n_fft / 4;
    params.layout = Layout::kFrameMajor;
    return params;
  }

  Array forward(std::int64_t n_fft) {
    Array out(DType::kComplex64, stft_shape(x_, params(n_fft)));
    stft(emulated(x_), nullptr, params(n_fft), emulated(out));
    return out;
  }
  Explanation explain(std::int64_t n_fft) const { return explain_stft(emulated(x_), params(n_fft)); }
  // How many kernels a call launches.
  int launches(std::int64_t n_fft) {
    launched_.clear();
    forward(n_fft);
    return static_cast<int>(launched_.size());
  }

  // Makes another variant than the default the fastest, of the first size that has one; run(n_fft) makes a call.
  template <class Run, class Explain>
  void choose_fastest(const char* kernel, const Run& run, const Explain& explained) {
    for (const std::int64_t n_fft : {400, 512, 1024, 2048, 4096}) {
      set_variant(kernel, "0");
      launched_.clear();
      run(n_fft);
      const std::vector<std::type_index> standard = launched_;
      for (int place = 1; fastest_.empty(); ++place) {
        set_variant(kernel, std::to_string(place));
        launched_.clear();
        try {
          run(n_fft);
        } catch (const Error&) {  // there are no more
          break;
        }
        if (launched_ == standard) continue;
        n_fft_ = n_fft;
        once_ = static_cast<int>(launched_.size());
        place_ = place;
        fastest_ = explained(n_fft).kernel;
        for (const std::type_index& type : launched_) {
          if (std::find(standard.begin(), standard.end(), type) == standard.end()) fastest_kernel_ = type;
        }
      }
      if (!fastest_.empty()) break;
    }
    set_variant(kernel, "");
    ASSERT_FALSE(fastest_.empty()) << "no size has variants";
    cost_of_fastest_ = 10.0 * (once_ - 1) + fastest_cost_;
  }
  void choose_fastest_forward() {
    choose_fastest(
        "fast-forward", [this](std::int64_t n_fft) { forward(n_fft); },
        [this](std::int64_t n_fft) { return explain(n_fft); });
  }
  // A size whose fast kernel has one variant.
  std::int64_t single() const {
    for (const std::int64_t n_fft : {128, 256, 320, 480, 640, 800, 960, 1000, 1200, 1280, 1600, 1920}) {
      if (explain(n_fft).reason == "the only variant") return n_fft;
    }
    return 0;
  }

  fs::path directory_;
  Array x_ = Array(DType::kFloat32, {9000}).randomize();
  std::vector<std::type_index> launched_;
  std::type_index fastest_kernel_ = typeid(void);
  double fastest_cost_ = 7.0, cost_of_fastest_ = 0.0;
  std::int64_t n_fft_ = 0;
  int once_ = 0, place_ = 0;
  std::string fastest_;
};

TEST_F(GpuVariants, NamesOfOneSizeDiffer) {
  for (std::int64_t n_fft = 2; n_fft <= 8192; n_fft += 2) {
    gpu::ForwardJob forward;
    forward.framing.n_fft = n_fft;
    gpu::InverseJob inverse;
    inverse.framing.n_fft = n_fft;
    std::vector<std::string> names = gpu::fast_forward_variants(forward);
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size()) << n_fft;
    names = gpu::fast_inverse_variants(inverse);
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size()) << n_fft;
    names = gpu::fast_gradient_variants(inverse);
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size()) << n_fft;
  }
}

TEST_F(GpuVariants, WithoutTuningTheDefault) {
  choose_fastest_forward();
  EXPECT_EQ(launches(n_fft_), once_);
  EXPECT_NE(explain(n_fft_).kernel, fastest_);
  EXPECT_EQ(explain(n_fft_).reason.find("the default of "), 0u) << explain(n_fft_).reason;
  EXPECT_TRUE(tuning_cache().empty());
}

TEST_F(GpuVariants, TunesOnceAndKeepsTheFastest) {
  choose_fastest_forward();
  set_autotune(true);
  EXPECT_EQ(explain(n_fft_).reason.find("the default of "), 0u);  // explain runs nothing
  EXPECT_GT(launches(n_fft_), 10 * once_);
  EXPECT_EQ(launches(n_fft_), once_);
  EXPECT_EQ(launched_.back(), fastest_kernel_);
  if (const std::int64_t n_fft = single(); n_fft != 0) {
    EXPECT_LT(launches(n_fft), 4);  // nothing to time
  }
  EXPECT_EQ(explain(n_fft_).kernel, fastest_);
  char told[64];
  std::snprintf(told, sizeof(told), "tuned: %.4g us, the fastest of ", cost_of_fastest_);
  EXPECT_EQ(explain(n_fft_).reason.find(told), 0u) << explain(n_fft_).reason;

  forget_tuned();  // as another process, which reads the file
  set_autotune(false);
  EXPECT_EQ(explain(n_fft_).kernel, fastest_);
  EXPECT_EQ(launches(n_fft_), once_);
  EXPECT_EQ(launched_.back(), fastest_kernel_);
  const std::vector<TunedVariant> known = tuning_cache();
  ASSERT_EQ(known.size(), 1u);
  EXPECT_EQ(known[0].kernel, "fast-forward");
  const std::string job = "spectrum, n_fft " + std::to_string(n_fft_) + ", hop n_fft/4, float32, frame-major, 2^";
  EXPECT_EQ(known[0].job.find(job), 0u) << known[0].job;
  EXPECT_EQ(known[0].variant, fastest_);
  EXPECT_EQ(known[0].microseconds, cost_of_fastest_);
  EXPECT_EQ(fs::path(known[0].file).parent_path(), directory_);

  clear_tuning_cache();
  EXPECT_TRUE(tuning_cache().empty());
  EXPECT_EQ(explain(n_fft_).reason.find("the default of "), 0u);
  EXPECT_TRUE(warnings().empty());
}

TEST_F(GpuVariants, TunedCallsGiveTheChosenVariantsResult) {
  choose_fastest_forward();
  set_variant("fast-forward", fastest_);
  const Array want = forward(n_fft_);
  set_variant("fast-forward", "");
  const AutotuneScope tuning;
  const Array got = forward(n_fft_);
  EXPECT_EQ(explain(n_fft_).kernel, fastest_);
  for (std::int64_t i = 0; i < want.numel(); ++i) ASSERT_EQ(got.get(i), want.get(i)) << i;
}

TEST_F(GpuVariants, EqualTimesLeaveTheDefault) {
  fastest_cost_ = 9.95;
  choose_fastest_forward();
  const std::string standard = explain(n_fft_).kernel;
  const AutotuneScope tuning;
  forward(n_fft_);
  EXPECT_EQ(explain(n_fft_).kernel, standard);
  EXPECT_EQ(explain(n_fft_).reason.find("tuned: "), 0u) << explain(n_fft_).reason;
}

TEST_F(GpuVariants, NothingIsTimedDuringACapture) {
  choose_fastest_forward();
  set_autotune(true);
  testing::emulator_options().capturing = true;
  EXPECT_EQ(launches(n_fft_), once_);
  EXPECT_EQ(launches(n_fft_), once_);
  testing::emulator_options().capturing = false;
  EXPECT_GT(launches(n_fft_), once_);
  testing::emulator_options().capturing = true;
  EXPECT_EQ(launches(n_fft_), once_);
  EXPECT_EQ(explain(n_fft_).kernel, fastest_);
}

TEST_F(GpuVariants, ScopesEnd) {
  choose_fastest_forward();
  {
    const AutotuneScope outer, inner;
    EXPECT_TRUE(autotune());
  }
  EXPECT_FALSE(autotune());
  EXPECT_EQ(launches(n_fft_), once_);
}

TEST_F(GpuVariants, Forced) {
  choose_fastest_forward();
  const std::string standard = explain(n_fft_).kernel;
  set_autotune(true);
  forward(n_fft_);
  set_variant("fast-forward", "0");
  EXPECT_EQ(explain(n_fft_).kernel, standard);
  EXPECT_EQ(explain(n_fft_).reason, "forced by set_variant");
  EXPECT_EQ(launches(n_fft_), once_);
  set_variant("fast-forward", std::to_string(place_));
  EXPECT_EQ(explain(n_fft_).kernel, fastest_);
  set_variant("fast-forward", standard);
  EXPECT_EQ(explain(n_fft_).kernel, standard);
  if (const std::int64_t n_fft = single(); n_fft != 0) {
    EXPECT_NO_THROW(forward(n_fft));  // the name is another size's
  }
  set_variant("fast-forward", "");
  EXPECT_EQ(explain(n_fft_).kernel, fastest_);
}

TEST_F(GpuVariants, AnUnknownForcedVariantIsAnErrorThatListsThem) {
  choose_fastest_forward();
  const std::string standard = explain(n_fft_).kernel;
  for (const std::string wrong : {"fastest", "99", "-1", "1x"}) {
    set_variant("fast-forward", wrong);
    launched_.clear();
    const std::vector<std::string> parts = {"set_variant for fast-forward", "n_fft = " + std::to_string(n_fft_),
                                            "0 '" + standard + "'", std::to_string(place_) + " '" + fastest_ + "'",
                                            "got '" + wrong + "'"};
    expect_error(ErrorKind::kInvalidArgument, "stft", parts, [&] { forward(n_fft_); });
    expect_error(ErrorKind::kInvalidArgument, "stft", parts, [&] { explain(n_fft_); });
    EXPECT_TRUE(launched_.empty());
  }
  expect_error(ErrorKind::kInvalidArgument, "set_variant", {"kernel", "'fast-forward'", "'fast-inverse'", "'fft'"},
               [] { set_variant("fft", "0"); });
}

TEST_F(GpuVariants, ADamagedFileIsOneWarningAndReplaced) {
  choose_fastest_forward();
  {
    const AutotuneScope tuning;
    forward(n_fft_);
  }
  const fs::path file = tuning_cache().at(0).file;
  std::ofstream(file, std::ios::trunc) << "{ \"format\": 1, ";
  forget_tuned();
  EXPECT_EQ(launches(n_fft_), once_);
  forward(512);
  ASSERT_EQ(warnings().size(), 1u);
  EXPECT_NE(warnings()[0].find(file.string()), std::string::npos) << warnings()[0];
  const AutotuneScope tuning;
  EXPECT_GT(launches(n_fft_), once_);
  forget_tuned();
  EXPECT_EQ(tuning_cache().size(), 1u);
  clear_tuning_cache();
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(GpuVariants, InverseKernelsAreTunedToo) {
  const auto call = [this](std::int64_t n_fft) {
    const Array spectrum = Array(DType::kComplex64, stft_shape(x_, params(n_fft))).randomize();
    const Array out(DType::kFloat32, istft_shape(spectrum, inverse_params(n_fft)));
    istft(emulated(spectrum), nullptr, inverse_params(n_fft), emulated(out));
  };
  const auto how = [this](std::int64_t n_fft) {
    const Array spectrum(DType::kComplex64, stft_shape(x_, params(n_fft)));
    return explain_istft(emulated(spectrum), inverse_params(n_fft));
  };
  choose_fastest("fast-inverse", call, how);
  EXPECT_EQ(how(n_fft_).reason.find("the default of "), 0u);
  const AutotuneScope tuning;
  call(n_fft_);
  EXPECT_EQ(how(n_fft_).kernel, fastest_);
  EXPECT_EQ(how(n_fft_).reason.find("tuned: "), 0u) << how(n_fft_).reason;
  ASSERT_EQ(tuning_cache().size(), 1u);
  EXPECT_EQ(tuning_cache()[0].job.find("istft, n_fft "), 0u) << tuning_cache()[0].job;
}

// What a call asks of the caller's memory does not grow with the runs that were timed.
TEST_F(GpuVariants, TimedRunsShareTheirWorkspace) {
  StftParams p = params(1024);
  p.frames.pad_mode = PadMode::kReflect;
  const Array grad = Array(DType::kComplex64, stft_shape(x_, p)).randomize();
  const Array out(DType::kFloat32, {9000});
  struct Memory {
    std::vector<std::vector<char>> pieces;
  } memory;
  Queue queue;
  queue.context = &memory;
  queue.workspace = [](void* context, std::size_t bytes) -> void* {
    auto& pieces = static_cast<Memory*>(context)->pieces;
    return pieces.emplace_back(bytes + 256).data();
  };
  stft_adjoint(emulated(grad), nullptr, p, emulated(out), queue);
  const std::size_t once = memory.pieces.size();
  memory.pieces.clear();
  const AutotuneScope tuning;
  stft_adjoint(emulated(grad), nullptr, p, emulated(out), queue);
  EXPECT_LE(memory.pieces.size(), 3 * once);
}

TEST_F(GpuVariants, TheLookUpIsQuick) {
  gpu::JobClass job;
  job.n_fft = 400;
  gpu::remember_variant(job, {3, gpu::Variant::Source::kTuned, 1.0}, tuning_generation.load());
  ASSERT_EQ(gpu::remembered_variant(job)->line, 3);
  constexpr int kBatches = 20, kCalls = 10000;
  double least = 1e9;  // another process may have the core for a while
  for (int batch = 0; batch < kBatches; ++batch) {
    const auto start = std::chrono::steady_clock::now();
    int sum = 0;
    for (int i = 0; i < kCalls; ++i) sum += gpu::remembered_variant(job)->line;
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(sum, 3 * kCalls);
    least = std::min(least, took.count() / kCalls);
  }
  EXPECT_LT(least, 300.0) << "ns";
  RecordProperty("nanoseconds", std::to_string(least));
  ++job.device;
  EXPECT_EQ(gpu::remembered_variant(job), nullptr);
  set_autotune(false);  // whatever changes choices
  --job.device;
  EXPECT_EQ(gpu::remembered_variant(job), nullptr);
}

}  // namespace
}  // namespace melisma
