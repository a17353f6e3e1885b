// melisma._core: the C++ library as Python sees it. Arguments are NumPy arrays and parameter objects; everything
// friendlier is in python/melisma.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <functional>
#include <optional>

#include "arrays.h"
#include "convolution.h"
#include "device_call.h"
#include "melisma/melisma.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace melisma::python {
namespace {

// Errors become the exceptions of melisma.errors.
void translate(const std::exception_ptr& error, void*) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::kOutOfMemory) {
      PyErr_SetString(PyExc_MemoryError, e.what());
      return;
    }
    const char* name = e.kind() == ErrorKind::kInvalidArgument ? "InvalidArgument"
                       : e.kind() == ErrorKind::kInvalidType   ? "InvalidType"
                                                               : "Unavailable";
    const nb::object type = nb::module_::import_("melisma.errors").attr(name);
    PyErr_SetString(type.ptr(), e.what());
  }
}

// The result of an operator: `out` where given, else a new array; then runs `compute` on it without the GIL.
nb::object run(const char* op, const Shape& shape, DType dtype, bool swapped, nb::handle out, const Tensor& input,
               const DeviceCall& device, const std::function<void(const Tensor&)>& compute) {
  if (out.is_none() && !device.on_device()) {
    NewArray result = new_array(shape, dtype, swapped);
    {
      nb::gil_scoped_release unlocked;
      compute(result.tensor);
    }
    return result.object;
  }
  const nb::object array = out.is_none() ? device.empty(shape, dtype, swapped) : nb::borrow(out);
  const ArrayView result = device.on_device() ? device.view(array, op, "out") : writable_view(array, op, "out");
  if (!out.is_none() && overlap(result.tensor, input)) {
    throw Error(ErrorKind::kInvalidArgument,
                std::string(op) + ": out must not overlap the input's memory, got one that does");
  }
  {
    nb::gil_scoped_release unlocked;
    compute(result.tensor);
  }
  return array;
}

constexpr std::int64_t kMostValues = std::int64_t{1} << 28;  // of a window or a dense filter bank: as the largest n_fft

struct OptionalView {
  explicit OptionalView(nb::handle object, const char* op) {
    if (!object.is_none()) array = view(object, op, "window");
  }
  const Tensor* get() const { return array ? &array->tensor : nullptr; }
  std::optional<ArrayView> array;
};

DType real_result(DType input) { return input == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32; }

nb::object call_stft(nb::handle x, nb::handle window, const StftParams& params, nb::handle out, nb::handle owner) {
  const ArrayView input = view(x, "stft", "input");
  const OptionalView w(window, "stft");
  const DeviceCall device(owner);
  const bool wide = input.tensor.dtype == DType::kFloat64 || input.tensor.dtype == DType::kComplex128;
  return run("stft", stft_shape(input.tensor, params), wide ? DType::kComplex128 : DType::kComplex64,
             params.layout == Layout::kFrequencyMajor, out, input.tensor, device,
             [&](const Tensor& result) { stft(input.tensor, w.get(), params, result, device.queue()); });
}

nb::object call_istft(nb::handle spec, nb::handle window, const IstftParams& params, bool complex_result,
                      nb::handle out, nb::handle owner) {
  const ArrayView input = view(spec, "istft", "input");
  const OptionalView w(window, "istft");
  const DeviceCall device(owner);
  const DType real = input.tensor.dtype == DType::kComplex128 ? DType::kFloat64 : DType::kFloat32;
  const Shape shape = istft_shape(input.tensor, params);
  return run("istft", shape, complex_result ? input.tensor.dtype : real, false, out, input.tensor, device,
             [&](const Tensor& result) { istft(input.tensor, w.get(), params, result, device.queue()); });
}

// The host's check of EdgePolicy::kError for calls on a device; window: on the CPU.
void check_envelope(nb::handle window, const IstftParams& params, std::int64_t frames) {
  const OptionalView w(window, "istft");
  check_istft_envelope(w.get(), params, frames);
}

nb::object call_spectrogram(nb::handle x, nb::handle window, const SpectrogramParams& params, nb::handle out,
                            nb::handle owner) {
  const ArrayView input = view(x, "spectrogram", "input");
  const OptionalView w(window, "spectrogram");
  const DeviceCall device(owner);
  return run("spectrogram", spectrogram_shape(input.tensor, params), real_result(input.tensor.dtype),
             params.layout == Layout::kFrequencyMajor, out, input.tensor, device,
             [&](const Tensor& result) { spectrogram(input.tensor, w.get(), params, result, device.queue()); });
}

// weights: the bank's matrix on the device, of calls there; bank: None where the host does not know it.
nb::object call_filtered_spectrogram(nb::handle x, nb::handle window, const FilterBank* bank,
                                     const FilteredSpectrogramParams& params, nb::handle out, nb::handle owner,
                                     nb::handle weights) {
  constexpr const char* kOp = "filtered_spectrogram";
  const ArrayView input = view(x, kOp, "input");
  const OptionalView w(window, kOp);
  const DeviceCall device(owner);
  std::optional<ArrayView> matrix;
  if (!weights.is_none()) matrix = view(weights, kOp, "filterbank");
  if (!matrix && bank == nullptr)
    throw Error(ErrorKind::kInvalidArgument, "filtered_spectrogram: filterbank is missing");
  const FilterBankView filters = matrix ? FilterBankView(matrix->tensor, bank) : FilterBankView(*bank);
  return run(kOp, filtered_spectrogram_shape(input.tensor, filters, params), real_result(input.tensor.dtype),
             params.spectrogram.layout == Layout::kFrequencyMajor, out, input.tensor, device,
             [&](const Tensor& result) {
               filtered_spectrogram(input.tensor, w.get(), filters, params, result, device.queue());
             });
}

nb::dict to_dict(const Explanation& e) {
  nb::dict result;
  result["backend"] = e.backend;
  result["kernel"] = e.kernel;
  result["reason"] = e.reason;
  result["simd"] = simd_target();
  result["threads"] = num_threads();
  return result;
}

void bind_parameters(nb::module_& m) {
  nb::enum_<PadMode>(m, "PadMode")
      .value("constant", PadMode::kConstant)
      .value("reflect", PadMode::kReflect)
      .value("replicate", PadMode::kReplicate)
      .value("circular", PadMode::kCircular);
  nb::enum_<Layout>(m, "Layout")
      .value("frequency_major", Layout::kFrequencyMajor)
      .value("frame_major", Layout::kFrameMajor);
  nb::enum_<FrameTail>(m, "FrameTail").value("whole", FrameTail::kWhole).value("covers", FrameTail::kCovers);
  nb::enum_<EdgePolicy>(m, "EdgePolicy")
      .value("error", EdgePolicy::kError)
      .value("zero", EdgePolicy::kZero)
      .value("clamp", EdgePolicy::kClamp);
  nb::enum_<SpectrumNorm>(m, "SpectrumNorm")
      .value("none", SpectrumNorm::kNone)
      .value("frame_length", SpectrumNorm::kFrameLength)
      .value("window", SpectrumNorm::kWindow);
  nb::enum_<MelScale>(m, "MelScale").value("htk", MelScale::kHtk).value("slaney", MelScale::kSlaney);
  nb::enum_<MelNorm>(m, "MelNorm").value("none", MelNorm::kNone).value("slaney", MelNorm::kSlaney);
  nb::enum_<TopScope>(m, "TopScope").value("item", TopScope::kItem).value("packed", TopScope::kPacked);

  // Plain structs with named fields: Python makes one per distinct set of options and keeps it.
  nb::class_<FrameParams>(m, "FrameParams")
      .def(nb::init<>())
      .def_rw("n_fft", &FrameParams::n_fft)
      .def_rw("hop_length", &FrameParams::hop_length)
      .def_rw("win_length", &FrameParams::win_length)
      .def_rw("center", &FrameParams::center)
      .def_rw("pad_mode", &FrameParams::pad_mode)
      .def_rw("pad", &FrameParams::pad)
      .def_rw("align_to_window", &FrameParams::align_to_window)
      .def_rw("tail", &FrameParams::tail)
      .def_rw("fractional_hop", &FrameParams::fractional_hop)
      .def_rw("input_scale", &FrameParams::input_scale);
  nb::class_<StftParams>(m, "StftParams")
      .def(nb::init<>())
      .def_rw("frames", &StftParams::frames)
      .def_rw("normalized", &StftParams::normalized)
      .def_rw("onesided", &StftParams::onesided)
      .def_rw("nyquist", &StftParams::nyquist)
      .def_rw("layout", &StftParams::layout);
  nb::class_<IstftParams>(m, "IstftParams")
      .def(nb::init<>())
      .def_rw("n_fft", &IstftParams::n_fft)
      .def_rw("hop_length", &IstftParams::hop_length)
      .def_rw("win_length", &IstftParams::win_length)
      .def_rw("center", &IstftParams::center)
      .def_rw("normalized", &IstftParams::normalized)
      .def_rw("onesided", &IstftParams::onesided)
      .def_rw("length", &IstftParams::length)
      .def_rw("edge", &IstftParams::edge)
      .def_rw("layout", &IstftParams::layout);
  nb::class_<SpectrogramParams>(m, "SpectrogramParams")
      .def(nb::init<>())
      .def_rw("frames", &SpectrogramParams::frames)
      .def_rw("power", &SpectrogramParams::power)
      .def_rw("norm", &SpectrogramParams::norm)
      .def_rw("nyquist", &SpectrogramParams::nyquist)
      .def_rw("layout", &SpectrogramParams::layout);
  nb::class_<LogParams>(m, "LogParams")
      .def(nb::init<>())
      .def_rw("enabled", &LogParams::enabled)
      .def_rw("scale", &LogParams::scale)
      .def_rw("mul", &LogParams::mul)
      .def_rw("add", &LogParams::add)
      .def_rw("floor", &LogParams::floor)
      .def_rw("offset", &LogParams::offset)
      .def_rw("top", &LogParams::top)
      .def_rw("top_scope", &LogParams::top_scope)
      .def_rw("post_mul", &LogParams::post_mul)
      .def_rw("post_add", &LogParams::post_add);
  nb::class_<FilteredSpectrogramParams>(m, "FilteredSpectrogramParams")
      .def(nb::init<>())
      .def_rw("spectrogram", &FilteredSpectrogramParams::spectrogram)
      .def_rw("log", &FilteredSpectrogramParams::log)
      .def_rw("float64", &FilteredSpectrogramParams::float64);
}

void bind_filter_bank(nb::module_& m) {
  nb::class_<FilterBank>(m, "FilterBank")
      .def_static("from_dense",
                  [](nb::handle weights) { return FilterBank(view(weights, "filter_bank", "filterbank").tensor); })
      .def_static(
          "mel",
          [](std::int64_t bins, double sample_rate, std::int64_t n_mels, double f_min, double f_max, MelScale scale,
             MelNorm norm) {
            return FilterBank::mel(bins, {sample_rate, n_mels, f_min, f_max, scale, norm});
          },
          nb::kw_only(), "bins"_a, "sample_rate"_a, "n_mels"_a, "f_min"_a, "f_max"_a, "scale"_a, "norm"_a)
      .def_static(
          "logarithmic",
          [](std::int64_t bins, double sample_rate, std::int64_t bands_per_octave, double f_min, double f_max,
             double f_ref, bool norm_filters, bool unique_filters) {
            return FilterBank::logarithmic(
                bins, {sample_rate, bands_per_octave, f_min, f_max, f_ref, norm_filters, unique_filters});
          },
          nb::kw_only(), "bins"_a, "sample_rate"_a, "bands_per_octave"_a, "f_min"_a, "f_max"_a, "f_ref"_a,
          "norm_filters"_a, "unique_filters"_a)
      .def_prop_ro("bins", &FilterBank::bins)
      .def_prop_ro("bands", &FilterBank::bands)
      .def(
          "to_dense",
          [](const FilterBank& bank, bool float64) {
            if (bank.bins() > kMostValues / bank.bands()) {
              throw Error(ErrorKind::kInvalidArgument, "filter_bank: bins times bands must be at most 2^28, got " +
                                                           std::to_string(bank.bins()) + " times " +
                                                           std::to_string(bank.bands()));
            }
            NewArray result =
                new_array(Shape{bank.bins(), bank.bands()}, float64 ? DType::kFloat64 : DType::kFloat32, false);
            bank.to_dense(result.tensor);
            return result.object;
          },
          "float64"_a = false);
}

void bind_operators(nb::module_& m) {
  m.def("stft", &call_stft, "x"_a, "window"_a.none(), "params"_a, "out"_a.none(), "owner"_a = nb::none());
  m.def("istft", &call_istft, "spec"_a, "window"_a.none(), "params"_a, "complex_result"_a, "out"_a.none(),
        "owner"_a = nb::none());
  m.def("check_istft_envelope", &check_envelope, "window"_a.none(), "params"_a, "frames"_a);
  m.def("spectrogram", &call_spectrogram, "x"_a, "window"_a.none(), "params"_a, "out"_a.none(), "owner"_a = nb::none());
  m.def("filtered_spectrogram", &call_filtered_spectrogram, "x"_a, "window"_a.none(), "bank"_a.none(), "params"_a,
        "out"_a.none(), "owner"_a = nb::none(), "weights"_a = nb::none());
  // Microseconds of one stft called from C++ into a result that is there: what the benchmark takes a call's overhead
  // from.
  m.def(
      "time_stft",
      [](nb::handle x, nb::handle window, const StftParams& params, nb::handle out, int calls) {
        const ArrayView input = view(x, "stft", "input");
        const OptionalView w(window, "stft");
        const ArrayView result = writable_view(out, "stft", "out");
        nb::gil_scoped_release unlocked;
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < calls; ++i) stft(input.tensor, w.get(), params, result.tensor);
        return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / calls;
      },
      "x"_a, "window"_a.none(), "params"_a, "out"_a, "calls"_a);
  // The arguments of the operators, without out; windows are not looked at.
  m.def(
      "explain_stft",
      [](nb::handle x, nb::handle, const StftParams& p) {
        return to_dict(explain_stft(view(x, "stft", "input").tensor, p));
      },
      "x"_a, "window"_a.none(), "params"_a);
  m.def(
      "explain_istft",
      [](nb::handle x, nb::handle, const IstftParams& p, bool) {
        return to_dict(explain_istft(view(x, "istft", "input").tensor, p));
      },
      "x"_a, "window"_a.none(), "params"_a, "complex_result"_a);
  m.def(
      "explain_spectrogram",
      [](nb::handle x, nb::handle, const SpectrogramParams& p) {
        return to_dict(explain_spectrogram(view(x, "spectrogram", "input").tensor, p));
      },
      "x"_a, "window"_a.none(), "params"_a);
  m.def(
      "explain_filtered_spectrogram",
      [](nb::handle x, nb::handle, const FilterBank& bank, const FilteredSpectrogramParams& p, bool known) {
        const ArrayView input = view(x, "filtered_spectrogram", "input");
        // Of a bank on a device only the shape counts beside what the host knows.
        Tensor matrix(nullptr, DType::kFloat32, Shape{bank.bins(), bank.bands()}, input.tensor.device);
        const bool on_cpu = input.tensor.device.type == DeviceType::kCpu;
        return to_dict(explain_filtered_spectrogram(
            input.tensor, on_cpu ? FilterBankView(bank) : FilterBankView(matrix, known ? &bank : nullptr), p));
      },
      "x"_a, "window"_a.none(), "bank"_a, "params"_a, "known"_a = true);
  m.def("make_window", [](const std::string& name, std::int64_t length, bool periodic, double parameter) {
    if (length < 1 || length > kMostValues) {
      throw Error(ErrorKind::kInvalidArgument, "make_window: length must be 1 to 2^28, got " + std::to_string(length));
    }
    NewArray result = new_array(Shape{length}, DType::kFloat64, false);
    make_window(name, periodic, parameter, result.tensor);
    return result.object;
  });
}

void bind_runtime(nb::module_& m) {
  m.def("set_num_threads", &set_num_threads);
  m.def("num_threads", &num_threads);
  m.def("backends", [] {
    nb::list result;
    for (const BackendInfo& info : backends()) {
      nb::dict entry;
      entry["name"] = info.name;
      entry["available"] = info.available;
      entry["reason"] = info.reason;
      result.append(entry);
    }
    return result;
  });
  m.def("call_counts", [] {
    nb::list result;
    for (const CallCount& count : call_counts()) {
      nb::dict entry;
      entry["op"] = count.op;
      entry["kernel"] = count.kernel;
      entry["reason"] = count.reason;
      entry["calls"] = count.calls;
      result.append(entry);
    }
    return result;
  });
  m.def("reset_call_counts", &reset_call_counts);
  m.def("simd_targets", &simd_targets);
  m.def("simd_target", &simd_target);
  m.def("set_simd_target", &set_simd_target);
  m.def("trim_pool", &trim_pool);
  m.def("pooled_bytes", &pooled_bytes);
  m.def("version", &version);
}

// Called on any thread, with or without the GIL, and with none of the library's locks held.
void warn_in_python(const char* message) {
  const nb::gil_scoped_acquire locked;
  if (PyErr_WarnEx(PyExc_RuntimeWarning, message, 1) != 0) PyErr_WriteUnraisable(nullptr);
}

void bind_variants(nb::module_& m) {
  m.def("set_variant", &set_variant);
  m.def("set_autotune", &set_autotune);
  m.def("autotuning", &autotune);
  nb::class_<AutotuneScope>(m, "AutotuneScope").def(nb::init<>());
  m.def("tuning_cache_directory", &tuning_cache_directory);
  m.def("tuning_cache", [] {
    std::vector<TunedVariant> known;
    {
      const nb::gil_scoped_release unlocked;  // may wait for a thread that waits for Python
      known = tuning_cache();
    }
    nb::list result;
    for (const TunedVariant& tuned : known) {
      nb::dict entry;
      entry["device"] = tuned.device;
      entry["kernel"] = tuned.kernel;
      entry["job"] = tuned.job;
      entry["variant"] = tuned.variant;
      entry["microseconds"] = tuned.microseconds;
      entry["file"] = tuned.file;
      result.append(entry);
    }
    return result;
  });
  m.def("clear_tuning_cache", &clear_tuning_cache, nb::call_guard<nb::gil_scoped_release>());
  set_warning_handler(&warn_in_python);
  nb::module_::import_("atexit").attr("register")(nb::cpp_function([] { set_warning_handler(nullptr); }));
}

}  // namespace
}  // namespace melisma::python

NB_MODULE(_core, m) {
  using namespace melisma::python;
  nb::set_leak_warnings(false);  // the parameter caches of python/melisma live until the interpreter ends
  nb::register_exception_translator(translate);
  bind_parameters(m);
  bind_filter_bank(m);
  bind_operators(m);
  bind_convolution(m);
  bind_runtime(m);
  bind_variants(m);
}
