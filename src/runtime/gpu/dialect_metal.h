// The dialect in the Metal Shading Language. Read by tools/metal_source.py, which makes one file of it and the kernels.
#pragma once

#include <metal_stdlib>

#define MEL_FN inline
#define MEL_HOST_FN inline
#define MEL_GLOBAL(T) device T*
#define MEL_SHARED(T) threadgroup T*
#define MEL_LOCAL thread
// The checks' stand-in for metal_stdlib has another name for the arguments' space: its compiler copies no struct out of
// the constant one.
#ifndef MEL_ARGUMENT_SPACE
#define MEL_ARGUMENT_SPACE constant
#endif
#define MEL_ARGS(T) const MEL_ARGUMENT_SPACE T&
#define MEL_THREAD_ARG const thread ::melisma::gpu::Thread&
#define MEL_GLOBAL_CAST(T, p) reinterpret_cast<device T*>(p)
#define MEL_SHARED_CAST(T, p) reinterpret_cast<threadgroup T*>(p)
#define MEL_UNROLL _Pragma("clang loop unroll(full)")
#define MEL_NO_UNROLL _Pragma("clang loop unroll(disable)")
#define MEL_CONSTANT constant

// Sums in pairs of floats, NaN and infinity are lost where the compiler may reorder.
#if __METAL_VERSION__ >= 320
#pragma METAL fp math_mode(safe)
#endif

#include "runtime/gpu/dialect_values.h"

namespace melisma::gpu {

template <typename T>
MEL_FN Vec2<T> mel_load2(device const T* p) {
  return *reinterpret_cast<device const Vec2<T>*>(p);
}
template <typename T>
MEL_FN Vec4<T> mel_load4(device const T* p) {
  return *reinterpret_cast<device const Vec4<T>*>(p);
}
template <typename T>
MEL_FN void mel_store2(device T* p, Vec2<T> v) {
  *reinterpret_cast<device Vec2<T>*>(p) = v;
}
template <typename T>
MEL_FN void mel_store4(device T* p, Vec4<T> v) {
  *reinterpret_cast<device Vec4<T>*>(p) = v;
}
#ifndef MEL_ONE_ADDRESS_SPACE  // of the checks' compiler, to which these are the same
template <typename T>
MEL_FN Vec2<T> mel_load2(threadgroup const T* p) {
  return *reinterpret_cast<threadgroup const Vec2<T>*>(p);
}
template <typename T>
MEL_FN Vec4<T> mel_load4(threadgroup const T* p) {
  return *reinterpret_cast<threadgroup const Vec4<T>*>(p);
}
template <typename T>
MEL_FN void mel_store2(threadgroup T* p, Vec2<T> v) {
  *reinterpret_cast<threadgroup Vec2<T>*>(p) = v;
}
template <typename T>
MEL_FN void mel_store4(threadgroup T* p, Vec4<T> v) {
  *reinterpret_cast<threadgroup Vec4<T>*>(p) = v;
}
#endif

MEL_FN float mel_fma(float a, float b, float c) { return metal::fma(a, b, c); }
MEL_FN float mel_sqrt(float a) { return metal::precise::sqrt(a); }
MEL_FN float mel_fast_sqrt(float a) { return metal::precise::sqrt(a); }
MEL_FN float mel_rsqrt(float a) { return metal::precise::rsqrt(a); }
MEL_FN float mel_log(float a) { return metal::precise::log(a); }
MEL_FN float mel_exp(float a) { return metal::precise::exp(a); }
MEL_FN float mel_pow(float a, float b) { return metal::precise::pow(a, b); }
MEL_FN float mel_floor(float a) { return metal::floor(a); }

MEL_FN float mel_half_bits_to_float(std::uint16_t bits) { return static_cast<float>(as_type<half>(bits)); }
MEL_FN std::uint16_t mel_float_to_half_bits(float value) { return as_type<std::uint16_t>(static_cast<half>(value)); }
MEL_FN float mel_bfloat_bits_to_float(std::uint16_t bits) {
  return as_type<float>(static_cast<std::uint32_t>(bits) << 16);
}
MEL_FN std::uint16_t mel_float_to_bfloat_bits(float value) {
  const std::uint32_t bits = as_type<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

MEL_FN std::uint32_t mel_float_bits(float value) { return as_type<std::uint32_t>(value); }
MEL_FN float mel_bits_float(std::uint32_t bits) { return as_type<float>(bits); }
MEL_FN float mel_fast_reciprocal(float a) { return 1.0f / a; }
MEL_FN float mel_fast_exp2(float a) { return metal::precise::exp2(a); }
template <typename Word>
MEL_FN void mel_put4(MEL_GLOBAL(Word) to, Word a, Word b, Word c, Word d) {
  mel_store4(to, Vec4<Word>{a, b, c, d});
}
template <typename Word>
MEL_FN void mel_put2(MEL_GLOBAL(Word) to, Word a, Word b) {
  mel_store2(to, Vec2<Word>{a, b});
}
MEL_FN float mel_fast_abs(float a) { return mel_abs(a); }
MEL_FN float mel_fast_max(float a, float b) { return mel_max(a, b); }
MEL_FN float mel_fast_min(float a, float b) { return mel_min(a, b); }
MEL_FN float mel_fast_clamp(float a, float low, float high) { return a < low ? low : high < a ? high : a; }
MEL_FN std::uint32_t mel_pack_halves(float low, float high) {
  return static_cast<std::uint32_t>(mel_float_to_half_bits(low)) |
         static_cast<std::uint32_t>(mel_float_to_half_bits(high)) << 16;
}
MEL_FN std::uint32_t mel_pack_bfloats(float low, float high) {
  return static_cast<std::uint32_t>(mel_float_to_bfloat_bits(low)) |
         static_cast<std::uint32_t>(mel_float_to_bfloat_bits(high)) << 16;
}

// metal_source.py calls thread() thread_index() here: the former is a keyword.
struct Thread {
  std::uint32_t index_, threads_, block_, blocks_;

  MEL_FN int thread() const { return static_cast<int>(index_); }
  MEL_FN int threads() const { return static_cast<int>(threads_); }
  MEL_FN int lane() const { return static_cast<int>(index_ & 31u); }
  MEL_FN int warp() const { return static_cast<int>(index_ >> 5); }
  MEL_FN std::int64_t block() const { return static_cast<std::int64_t>(block_); }
  MEL_FN std::int64_t blocks() const { return static_cast<std::int64_t>(blocks_); }

  MEL_FN void sync() const {
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup | metal::mem_flags::mem_device);
  }
  MEL_FN void sync_pair() const { sync(); }
  MEL_FN void sync_warp() const {
    metal::simdgroup_barrier(metal::mem_flags::mem_threadgroup | metal::mem_flags::mem_device);
  }
  template <typename T>
  MEL_FN T shuffle(T value, int lane) const {
    static_assert(sizeof(T) == 4, "Metal shuffles 32 bits");
    return metal::simd_shuffle(value, static_cast<std::uint16_t>(lane));
  }
  template <typename T>
  MEL_FN T shuffle_xor(T value, int mask) const {
    static_assert(sizeof(T) == 4, "Metal shuffles 32 bits");
    return metal::simd_shuffle_xor(value, static_cast<std::uint16_t>(mask));
  }
  template <typename T>
  MEL_FN T shuffle_down(T value, int delta) const {
    static_assert(sizeof(T) == 4, "Metal shuffles 32 bits");
    return metal::simd_shuffle_down(value, static_cast<std::uint16_t>(delta));
  }
  MEL_FN bool all(bool value) const { return metal::simd_all(value); }
  MEL_FN int count(bool value) const { return metal::simd_sum(value ? 1 : 0); }

  // Copies are the lanes' own loads and stores.
  MEL_FN void async_load8(threadgroup void* to, device const void* from) const {
    mel_store2(static_cast<threadgroup float*>(to), mel_load2(static_cast<device const float*>(from)));
  }
  MEL_FN void async_load16(threadgroup void* to, device const void* from) const {
    mel_store4(static_cast<threadgroup float*>(to), mel_load4(static_cast<device const float*>(from)));
  }
  MEL_FN void async_wait() const {}
  MEL_FN void async_group() const {}
  template <int kGroups>
  MEL_FN void async_wait_but() const {}
  MEL_FN void prefetch(MEL_GLOBAL(const void)) const {}
  MEL_FN void bulk_prefetch(MEL_GLOBAL(const void), int) const {}
  MEL_FN void sync_warp_bulk() const { sync_warp(); }
  MEL_FN void bulk_store(device void* to, threadgroup const void* from, int bytes) const {
    for (int i = lane(); i < bytes / 16; i += 32) {
      static_cast<device metal::uint4*>(to)[i] = static_cast<threadgroup const metal::uint4*>(from)[i];
    }
  }
  MEL_FN void bulk_wait() const { sync_warp(); }
  MEL_FN void bulk_load_init(threadgroup void*) const {}
  MEL_FN void bulk_load(threadgroup void* to, device const void* from, int bytes, threadgroup void*) const {
    for (int i = lane(); i < bytes / 16; i += 32) {
      static_cast<threadgroup metal::uint4*>(to)[i] = static_cast<device const metal::uint4*>(from)[i];
    }
  }
  MEL_FN void bulk_load_wait(threadgroup void*, int) const { sync_warp(); }
};

}  // namespace melisma::gpu
