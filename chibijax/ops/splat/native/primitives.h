// What the shared mathematics (splat_math.h) needs of a number type: float,
// double, or a SIMD pack with the same functions (simd.h).
#pragma once

#include <math.h>

#if defined(__CUDACC__)
#define SPLAT_FN __host__ __device__ __forceinline__
#define SPLAT_UNROLL _Pragma("unroll")
#else
#define SPLAT_FN inline
#define SPLAT_UNROLL _Pragma("GCC unroll 16")
#endif

namespace chibijax {
namespace splat {

SPLAT_FN float Sqrt(float x) { return sqrtf(x); }
SPLAT_FN double Sqrt(double x) { return sqrt(x); }
SPLAT_FN float Log(float x) { return logf(x); }
SPLAT_FN double Log(double x) { return log(x); }
SPLAT_FN float Exp(float x) { return expf(x); }
SPLAT_FN double Exp(double x) { return exp(x); }
SPLAT_FN float Atan2(float y, float x) { return atan2f(y, x); }
SPLAT_FN double Atan2(double y, double x) { return atan2(y, x); }
SPLAT_FN float Ceil(float x) { return ceilf(x); }
SPLAT_FN double Ceil(double x) { return ceil(x); }
SPLAT_FN float Select(bool m, float a, float b) { return m ? a : b; }
SPLAT_FN double Select(bool m, double a, double b) { return m ? a : b; }

// Where a comparison with NaN fails, b is returned.
template <class T>
SPLAT_FN T Min(T a, T b) {
  return Select(a < b, a, b);
}
template <class T>
SPLAT_FN T Max(T a, T b) {
  return Select(a > b, a, b);
}
template <class T>
SPLAT_FN T Clamp(T x, T low, T high) {
  return Min(Max(x, low), high);
}
template <class T>
SPLAT_FN T Abs(T x) {
  return Max(x, T(0) - x);
}
// True for all but NaN and infinities.
template <class T>
SPLAT_FN auto IsFinite(T x) {
  return x - x == T(0);
}

}  // namespace splat
}  // namespace chibijax
