// The launch of a fast gradient kernel: what a .cu file (or the emulator) includes to compile some of the variants.
#pragma once

#include <cstdint>

#include "blocks/gpu/fast_forward_launch.h"
#include "blocks/gpu/fast_gradient-kernel.h"
#include "blocks/gpu/fast_gradient.h"
#include "blocks/gpu/fast_gradient_bank.h"
#include "blocks/gpu/fast_inverse_launch.h"
#include "blocks/gpu/inverse_args.h"
#include "blocks/gpu/of_last_bank.h"

namespace melisma::gpu {
namespace fast_gradient {

// The transform of the signal that the gradient goes back through.
inline ForwardJob forward_of(const InverseJob& job) {
  ForwardJob forward;
  forward.x = job.x;
  forward.items = job.items;
  forward.framing = job.framing;
  forward.window = job.window;
  return forward;
}

// As the overlap-add reads it, times the half that the gain stands for.
template <class Runner>
Window halved(const Window& window, std::int64_t n_fft, Runner& runner) {
  Window result = window;
  if (window.unit_energy) {
    result = Window{padded_window<float>(window, n_fft, 1.0, runner), DType::kFloat32, 1, n_fft, 1.0, false};
  }
  result.scale *= 0.5;
  return result;
}

template <class Kernel, class Runner>
void set_bank(const InverseJob& job, Runner& runner, typename Kernel::Args& args) {
  using Forward = typename Kernel::Forward;
  const FilterBank& bank = *job.power.bank.host;
  const FilterBank::Fingerprint& fingerprint = job.power.bank.fingerprint;
  thread_local OfLastBank<BinBands> last_bins;
  const BinBands& shape = last_bins.get(fingerprint, [&] { return bin_bands(bank); });
  args.bands_of_bin.weights = static_cast<const float*>(
      runner.table(bank_key("fast gradient bins", job.power.bank), static_cast<std::size_t>(shape.bytes()),
                   [&](void* to) { fill_bin_bands(bank, shape, static_cast<float*>(to)); }));
  args.bands_of_bin.pairs = static_cast<int>(shape.pairs);
  args.bands_of_bin.pitch = static_cast<int>(2 * shape.bins);
  if (!job.power.log.enabled) return;
  thread_local OfLastBank<BandBins> last_bands;  // of this kernel's lanes
  const BandBins& bands = last_bands.get(fingerprint, [&] { return band_bins(bank, Forward::kLanes); });
  args.bins_of_band.table = static_cast<const float*>(runner.table(
      bank_key("fast gradient bands", job.power.bank, Forward::kLanes + (std::int64_t{Forward::M} << 8)),
      static_cast<std::size_t>(bands.bytes()), [&](void* to) { fill_band_bins(bank, bands, Forward::M + 4, to); }));
  args.bins_of_band.weights = static_cast<int>(bands.weights_at);
}

template <class Kernel, class Runner>
void launch(InverseJob job, Runner& runner) {
  using Plan = typename Kernel::BackPlan;
  using Forward = typename Kernel::Forward;
  const ForwardJob forward = forward_of(job);
  job.window = halved(job.window, job.framing.n_fft, runner);
  typename Kernel::Args args{};
  args.samples = fast_forward::samples_args<Forward>(forward, runner);
  args.inside_to = job.framing.length - Forward::N;
  args.next_samples = job.framing.hop * Kernel::kFrames + Forward::N - args.samples.new_samples;
  args.forward_twiddles = static_cast<const float*>(
      runner.table(TableKey{"fast forward twiddles", Forward::A, Forward::B * 2 + Forward::kRows},
                   (Forward::kStepFloats + Forward::kSplitFloats) * sizeof(float),
                   [](void* to) { fast_forward::fill_twiddles<Forward>(static_cast<float*>(to)); }));
  args.twiddles = static_cast<const float*>(
      runner.table(TableKey{"fast inverse twiddles", Plan::C, Plan::R}, Plan::kTwiddleFloats * sizeof(float),
                   [](void* to) { fast_inverse::fill_twiddles<Plan>(static_cast<float*>(to)); }));
  ScannedBank<float> scanned{};
  args.gradient = gradient_args<float>(job, runner, &scanned);
  if (scanned.weights != nullptr) {
    args.bands_of_bin = {scanned.weights, 0, scanned.pitch};
  } else if (job.bands) {
    set_bank<Kernel>(job, runner, args);
  }
  args.sums = fast_inverse::overlap_add_args<typename Kernel::WideSum>(job);
  fast_inverse::launch_padded<Kernel>(args, job, runner);
}

}  // namespace fast_gradient

template <int kIndex, class Runner>
void launch_fast_gradient(const InverseJob& job, Runner& runner) {
  using V = FastGradientVariant<kIndex>;
  using Plan =
      GradientPlan<FastPlan<V::kA, V::kB, V::kByRows>, InversePlan<V::kC, V::kR, V::kLanes, V::kWarps, V::kMinBlocks>>;
  if (job.items == 0 || job.framing.length == 0) return;
  with_wide<float>(runner, [&]<typename Wide>(Wide) { fast_gradient::launch<FastGradient<Plan, Wide>>(job, runner); });
}

#define MELISMA_FAST_GRADIENT_INSTANTIATE(index, Runner) \
  template void launch_fast_gradient<index, Runner>(const InverseJob&, Runner&);

}  // namespace melisma::gpu
