// The causal convolution of anything: any strides, types, widths; a thread computes one output at a time.
#pragma once

#include "blocks/gpu/conv/conv-kernel.h"

namespace melisma::gpu {

template <typename T>
struct GenericConv {
  struct Args {
    ConvArgs conv;
    SeriesArgs out;
    StateBlocks final;
    int steps_inner;  // neighbouring threads take neighbouring steps, else channels
  };
  static constexpr int kThreads = 256;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    if (t.block() < args.final.blocks) return store_final_states<T, kThreads>(t, args.conv, args.final);
    const std::int64_t inner = args.steps_inner != 0 ? args.conv.steps : args.conv.channels;
    const std::int64_t outer = args.steps_inner != 0 ? args.conv.channels : args.conv.steps;
    const std::int64_t count = args.conv.items * inner * outer;
    const std::int64_t blocks = t.blocks() - args.final.blocks;
    for (std::int64_t i = (t.block() - args.final.blocks) * kThreads + t.thread(); i < count; i += blocks * kThreads) {
      const std::int64_t line = i / inner, a = i - line * inner, item = line / outer, b = line - item * outer;
      const std::int64_t d = args.steps_inner != 0 ? b : a, step = args.steps_inner != 0 ? a : b;
      store_real(args.out.data, args.out.type, series_at(args.out, item, d) + step * args.out.step_stride,
                 conv_output<T>(args.conv, item, d, step));
    }
  }
};

}  // namespace melisma::gpu
