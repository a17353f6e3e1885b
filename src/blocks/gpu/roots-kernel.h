// Roots of unity as constants: in unrolled loops they become immediates.
#pragma once

#include "runtime/gpu/dialect.h"

namespace melisma::gpu {

// cos(2 pi k / M), a quarter of a turn.
MEL_CONSTANT constexpr float kQuarter80[] = {1.0f,
                                             0.996917333733f,
                                             0.987688340595f,
                                             0.972369920398f,
                                             0.951056516295f,
                                             0.923879532511f,
                                             0.891006524188f,
                                             0.852640164354f,
                                             0.809016994375f,
                                             0.7604059656f,
                                             0.707106781187f,
                                             0.64944804833f,
                                             0.587785252292f,
                                             0.522498564716f,
                                             0.45399049974f,
                                             0.382683432365f,
                                             0.309016994375f,
                                             0.233445363856f,
                                             0.15643446504f,
                                             0.0784590957278f,
                                             0.0f};
MEL_CONSTANT constexpr float kQuarter100[] = {1.0f,
                                              0.998026728428f,
                                              0.992114701314f,
                                              0.982287250729f,
                                              0.968583161129f,
                                              0.951056516295f,
                                              0.929776485888f,
                                              0.904827052466f,
                                              0.876306680044f,
                                              0.844327925502f,
                                              0.809016994375f,
                                              0.770513242776f,
                                              0.728968627421f,
                                              0.684547105929f,
                                              0.637423989749f,
                                              0.587785252292f,
                                              0.535826794979f,
                                              0.481753674102f,
                                              0.425779291565f,
                                              0.368124552685f,
                                              0.309016994375f,
                                              0.248689887165f,
                                              0.187381314586f,
                                              0.125333233564f,
                                              0.0627905195293f,
                                              0.0f};
MEL_CONSTANT constexpr float kQuarter120[] = {1.0f,
                                              0.998629534755f,
                                              0.994521895368f,
                                              0.987688340595f,
                                              0.978147600734f,
                                              0.965925826289f,
                                              0.951056516295f,
                                              0.933580426497f,
                                              0.913545457643f,
                                              0.891006524188f,
                                              0.866025403784f,
                                              0.838670567945f,
                                              0.809016994375f,
                                              0.777145961457f,
                                              0.743144825477f,
                                              0.707106781187f,
                                              0.669130606359f,
                                              0.62932039105f,
                                              0.587785252292f,
                                              0.544639035015f,
                                              0.5f,
                                              0.45399049974f,
                                              0.406736643076f,
                                              0.358367949545f,
                                              0.309016994375f,
                                              0.258819045103f,
                                              0.207911690818f,
                                              0.15643446504f,
                                              0.104528463268f,
                                              0.0523359562429f,
                                              0.0f};
MEL_CONSTANT constexpr float kQuarter128[] = {1.0f,
                                              0.998795456205f,
                                              0.995184726672f,
                                              0.989176509965f,
                                              0.980785280403f,
                                              0.970031253195f,
                                              0.956940335732f,
                                              0.941544065183f,
                                              0.923879532511f,
                                              0.903989293123f,
                                              0.881921264348f,
                                              0.85772861f,
                                              0.831469612303f,
                                              0.803207531481f,
                                              0.773010453363f,
                                              0.740951125355f,
                                              0.707106781187f,
                                              0.671558954847f,
                                              0.634393284164f,
                                              0.595699304492f,
                                              0.55557023302f,
                                              0.514102744193f,
                                              0.471396736826f,
                                              0.42755509343f,
                                              0.382683432365f,
                                              0.336889853392f,
                                              0.290284677254f,
                                              0.242980179903f,
                                              0.195090322016f,
                                              0.146730474455f,
                                              0.0980171403296f,
                                              0.0490676743274f,
                                              0.0f};

template <int M>
struct Quarter;
template <>
struct Quarter<80> {
  MEL_FN static float cosine(int k) { return kQuarter80[k]; }
};
template <>
struct Quarter<100> {
  MEL_FN static float cosine(int k) { return kQuarter100[k]; }
};
template <>
struct Quarter<120> {
  MEL_FN static float cosine(int k) { return kQuarter120[k]; }
};
template <>
struct Quarter<128> {
  MEL_FN static float cosine(int k) { return kQuarter128[k]; }
};

// The table of the N-th roots; N divides 80, 100, 120 or 128.
template <int N>
struct RootTable {
  enum : int { M = 128 % N == 0 ? 128 : 80 % N == 0 ? 80 : 120 % N == 0 ? 120 : 100 };
  static_assert(M % N == 0, "no table of this order");
  MEL_FN static float cosine(int turn) {  // of `turn` M-th parts of a turn, turn < M
    const int half = 2 * turn > M ? M - turn : turn;
    return 4 * half > M ? -Quarter<M>::cosine(M / 2 - half) : Quarter<M>::cosine(half);
  }
};

// exp(+2 pi i k / N), 0 <= k < N
template <int N>
MEL_FN Complex<float> root(int k) {
  enum : int { M = RootTable<N>::M };
  const int turn = k * (M / N);  // sin a = cos(a - a quarter of a turn)
  return Complex<float>{RootTable<N>::cosine(turn), RootTable<N>::cosine((turn + 3 * (M / 4)) % M)};
}

}  // namespace melisma::gpu
