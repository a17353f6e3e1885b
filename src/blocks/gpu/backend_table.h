// A kind of device's table of functions, out of its runner.
#pragma once

#include "blocks/gpu/conv/backward.h"
#include "blocks/gpu/conv/forward.h"
#include "blocks/gpu/conv/update.h"
#include "blocks/gpu/forward.h"
#include "blocks/gpu/inverse.h"
#include "blocks/gpu/window.h"
#include "runtime/gpu/backend.h"
#include "runtime/gpu/device_error.h"

namespace melisma::gpu {

// Devices: kName, kGenericName, count(), info(index), and open(index, queue), which makes a runner for one call.
template <class Devices>
struct BackendTable {
  static void plan_forward(const ForwardJob& job, const Choice& choice, Plan* plan, Status* status) {
    report(status, [&] { plan_job<ForwardKernels>(job, choice, plan); });
  }
  static void plan_inverse(const InverseJob& job, const Choice& choice, Plan* plan, Status* status) {
    report(status, [&] { gpu::plan_inverse(job, choice, plan); });
  }
  static void plan_window(const WindowJob& job, const Choice&, Plan* plan, Status* status) {
    report(status, [&] { gpu::plan_window(job, plan); });
  }
  static void forward(const ForwardJob& job, const Plan& plan, int index, const Queue& queue, Status* status) {
    report(status, [&] {
      auto&& runner = Devices::open(index, queue);
      run_forward(job, plan, runner);
    });
  }
  static void inverse(const InverseJob& job, const Plan& plan, int index, const Queue& queue, Status* status) {
    report(status, [&] {
      auto&& runner = Devices::open(index, queue);
      run_inverse(job, plan, runner);
    });
  }
  static void window(const WindowJob& job, const Plan&, int index, const Queue& queue, Status* status) {
    report(status, [&] {
      auto&& runner = Devices::open(index, queue);
      run_window(job, runner);
    });
  }
  template <class Job>
  static void plan_conv(const Job& job, const Choice& choice, Plan* plan, Status* status) {
    report(status, [&] { gpu::plan_conv(job, choice, plan); });
  }
  template <class Job>
  static void conv(const Job& job, const Plan& plan, int index, const Queue& queue, Status* status) {
    report(status, [&] {
      auto&& runner = Devices::open(index, queue);
      run_conv(job, !plan.fast, runner);
    });
  }
  static void capturing(int index, const Queue& queue, bool* answer, Status* status) {
    report(status, [&] {
      auto&& runner = Devices::open(index, queue);
      *answer = runner.capturing();
    });
  }
  static void time(int index, const Queue& queue, void (*run)(void*), void* context, double* microseconds,
                   Status* status) {
    report(status, [&] {
      auto&& runner = Devices::open(index, queue);
      *microseconds = runner.microseconds([&] { run(context); });
    });
  }
  static void device_count(int* count, Status* status) {
    report(status, [&] { *count = Devices::count(); });
  }
  static void device_info(int index, DeviceInfo* info, Status* status) {
    report(status, [&] { *info = Devices::info(index); });
  }

  static Backend make(const char* version) {
    return {kBackendInterface,
            version,
            Devices::kName,
            Devices::kGenericName,
            plan_forward,
            plan_inverse,
            plan_window,
            forward,
            inverse,
            window,
            capturing,
            time,
            device_count,
            device_info,
            plan_conv<ConvForwardJob>,
            plan_conv<ConvBackwardJob>,
            plan_conv<ConvUpdateJob>,
            conv<ConvForwardJob>,
            conv<ConvBackwardJob>,
            conv<ConvUpdateJob>};
  }
};

}  // namespace melisma::gpu
