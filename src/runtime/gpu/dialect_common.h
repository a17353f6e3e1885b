// The part of the dialect that is the same text on every device.
#pragma once

namespace melisma::gpu {

inline constexpr int kWarp = 32;

template <typename T>
struct alignas(2 * sizeof(T)) Complex {
  T re, im;
};

template <typename T>
MEL_FN Complex<T> operator+(Complex<T> a, Complex<T> b) {
  return Complex<T>{a.re + b.re, a.im + b.im};
}
template <typename T>
MEL_FN Complex<T> operator-(Complex<T> a, Complex<T> b) {
  return Complex<T>{a.re - b.re, a.im - b.im};
}
template <typename T>
MEL_FN Complex<T> operator*(Complex<T> a, Complex<T> b) {
  return Complex<T>{mel_fma(a.re, b.re, -(a.im * b.im)), mel_fma(a.re, b.im, a.im * b.re)};
}
template <typename T>
MEL_FN Complex<T> operator*(Complex<T> a, T s) {
  return Complex<T>{a.re * s, a.im * s};
}
template <typename T>
MEL_FN Complex<T> conj(Complex<T> a) {
  return Complex<T>{a.re, -a.im};
}
template <typename T>  // times -i
MEL_FN Complex<T> turned(Complex<T> a) {
  return Complex<T>{a.im, -a.re};
}

}  // namespace melisma::gpu
