// The dialect on CUDA.
#pragma once

#include <cstdint>

#define MEL_FN __device__ __forceinline__
#define MEL_HOST_FN __host__ __device__ __forceinline__
#define MEL_GLOBAL(T) T*
#define MEL_SHARED(T) T*
#define MEL_LOCAL
#define MEL_ARGS(T) const T&
#define MEL_THREAD_ARG const ::melisma::gpu::Thread&
#define MEL_GLOBAL_CAST(T, p) reinterpret_cast<T*>(p)
#define MEL_SHARED_CAST(T, p) reinterpret_cast<T*>(p)
#define MEL_UNROLL _Pragma("unroll")
#define MEL_NO_UNROLL _Pragma("unroll 1")
#define MEL_CONSTANT __device__

#include "runtime/gpu/dialect_values.h"

namespace melisma::gpu {

template <typename T>
MEL_FN Vec2<T> mel_load2(const T* p) {
  return *reinterpret_cast<const Vec2<T>*>(p);
}
template <typename T>
MEL_FN Vec4<T> mel_load4(const T* p) {
  return *reinterpret_cast<const Vec4<T>*>(p);
}
template <typename T>
MEL_FN void mel_store2(T* p, Vec2<T> v) {
  *reinterpret_cast<Vec2<T>*>(p) = v;
}
template <typename T>
MEL_FN void mel_store4(T* p, Vec4<T> v) {
  *reinterpret_cast<Vec4<T>*>(p) = v;
}

MEL_FN float mel_fma(float a, float b, float c) { return fmaf(a, b, c); }
MEL_FN double mel_fma(double a, double b, double c) { return fma(a, b, c); }
MEL_FN float mel_sqrt(float a) { return sqrtf(a); }
MEL_FN double mel_sqrt(double a) { return sqrt(a); }
MEL_FN float mel_fast_sqrt(float a) {
  float result;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(a));
  return result;
}
MEL_FN float mel_rsqrt(float a) { return rsqrtf(a); }
MEL_FN double mel_rsqrt(double a) { return rsqrt(a); }
MEL_FN float mel_log(float a) { return logf(a); }
MEL_FN double mel_log(double a) { return log(a); }
MEL_FN float mel_exp(float a) { return expf(a); }
MEL_FN double mel_exp(double a) { return exp(a); }
MEL_FN float mel_pow(float a, float b) { return powf(a, b); }
MEL_FN double mel_pow(double a, double b) { return pow(a, b); }
MEL_FN float mel_floor(float a) { return floorf(a); }
MEL_FN double mel_floor(double a) { return floor(a); }

MEL_FN float mel_half_bits_to_float(std::uint16_t bits) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(bits));
  return result;
}
MEL_FN std::uint16_t mel_float_to_half_bits(float value) {
  std::uint16_t result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result) : "f"(value));
  return result;
}
MEL_FN float mel_bfloat_bits_to_float(std::uint16_t bits) {
  return __uint_as_float(static_cast<std::uint32_t>(bits) << 16);
}
MEL_FN std::uint16_t mel_float_to_bfloat_bits(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  if (value != value) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

MEL_FN std::uint32_t mel_float_bits(float value) { return __float_as_uint(value); }
MEL_FN float mel_bits_float(std::uint32_t bits) { return __uint_as_float(bits); }
MEL_FN float mel_fast_reciprocal(float a) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(a));
  return result;
}
MEL_FN float mel_fast_exp2(float a) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(a));
  return result;
}
MEL_FN void mel_put4(float* to, float a, float b, float c, float d) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(a), "f"(b), "f"(c), "f"(d) : "memory");
}
MEL_FN void mel_put4(std::uint32_t* to, std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}
MEL_FN void mel_put2(float* to, float a, float b) {
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(a), "f"(b) : "memory");
}
MEL_FN void mel_put2(std::uint32_t* to, std::uint32_t a, std::uint32_t b) {
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(to), "r"(a), "r"(b) : "memory");
}
MEL_FN float mel_fast_abs(float a) { return fabsf(a); }
MEL_FN float mel_fast_max(float a, float b) { return fmaxf(a, b); }
MEL_FN float mel_fast_min(float a, float b) { return fminf(a, b); }
#if __CUDA_ARCH__ >= 800
MEL_FN float mel_fast_clamp(float a, float low, float high) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(low));
  asm("min.NaN.f32 %0, %0, %1;" : "+f"(result) : "f"(high));
  return result;
}
MEL_FN std::uint32_t mel_pack_halves(float low, float high) {
  std::uint32_t result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
MEL_FN std::uint32_t mel_pack_bfloats(float low, float high) {
  std::uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
#else
MEL_FN float mel_fast_clamp(float a, float low, float high) { return a < low ? low : high < a ? high : a; }
MEL_FN std::uint32_t mel_pack_halves(float low, float high) {
  return static_cast<std::uint32_t>(mel_float_to_half_bits(low)) |
         static_cast<std::uint32_t>(mel_float_to_half_bits(high)) << 16;
}
MEL_FN std::uint32_t mel_pack_bfloats(float low, float high) {
  return static_cast<std::uint32_t>(mel_float_to_bfloat_bits(low)) |
         static_cast<std::uint32_t>(mel_float_to_bfloat_bits(high)) << 16;
}
#endif

struct Thread {
  MEL_FN int thread() const { return static_cast<int>(threadIdx.x); }
  MEL_FN int threads() const { return static_cast<int>(blockDim.x); }
  MEL_FN int lane() const { return static_cast<int>(threadIdx.x & 31); }
  MEL_FN int warp() const { return static_cast<int>(threadIdx.x >> 5); }
  MEL_FN std::int64_t block() const { return blockIdx.x; }
  MEL_FN std::int64_t blocks() const { return gridDim.x; }

  MEL_FN void sync() const { __syncthreads(); }
  MEL_FN void sync_pair() const { asm volatile("bar.sync %0, 64;" ::"r"(1 + warp() / 2) : "memory"); }
  MEL_FN void sync_warp() const { __syncwarp(); }
  template <typename T>
  MEL_FN T shuffle(T value, int lane) const {
    return __shfl_sync(0xFFFFFFFFu, value, lane);
  }
  template <typename T>
  MEL_FN T shuffle_xor(T value, int mask) const {
    return __shfl_xor_sync(0xFFFFFFFFu, value, mask);
  }
  template <typename T>
  MEL_FN T shuffle_down(T value, int delta) const {
    return __shfl_down_sync(0xFFFFFFFFu, value, delta);
  }
  MEL_FN bool all(bool value) const { return __all_sync(0xFFFFFFFFu, value) != 0; }
  MEL_FN int count(bool value) const { return __popc(__ballot_sync(0xFFFFFFFFu, value)); }

  MEL_FN void prefetch(const void* p) const { asm volatile("prefetch.global.L1 [%0];" ::"l"(p)); }

#if __CUDA_ARCH__ >= 800
  MEL_FN void async_load8(void* to, const void* from) const {
    asm volatile(
        "cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
        "l"(from)
        : "memory");
  }
  MEL_FN void async_load16(void* to, const void* from) const {
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
        "l"(from)
        : "memory");
  }
  MEL_FN void async_wait() const { asm volatile("cp.async.wait_all;" ::: "memory"); }
  MEL_FN void async_group() const { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int kGroups>
  MEL_FN void async_wait_but() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
  }
#else
  MEL_FN void async_load8(void* to, const void* from) const {
    *static_cast<Vec2<float>*>(to) = *static_cast<const Vec2<float>*>(from);
  }
  MEL_FN void async_load16(void* to, const void* from) const {
    *static_cast<Vec4<float>*>(to) = *static_cast<const Vec4<float>*>(from);
  }
  MEL_FN void async_wait() const {}
  MEL_FN void async_group() const {}
  template <int kGroups>
  MEL_FN void async_wait_but() const {}
#endif

#if __CUDA_ARCH__ >= 900
  MEL_FN void bulk_prefetch(const void* from, int bytes) const {
    if (lane() == 0) asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
  }
  MEL_FN static std::uint32_t shared_address(const void* p) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
  }
  // Ordinary shared stores of every lane become visible to the copy engine.
  MEL_FN void sync_warp_bulk() const {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncwarp();
  }
  MEL_FN void bulk_store(void* to, const void* from, int bytes) const {
    if (lane() == 0) {
      asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(shared_address(from)),
                   "r"(bytes)
                   : "memory");
      asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    }
  }
  MEL_FN void bulk_wait() const {
    if (lane() == 0) asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
    __syncwarp();
  }
  MEL_FN void bulk_load_init(void* barrier) const {
    if (lane() == 0) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier)) : "memory");
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncwarp();
  }
  MEL_FN void bulk_load(void* to, const void* from, int bytes, void* barrier) const {
    if (lane() == 0) {
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                   : "memory");
      asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                       shared_address(to)),
                   "l"(from), "r"(bytes), "r"(shared_address(barrier))
                   : "memory");
    }
  }
  MEL_FN void bulk_load_wait(void* barrier, int parity) const {
    asm volatile(
        "{\n.reg .pred done;\nwaiting:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra "
        "waiting;\n}" ::"r"(shared_address(barrier)),
        "r"(parity)
        : "memory");
  }
#else  // the same by the warp's own loads and stores
  MEL_FN void bulk_prefetch(const void*, int) const {}
  MEL_FN void sync_warp_bulk() const { __syncwarp(); }
  MEL_FN void copy16(void* to, const void* from, int bytes) const {
    for (int i = lane(); i < bytes / 16; i += 32) static_cast<uint4*>(to)[i] = static_cast<const uint4*>(from)[i];
  }
  MEL_FN void bulk_store(void* to, const void* from, int bytes) const { copy16(to, from, bytes); }
  MEL_FN void bulk_wait() const { __syncwarp(); }
  MEL_FN void bulk_load_init(void*) const {}
  MEL_FN void bulk_load(void* to, const void* from, int bytes, void*) const { copy16(to, from, bytes); }
  MEL_FN void bulk_load_wait(void*, int) const { __syncwarp(); }
#endif
};

}  // namespace melisma::gpu
