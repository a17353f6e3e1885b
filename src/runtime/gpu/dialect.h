// The kernel dialect: what a kernel may use, in three implementations (CUDA, Metal Shading Language, host emulator).
//
// A kernel is a struct:
//
//   struct Scale {
//     struct Args { MEL_GLOBAL(const float) x; MEL_GLOBAL(float) y; std::int64_t count; };   // plain data
//     static constexpr int kThreads = 128;                        // of a block, a multiple of 32
//     MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared);
//   };
//
// Blocks form one row of any length (t.block() of t.blocks()); lane and warp are those of 32 threads. Shared memory
// comes as one piece, aligned to 128 bytes, as large as the launch says, its contents undefined. Kernel headers include
// dialect.h and each other, nothing else, and keep to C++14 without double (use a template parameter), lambdas,
// recursion, virtual functions and exceptions, which is what Metal takes. Every pointer names its address space:
//
//   MEL_GLOBAL(T)   pointer to device memory        MEL_SHARED(T)   pointer to the block's shared memory
//   MEL_LOCAL       before the & or the array of a parameter that lies in a thread's registers:
//                     MEL_FN void dft(MEL_LOCAL Complex<float> (&v)[8]);
//   MEL_GLOBAL_CAST(T, p), MEL_SHARED_CAST(T, p)     the same address as a pointer to T
//   MEL_FN          before every function           MEL_UNROLL      before a loop whose trip count is a constant
//   MEL_HOST_FN     in its place where launch code calls the function too: a MEL_FN function called on the host ends
//                   the process (nvcc makes its body exit(1))
//   MEL_CONSTANT    before a static constexpr table at namespace scope
//
// The thread handle (MEL_THREAD_ARG t):
//   t.thread() t.threads() t.lane() t.warp() t.block() t.blocks()
//   t.sync()                      all threads of the block; shared and device memory written before is seen after
//   t.sync_pair()                 the same among warps 2 i and 2 i + 1; all of the block's pairs do it equally often
//   t.sync_warp()                 the same among the 32 lanes of a warp
//   t.shuffle(value, lane)        value of that lane of the warp; shuffle_xor(value, mask), shuffle_down(value, delta)
//                                 for float, int32, uint32 (and double, int64 but on Metal). Every lane of the warp
//                                 takes part.
//   t.all(value)                  whether it is true on every lane of the warp, all of which take part
//   t.count(value)                on how many lanes it is true, likewise
//   t.bulk_store(to, from, bytes) by all 32 lanes of a warp, from shared to device memory: starts it. Lengths and both
//                                 addresses are multiples of 16. Shared memory written by the warp's lanes is seen
//                                 after t.sync_warp_bulk(), which stands before it instead of sync_warp().
//   t.bulk_wait()                 by all 32 lanes: what this warp's bulk_stores read may be overwritten
//   t.bulk_load(to, from, bytes, barrier), t.bulk_load_wait(barrier, parity)
//                                 by all 32 lanes of a warp, the other way; barrier: 8 bytes of shared memory, made
//                                 ready once by t.bulk_load_init(barrier). parity is 0 for the first load on that
//                                 barrier, then 1, 0, 1 ...
//   t.async_load8(to, from)       by any lane: 8 bytes, from device to shared memory; there after t.async_wait() for
//                                 the thread, and after the t.sync() that follows for the block; t.async_load16
//   t.async_group()               ends a group of this thread's async_loads, which may be empty;
//                                 t.async_wait_but<N>() waits for all groups but the last N
//   t.bulk_prefetch(from, bytes)  by all 32 lanes, from and bytes as bulk_load's: device memory to be loaded soon, to
//                                 the L2 cache
//   t.prefetch(p)                 by any lane: the cache line of device memory at p will be read soon; p may be any
//                                 address inside a tensor
//
// Arithmetic: mel_fma, mel_sqrt, mel_rsqrt, mel_log, mel_exp, mel_pow, mel_floor, mel_abs, mel_min, mel_max on float
// (and double where the device has it); Complex<T> {T re, im;}; Vec2/Vec4<T> loads: mel_load2(p), mel_load4(p),
// mel_store2, mel_store4 (pointers aligned to the whole vector). Half: mel_half_bits_to_float(uint16),
// mel_bfloat_bits_to_float(uint16) and back (round to nearest even).
// mel_fast_sqrt, on float: within two units in the last place, 0 where the value is below the smallest normal one.
// mel_fast_reciprocal and mel_fast_exp2 likewise, their results being 0 there. mel_fast_abs, mel_fast_max and
// mel_fast_min, on float: one instruction; of NaN and a number, any of the two. mel_fast_clamp(value, low, high): two,
// and NaN stays. mel_float_bits(float), mel_bits_float(uint32). mel_pack_halves(low, high), mel_pack_bfloats(low,
// high): two floats as the halves of a word, as the conversions above but for what a NaN holds. mel_put4(p, a, b, c,
// d), mel_put2(p, a, b): mel_store4 and 2 of float or uint32, where the compiler would take the vector apart because of
// how its values were chosen.
#pragma once

#if defined(__CUDACC__)
#include "runtime/gpu/dialect_cuda.h"
#elif defined(__METAL_VERSION__) || defined(MELISMA_METAL_SHIM)
#include "runtime/gpu/dialect_metal.h"
#else
#include "runtime/gpu/dialect_emulator.h"
#endif

#include "runtime/gpu/dialect_common.h"
