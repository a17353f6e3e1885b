// Vectors and the arithmetic that needs no device, for the dialect's implementations to build on.
#pragma once

namespace melisma::gpu {

template <typename T>
struct alignas(2 * sizeof(T)) Vec2 {
  T x, y;
};
template <typename T>
struct alignas(sizeof(T) == 8 ? 16 : 4 * sizeof(T)) Vec4 {
  T x, y, z, w;
};

template <typename T>
MEL_FN T mel_abs(T a) {
  return a < T(0) ? -a : a;
}
template <typename T>
MEL_FN T mel_min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
MEL_FN T mel_max(T a, T b) {
  return a < b ? b : a;
}

}  // namespace melisma::gpu
