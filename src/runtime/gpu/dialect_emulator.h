// The dialect on the host: every thread of a block is a fiber, shared memory is checked.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "runtime/emulator/block.h"
#include "runtime/emulator/half.h"
#include "runtime/emulator/shared.h"

#define MEL_FN inline
#define MEL_HOST_FN inline
#define MEL_GLOBAL(T) T*
#define MEL_SHARED(T) ::melisma::emulator::Shared<T>
#define MEL_LOCAL
#define MEL_ARGS(T) const T&
#define MEL_THREAD_ARG const ::melisma::gpu::Thread&
#define MEL_GLOBAL_CAST(T, p) reinterpret_cast<T*>(p)
#define MEL_SHARED_CAST(T, p) ((p).template as<T>())
#define MEL_UNROLL
#define MEL_NO_UNROLL
#define MEL_CONSTANT inline

#include "runtime/gpu/dialect_values.h"

namespace melisma::gpu {

template <typename T>
Vec2<std::remove_const_t<T>> mel_load2(T* p) {
  return *reinterpret_cast<const Vec2<std::remove_const_t<T>>*>(emulator::aligned(p, 2 * sizeof(T)));
}
template <typename T>
Vec4<std::remove_const_t<T>> mel_load4(T* p) {
  using V = Vec4<std::remove_const_t<T>>;
  return *reinterpret_cast<const V*>(emulator::aligned(p, alignof(V)));
}
template <typename T>
void mel_store2(T* p, Vec2<T> v) {
  *reinterpret_cast<Vec2<T>*>(emulator::aligned(p, sizeof(v))) = v;
}
template <typename T>
void mel_store4(T* p, Vec4<T> v) {
  *reinterpret_cast<Vec4<T>*>(emulator::aligned(p, alignof(Vec4<T>))) = v;
}
template <typename T>
auto mel_load2(emulator::Shared<T> p) {
  return mel_load2(p.span(2));
}
template <typename T>
auto mel_load4(emulator::Shared<T> p) {
  return mel_load4(p.span(4));
}
template <typename T>
void mel_store2(emulator::Shared<T> p, Vec2<T> v) {
  mel_store2(p.span(2), v);
}
template <typename T>
void mel_store4(emulator::Shared<T> p, Vec4<T> v) {
  mel_store4(p.span(4), v);
}

inline float mel_fma(float a, float b, float c) { return std::fma(a, b, c); }
inline double mel_fma(double a, double b, double c) { return std::fma(a, b, c); }
inline float mel_sqrt(float a) { return std::sqrt(a); }
inline float mel_fast_sqrt(float a) { return std::sqrt(a); }
inline double mel_sqrt(double a) { return std::sqrt(a); }
inline float mel_rsqrt(float a) { return 1 / std::sqrt(a); }
inline double mel_rsqrt(double a) { return 1 / std::sqrt(a); }
inline float mel_log(float a) { return std::log(a); }
inline double mel_log(double a) { return std::log(a); }
inline float mel_exp(float a) { return std::exp(a); }
inline double mel_exp(double a) { return std::exp(a); }
inline float mel_pow(float a, float b) { return std::pow(a, b); }
inline double mel_pow(double a, double b) { return std::pow(a, b); }
inline float mel_floor(float a) { return std::floor(a); }
inline double mel_floor(double a) { return std::floor(a); }

inline float mel_half_bits_to_float(std::uint16_t bits) { return emulator::half_to_float(bits); }
inline std::uint16_t mel_float_to_half_bits(float value) { return emulator::float_to_half(value); }
inline float mel_bfloat_bits_to_float(std::uint16_t bits) { return emulator::bfloat_to_float(bits); }
inline std::uint16_t mel_float_to_bfloat_bits(float value) { return emulator::float_to_bfloat(value); }

inline std::uint32_t mel_float_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float mel_bits_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline float mel_fast_reciprocal(float a) { return 1.0f / a; }
inline float mel_fast_exp2(float a) { return std::exp2(a); }
template <typename Word>
void mel_put4(MEL_GLOBAL(Word) to, Word a, Word b, Word c, Word d) {
  mel_store4(to, Vec4<Word>{a, b, c, d});
}
template <typename Word>
void mel_put2(MEL_GLOBAL(Word) to, Word a, Word b) {
  mel_store2(to, Vec2<Word>{a, b});
}
inline float mel_fast_abs(float a) { return mel_abs(a); }
inline float mel_fast_max(float a, float b) { return mel_max(a, b); }
inline float mel_fast_min(float a, float b) { return mel_min(a, b); }
inline float mel_fast_clamp(float a, float low, float high) { return a < low ? low : high < a ? high : a; }
inline std::uint32_t mel_pack_halves(float low, float high) {
  return static_cast<std::uint32_t>(mel_float_to_half_bits(low)) |
         static_cast<std::uint32_t>(mel_float_to_half_bits(high)) << 16;
}
inline std::uint32_t mel_pack_bfloats(float low, float high) {
  return static_cast<std::uint32_t>(mel_float_to_bfloat_bits(low)) |
         static_cast<std::uint32_t>(mel_float_to_bfloat_bits(high)) << 16;
}

// One thread of an emulated block. Each call that threads meet at carries its line, so that divergence is found: all
// must arrive at the same call.
class Thread {
 public:
  using Site = emulator::Site;

  Thread(emulator::Block& block, int thread) : block_(&block), thread_(thread) {}
  int thread() const { return thread_; }
  int threads() const { return block_->threads(); }
  int lane() const { return thread_ % 32; }
  int warp() const { return thread_ / 32; }
  std::int64_t block() const { return block_->index(); }
  std::int64_t blocks() const { return block_->blocks(); }

  void sync(Site site = Site::here()) const { block_->meet(thread_, emulator::Call::kSync, site); }
  void sync_pair(Site site = Site::here()) const { block_->meet(thread_, emulator::Call::kSync, site); }
  void sync_warp(Site site = Site::here()) const { block_->meet(thread_, emulator::Call::kSyncWarp, site); }
  template <typename T>
  T shuffle(T value, int lane, Site site = Site::here()) const {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = block_->exchange(thread_, bits, lane, site);
    std::memcpy(&value, &bits, sizeof(T));
    return value;
  }
  template <typename T>
  T shuffle_xor(T value, int mask, Site site = Site::here()) const {
    return shuffle(value, lane() ^ mask, site);
  }
  template <typename T>  // lanes without a source keep their own value
  T shuffle_down(T value, int delta, Site site = Site::here()) const {
    return shuffle(value, lane() + delta < 32 ? lane() + delta : lane(), site);
  }

  bool all(bool value, Site site = Site::here()) const { return count(value, site) == 32; }
  int count(bool value, Site site = Site::here()) const {
    int result = value ? 1 : 0;
    for (int mask = 16; mask > 0; mask /= 2) result += shuffle_xor(result, mask, site);
    return result;
  }

  template <typename T>
  void async_load8(emulator::Shared<T> to, const T* from) const {
    mel_store2(to, mel_load2(from));
  }
  template <typename T>
  void async_load16(emulator::Shared<T> to, const T* from) const {
    mel_store4(to, mel_load4(from));
  }
  void async_wait() const {}
  void async_group() const {}
  template <int kGroups>
  void async_wait_but() const {}
  void prefetch(const void*) const {}
  void bulk_prefetch(const void*, int) const {}
  void sync_warp_bulk(Site site = Site::here()) const { block_->meet(thread_, emulator::Call::kSyncWarpBulk, site); }
  template <typename T>
  void bulk_store(void* to, emulator::Shared<T> from, int bytes, Site site = Site::here()) const {
    block_->bulk_store(thread_, to, from.template as<const char>(), bytes, site);
  }
  void bulk_wait(Site site = Site::here()) const { block_->bulk_wait(thread_, site); }
  template <typename B>
  void bulk_load_init(emulator::Shared<B> barrier, Site site = Site::here()) const {
    block_->bulk_load_init(thread_, barrier.template as<char>(), site);
  }
  template <typename T, typename B>
  void bulk_load(emulator::Shared<T> to, const void* from, int bytes, emulator::Shared<B> barrier,
                 Site site = Site::here()) const {
    block_->bulk_load(thread_, to.template as<char>(), from, bytes, barrier.template as<char>(), site);
  }
  template <typename B>
  void bulk_load_wait(emulator::Shared<B> barrier, int parity, Site site = Site::here()) const {
    block_->bulk_load_wait(thread_, barrier.template as<char>(), parity, site);
  }

 private:
  emulator::Block* block_;
  int thread_;
};

}  // namespace melisma::gpu
