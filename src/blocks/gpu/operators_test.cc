// What every operator on a GPU has in common: errors, counters, explanations, workspace.
#include <stdexcept>
#include <string>

#include "blocks/gpu/operators_fixtures.h"
#include "runtime/gpu/backend.h"

namespace melisma {
namespace {

using testing::Array;
using testing::emulated;
using testing::expect_error;

StftParams params_of(std::int64_t n_fft) {
  StftParams params;
  params.frames.n_fft = n_fft;
  return params;
}

Tensor on_cuda(Tensor tensor, int index = 0) {
  tensor.device = {DeviceType::kCuda, index};
  return tensor;
}

TEST(GpuOperators, MixedDevicesAreOneError) {
  const Array x = Array(DType::kFloat32, {1000}).randomize();
  const Array out(DType::kComplex64, stft_shape(x, params_of(256)));
  const testing::Window window("hann", 256);
  expect_error(ErrorKind::kInvalidType, "stft", {"out", "input", "cuda:1", "cpu"},
               [&] { stft(on_cuda(x, 1), nullptr, params_of(256), out); });
  expect_error(ErrorKind::kInvalidType, "stft", {"window", "input", "cuda:0", "cuda:1"}, [&] {
    const Tensor other = on_cuda(*window.get(), 1);
    stft(on_cuda(x), &other, params_of(256), on_cuda(out));
  });
  expect_error(ErrorKind::kInvalidType, "stft_adjoint", {"window", "grad", "emulator:0", "cpu"},
               [&] { stft_adjoint(emulated(out), window.get(), params_of(256), emulated(x)); });
  EXPECT_TRUE(out.untouched());
}

TEST(GpuOperators, HalfIsForGpus) {
  const Array x = Array(DType::kFloat16, {1000}).randomize();
  const Array out(DType::kComplex64, stft_shape(x, params_of(256)));
  expect_error(ErrorKind::kInvalidType, "stft", {"input", "float16", "CPU"},
               [&] { stft(x, nullptr, params_of(256), out); });
  IstftParams params;
  params.n_fft = 256;
  const Array narrow(DType::kBFloat16, istft_shape(out, params));
  expect_error(ErrorKind::kInvalidType, "istft", {"out", "bfloat16", "CPU"},
               [&] { istft(out, nullptr, params, narrow); });
}

TEST(GpuOperators, CudaWithoutADeviceSaysWhy) {
  std::string reason;
  if (gpu::cuda_available(&reason)) GTEST_SKIP() << "this machine has one: " << reason;
  const Array x = Array(DType::kFloat32, {1000}).randomize();
  const Array out(DType::kComplex64, stft_shape(x, params_of(256)));
  EXPECT_FALSE(reason.empty());
  expect_error(ErrorKind::kUnavailable, "stft", {"cuda:0", reason},
               [&] { stft(on_cuda(x), nullptr, params_of(256), on_cuda(out)); });
  expect_error(ErrorKind::kUnavailable, "stft", {"cuda:0", reason}, [&] { explain_stft(on_cuda(x), params_of(256)); });
  for (const BackendInfo& backend : backends()) {
    if (backend.name == "cuda") {
      EXPECT_FALSE(backend.available);
      EXPECT_EQ(backend.reason, reason);
    }
  }
}

TEST(GpuOperators, BanksLieWhereTheSignalDoes) {
  const Array x = Array(DType::kFloat32, {1000}).randomize();
  FilteredSpectrogramParams params;
  params.spectrogram.frames.n_fft = 256;
  const FilterBank bank = FilterBank::mel(129, {.sample_rate = 16000.0, .n_mels = 10});
  const Array matrix(DType::kFloat32, {129, 10});
  bank.to_dense(matrix);
  const Array out(DType::kFloat32, filtered_spectrogram_shape(x, bank, params));
  expect_error(ErrorKind::kInvalidType, "filtered_spectrogram", {"filterbank", "emulator:0", "host"},
               [&] { filtered_spectrogram(emulated(x), nullptr, bank, params, emulated(out)); });
  expect_error(ErrorKind::kInvalidArgument, "filtered_spectrogram", {"filterbank", "CPU"},
               [&] { filtered_spectrogram(x, nullptr, FilterBankView(matrix), params, out); });
  expect_error(ErrorKind::kInvalidType, "filtered_spectrogram", {"filterbank", "cpu", "emulator:0"},
               [&] { filtered_spectrogram(emulated(x), nullptr, FilterBankView(matrix), params, emulated(out)); });
  expect_error(ErrorKind::kInvalidType, "filter_bank", {"CPU"}, [&] { FilterBank{emulated(matrix)}; });
  EXPECT_TRUE(out.untouched());
}

TEST(GpuOperators, CountsAndExplains) {
  const Array x = Array(DType::kFloat32, {4000}).randomize();
  const auto counted = [](const std::string& kernel) {
    for (const CallCount& count : call_counts()) {
      if (count.op == "stft" && count.kernel == kernel) return count;
    }
    return CallCount{};
  };
  for (const std::int64_t n_fft : {std::int64_t{1024}, std::int64_t{101}}) {
    const Array out(DType::kComplex64, stft_shape(x, params_of(n_fft)), {{1, 0}, 1, 0, {}});
    reset_call_counts();
    stft(emulated(x), nullptr, params_of(n_fft), emulated(out));
    const Explanation how = explain_stft(emulated(x), params_of(n_fft));
    EXPECT_EQ(how.backend, "emulator");
    EXPECT_FALSE(how.kernel.empty());
    EXPECT_FALSE(how.reason.empty());
    const CallCount count = counted(n_fft == 1024 ? "emulator" : "emulator generic");
    EXPECT_EQ(count.calls, 1u);
    EXPECT_EQ(count.reason, "");  // a size that no fast kernel has is no fallback
  }

  // A fast size whose samples lie apart is one.
  const Array apart = testing::copy_of(x, DType::kFloat32, {{}, 2, 0, {}});
  const Array out(DType::kComplex64, stft_shape(apart, params_of(1024)));
  Tensor everywhere = emulated(out);
  reset_call_counts();
  stft(emulated(apart), nullptr, params_of(1024), everywhere);
  const CallCount count = counted("emulator generic");
  if (count.calls > 0) {
    EXPECT_FALSE(count.reason.empty());
    set_strict(true);
    expect_error(ErrorKind::kUnavailable, "stft", {"strict", count.reason},
                 [&] { stft(emulated(apart), nullptr, params_of(1024), everywhere); });
    set_strict(false);
  }
}

TEST(GpuOperators, WorkspaceIsTheCallers) {
  struct Memory {
    std::vector<std::vector<char>> blocks;
    bool refuses = false;
  } memory;
  Queue queue;
  queue.context = &memory;
  queue.workspace = [](void* context, std::size_t bytes) -> void* {
    auto* all = static_cast<Memory*>(context);
    if (all->refuses) throw std::range_error("no more");
    all->blocks.emplace_back(bytes + 256);
    char* const data = all->blocks.back().data();
    return data + (256 - reinterpret_cast<std::uintptr_t>(data) % 256) % 256;
  };
  const Array x = Array(DType::kFloat32, {3000}).randomize();
  const Array grad = Array(DType::kComplex64, stft_shape(x, params_of(101))).randomize();
  const Array out(DType::kFloat32, {101}), want(DType::kFloat64, {101});
  stft_window_gradient(emulated(x), emulated(grad), params_of(101), emulated(out), queue);
  stft_window_gradient_reference(x, grad, params_of(101), want);
  testing::expect_close(out, want, 1e-6, "with the caller's workspace");
  if (memory.blocks.empty()) GTEST_SKIP() << "this call needs no workspace";
  memory.refuses = true;
  EXPECT_THROW(stft_window_gradient(emulated(x), emulated(grad), params_of(101), emulated(out), queue),
               std::range_error);
}

TEST(GpuOperators, NothingToDo) {
  const Array x(DType::kFloat32, {0, 1000});
  const Array out(DType::kComplex64, stft_shape(x, params_of(256)));
  stft(emulated(x), nullptr, params_of(256), emulated(out));
  const Array grad(DType::kFloat32, {256});
  stft_window_gradient(emulated(x), emulated(out), params_of(256), emulated(grad));
  for (std::int64_t i = 0; i < 256; ++i) ASSERT_EQ(grad.get(i).real(), 0.0);
}

}  // namespace
}  // namespace melisma
