// A pack of floats that computes as one, with a number's interface, so that
// splat_math.h compiles for it; and the few operations no portable vector has.
//
// kLanes is 16 with AVX-512, 8 with AVX2, else 4. Included before splat_math.h.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "primitives.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace chibijax {
namespace splat {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float FloatVector __attribute__((vector_size(4 * kLanes)));
typedef int32_t IntVector __attribute__((vector_size(4 * kLanes)));
typedef float Float4 __attribute__((vector_size(16)));

// Lanes are all ones (true) or zero.
struct Mask {
  IntVector v;
};
inline Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
inline Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }
inline Mask operator~(Mask a) { return {~a.v}; }

struct Pack {
  FloatVector v;

  Pack() = default;
  Pack(FloatVector x) : v(x) {}
  template <class S, std::enable_if_t<std::is_arithmetic_v<S>, int> = 0>
  Pack(S x) : v(static_cast<float>(x) - FloatVector{}) {}
};
inline Pack operator+(Pack a, Pack b) { return a.v + b.v; }
inline Pack operator-(Pack a, Pack b) { return a.v - b.v; }
inline Pack operator*(Pack a, Pack b) { return a.v * b.v; }
inline Pack operator/(Pack a, Pack b) { return a.v / b.v; }
inline Mask operator<(Pack a, Pack b) { return {a.v < b.v}; }
inline Mask operator>(Pack a, Pack b) { return {a.v > b.v}; }
inline Mask operator<=(Pack a, Pack b) { return {a.v <= b.v}; }
inline Mask operator>=(Pack a, Pack b) { return {a.v >= b.v}; }
inline Mask operator==(Pack a, Pack b) { return {a.v == b.v}; }

inline Pack Load(const float* p) {
  FloatVector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void Store(float* p, Pack x) { std::memcpy(p, &x.v, sizeof x.v); }

inline Pack Select(Mask m, Pack a, Pack b) { return m.v ? a.v : b.v; }
// x where the mask holds, else 0.
inline Pack Where(Mask m, Pack x) {
  return (FloatVector)((IntVector)x.v & m.v);
}

// One bit per lane, the first lane in the lowest.
inline unsigned Bits(Mask m) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)m.v, (__m512i)m.v);
#elif defined(__AVX2__)
  return _mm256_movemask_ps((__m256)m.v);
#elif defined(__SSE2__)
  return _mm_movemask_ps((__m128)m.v);
#else
  unsigned bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= (m.v[i] & 1u) << i;
  return bits;
#endif
}

inline Pack Sqrt(Pack x) {
#if defined(__AVX512F__)
  return (FloatVector)_mm512_sqrt_ps((__m512)x.v);
#elif defined(__AVX2__)
  return (FloatVector)_mm256_sqrt_ps((__m256)x.v);
#elif defined(__SSE2__)
  return (FloatVector)_mm_sqrt_ps((__m128)x.v);
#else
  for (int i = 0; i < kLanes; ++i) x.v[i] = sqrtf(x.v[i]);
  return x;
#endif
}

// As the hardware's: b where either is NaN.
inline Pack Min(Pack a, Pack b) {
#if defined(__AVX512F__)
  return (FloatVector)_mm512_min_ps((__m512)a.v, (__m512)b.v);
#elif defined(__AVX2__)
  return (FloatVector)_mm256_min_ps((__m256)a.v, (__m256)b.v);
#elif defined(__SSE2__)
  return (FloatVector)_mm_min_ps((__m128)a.v, (__m128)b.v);
#else
  return Select(a < b, a, b);
#endif
}
inline Pack Max(Pack a, Pack b) {
#if defined(__AVX512F__)
  return (FloatVector)_mm512_max_ps((__m512)a.v, (__m512)b.v);
#elif defined(__AVX2__)
  return (FloatVector)_mm256_max_ps((__m256)a.v, (__m256)b.v);
#elif defined(__SSE2__)
  return (FloatVector)_mm_max_ps((__m128)a.v, (__m128)b.v);
#else
  return Select(a > b, a, b);
#endif
}

inline Pack Ceil(Pack x) {
  for (int i = 0; i < kLanes; ++i) x.v[i] = ceilf(x.v[i]);
  return x;
}

inline Pack Atan2(Pack y, Pack x) {
  for (int i = 0; i < kLanes; ++i) y.v[i] = atan2f(y.v[i], x.v[i]);
  return y;
}

// Natural logarithm of positive normal numbers, to about 1 ulp: with x = m 2^e
// and m near 1, log m = 2 artanh((m - 1) / (m + 1)).
inline Pack Log(Pack x) {
  const IntVector bits = (IntVector)x.v - 0x3f3504f3;  // m from sqrt(1/2)
  const FloatVector e = __builtin_convertvector(bits >> 23, FloatVector);
  const FloatVector m =
      (FloatVector)((bits & 0x7fffff) + 0x3f3504f3);
  const FloatVector s = (m - 1.0f) / (m + 1.0f), q = s * s;
  const FloatVector series =
      q * (2.0f / 3 + q * (2.0f / 5 + q * (2.0f / 7 + q * (2.0f / 9))));
  return e * 0.693145752f + (s * 2.0f + (s * series + e * 1.42860677e-6f));
}

// 2^-x for 0 <= x; relative error below 2e-7. Below 0, above 125 and for NaN
// it is 2^-125: 2.4e-38, and no denormal.
inline Pack Exp2Minus(Pack x) {
  // As unsigned integers, negative floats and NaN are above all others.
  typedef uint32_t UintVector __attribute__((vector_size(4 * kLanes)));
  const UintVector most = (UintVector)Pack(125.0f).v, u = (UintVector)x.v;
#if defined(__AVX512F__)
  x.v = (FloatVector)_mm512_min_epu32((__m512i)u, (__m512i)most);
#elif defined(__AVX2__)
  x.v = (FloatVector)_mm256_min_epu32((__m256i)u, (__m256i)most);
#else
  x.v = (FloatVector)(u < most ? u : most);
#endif
  // -x = n + f, n whole, found by adding 1.5 * 2^23; |f| <= 1/2.
  constexpr float kRound = 12582912.0f;
  const FloatVector shifted = kRound - x.v;
  const FloatVector f = (kRound - shifted) - x.v;
  // Minimax polynomial, 9.2e-8, in the order with the least waiting.
  const FloatVector f2 = f * f, low = f * 6.93147e-1f + 1.0f;
  const FloatVector middle = f * 5.5507336e-2f + 2.4022242e-1f;
  const FloatVector high = f * 1.3264727e-3f + 9.671513e-3f;
  const FloatVector p = (high * f2 + middle) * f2 + low;
  return (FloatVector)((IntVector)p + ((IntVector)shifted << 23));
}

#if defined(__AVX2__) && !defined(__AVX512F__)
// Lane numbers of the set bits of a byte, first ones first.
struct CompressTable {
  alignas(64) int32_t lanes[256][8];
  constexpr CompressTable() : lanes() {
    for (int bits = 0; bits < 256; ++bits)
      for (int lane = 0, n = 0; lane < 8; ++lane)
        if (bits >> lane & 1) lanes[bits][n++] = lane;
  }
};
inline constexpr CompressTable kCompress;
#endif

// Writes the lanes whose bit is set, one after the other. Up to kLanes numbers
// may be written, of which the later ones mean nothing.
inline void Compress(float* to, Pack x, unsigned bits) {
#if defined(__AVX512F__)
  _mm512_mask_compressstoreu_ps(to, bits, (__m512)x.v);
#elif defined(__AVX2__)
  const __m256i lanes =
      _mm256_load_si256((const __m256i*)kCompress.lanes[bits]);
  _mm256_storeu_ps(to, _mm256_permutevar8x32_ps((__m256)x.v, lanes));
#else
  for (int i = 0; i < kLanes; ++i) {
    *to = x.v[i];
    to += bits >> i & 1;
  }
#endif
}

// Sums of the lanes of each of four packs.
inline Float4 Sum4(Pack a, Pack b, Pack c, Pack d) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
  const auto half = [](Pack x) {
    const __m512d w = (__m512d)x.v;
    return _mm256_add_ps(_mm512_castps512_ps256((__m512)x.v),
                         (__m256)_mm512_extractf64x4_pd(w, 1));
  };
#else
  const auto half = [](Pack x) { return (__m256)x.v; };
#endif
  const __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(half(a), half(b)),
                                  _mm256_hadd_ps(half(c), half(d)));
  return (Float4)_mm_add_ps(_mm256_castps256_ps128(s),
                            _mm256_extractf128_ps(s, 1));
#else
  typedef int32_t Int4 __attribute__((vector_size(16)));
  const Int4 low = {0, 4, 1, 5}, high = {2, 6, 3, 7};
  const Float4 ab = __builtin_shuffle(a.v, b.v, low) +
                    __builtin_shuffle(a.v, b.v, high);
  const Float4 cd = __builtin_shuffle(c.v, d.v, low) +
                    __builtin_shuffle(c.v, d.v, high);
  const Int4 first = {0, 1, 4, 5}, second = {2, 3, 6, 7};
  return __builtin_shuffle(ab, cd, first) + __builtin_shuffle(ab, cd, second);
#endif
}

}  // namespace splat
}  // namespace chibijax
