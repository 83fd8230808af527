// Register-blocked inner loops of a matrix product, for any vector width.
//
// Loops over rows are unrolled by force: sums must live in registers.
// Channels travel in panels of kPanel floats (two vectors), padded with zeros.
// The compiler's portable vectors become SSE, NEON, AVX2 or AVX-512 according
// to the flags; this file is compiled once per instruction set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace chibijax {

#if defined(__AVX512F__)
constexpr int kVector = 16, kRows = 8;
#elif defined(__AVX2__)
constexpr int kVector = 8, kRows = 6;
#else
constexpr int kVector = 4, kRows = 6;
#endif
constexpr int kPanel = 2 * kVector;

typedef float Vec __attribute__((vector_size(4 * kVector)));

inline Vec Load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void Store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

// out[m][0..kPanel) = sum over r < segments, k < length of
//   a(r, m)[k] * b(r)[k * kPanel ...]:
// kRows rows at once, each gathered from `segments` runs of `length` floats.
template <class A, class B, class Out>
inline void MultiplyRows(int64_t segments, int64_t length, const A& a,
                         const B& b, const Out& out) {
  Vec sum[kRows][2] = {};
  for (int64_t r = 0; r < segments; ++r) {
    const float* row[kRows];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) row[m] = a(r, m);
    const float* panel = b(r);
    for (int64_t k = 0; k < length; ++k, panel += kPanel) {
      const Vec b0 = Load(panel), b1 = Load(panel + kVector);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) {
        sum[m][0] += row[m][k] * b0;
        sum[m][1] += row[m][k] * b1;
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) out(m, sum[m][0], sum[m][1]);
}

// total[m][0..kPanel) += sum over j < columns of
//   a[j * a_step + m] * b[j * kPanel ...].
template <int M>
inline void MultiplyOuter(int64_t columns, const float* a, int64_t a_step,
                          const float* b, float* total) {
  Vec sum[M][2] = {};
  for (int64_t j = 0; j < columns; ++j, a += a_step, b += kPanel) {
    const Vec b0 = Load(b), b1 = Load(b + kVector);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      sum[m][0] += a[m] * b0;
      sum[m][1] += a[m] * b1;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
    float* to = total + m * kPanel;
    Store(to, Load(to) + sum[m][0]);
    Store(to + kVector, Load(to + kVector) + sum[m][1]);
  }
}

// Copies `count` <= kPanel floats and fills the panel with zeros.
inline void LoadPanel(const float* from, int64_t count, float* panel) {
  if (count == kPanel) {
    std::memcpy(panel, from, sizeof(float) * kPanel);
  } else {
    std::memcpy(panel, from, sizeof(float) * count);
    std::memset(panel + count, 0, sizeof(float) * (kPanel - count));
  }
}

}  // namespace chibijax
