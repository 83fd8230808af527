// 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3) and its two adjoints.
//
// Lavin & Gray 2016, with the interpolation points 0, +-3/4, +-3/2, infinity,
// which halve the rounding error of the usual 0, +-1, +-2, infinity (about
// 1.3e-6 relative for 256 channels; a direct sum has 0.2e-6). With
// U = G w G', V = B' x B and M[f] = V[f] U[f] per frequency f < 36:
//   y = A' M A,   dM = A dy A',   dU = V' dM,   dV = dM U',
//   dw = G' dU G,   dx = overlapping sum of B dV B'.
// Arrays over tiles are [36][channel panel][tile][kPanel].
#pragma once

#include <vector>

#include "gemm.h"
#include "parallel.h"
#include "shape.h"

namespace chibijax {

constexpr float kA = 0.75f, kA2 = 0.5625f, kA3 = 0.421875f;
constexpr float kB = 1.5f, kB2 = 2.25f, kB3 = 3.375f;
constexpr float kSum = kA2 + kB2, kProduct = kA2 * kB2;
constexpr float kGa = 1 / (2 * kA2 * (kA2 - kB2));
constexpr float kGb = 1 / (2 * kB2 * (kB2 - kA2));

// The one-dimensional transforms: from[i * fs] to to[i * ts], i counts Vecs.

struct InputTransform {  // B'
  static constexpr int kFrom = 6, kTo = 6;
  static void Apply(const Vec* d, int fs, Vec* v, int ts) {
    const Vec d0 = d[0], d1 = d[fs], d2 = d[2 * fs], d3 = d[3 * fs],
              d4 = d[4 * fs], d5 = d[5 * fs];
    const Vec ea = d4 - kB2 * d2, oa = kA * (d3 - kB2 * d1);
    const Vec eb = d4 - kA2 * d2, ob = kB * (d3 - kA2 * d1);
    v[0] = kProduct * d0 - kSum * d2 + d4;
    v[ts] = ea + oa;
    v[2 * ts] = ea - oa;
    v[3 * ts] = eb + ob;
    v[4 * ts] = eb - ob;
    v[5 * ts] = kProduct * d1 - kSum * d3 + d5;
  }
};

struct InputAdjoint {  // B
  static constexpr int kFrom = 6, kTo = 6;
  static void Apply(const Vec* v, int fs, Vec* d, int ts) {
    const Vec v0 = v[0], v5 = v[5 * fs];
    const Vec ea = v[fs] + v[2 * fs], oa = kA * (v[fs] - v[2 * fs]);
    const Vec eb = v[3 * fs] + v[4 * fs], ob = kB * (v[3 * fs] - v[4 * fs]);
    d[0] = kProduct * v0;
    d[ts] = kProduct * v5 - kB2 * oa - kA2 * ob;
    d[2 * ts] = -kSum * v0 - kB2 * ea - kA2 * eb;
    d[3 * ts] = oa + ob - kSum * v5;
    d[4 * ts] = v0 + ea + eb;
    d[5 * ts] = v5;
  }
};

struct OutputTransform {  // A'
  static constexpr int kFrom = 6, kTo = 4;
  static void Apply(const Vec* m, int fs, Vec* y, int ts) {
    const Vec p = m[fs] + m[2 * fs], q = m[fs] - m[2 * fs];
    const Vec r = m[3 * fs] + m[4 * fs], t = m[3 * fs] - m[4 * fs];
    y[0] = m[0] + p + r;
    y[ts] = kA * q + kB * t;
    y[2 * ts] = kA2 * p + kB2 * r;
    y[3 * ts] = kA3 * q + kB3 * t + m[5 * fs];
  }
};

struct OutputAdjoint {  // A
  static constexpr int kFrom = 4, kTo = 6;
  static void Apply(const Vec* g, int fs, Vec* m, int ts) {
    const Vec g0 = g[0], g1 = g[fs], g2 = g[2 * fs], g3 = g[3 * fs];
    const Vec ea = g0 + kA2 * g2, oa = kA * g1 + kA3 * g3;
    const Vec eb = g0 + kB2 * g2, ob = kB * g1 + kB3 * g3;
    m[0] = g0;
    m[ts] = ea + oa;
    m[2 * ts] = ea - oa;
    m[3 * ts] = eb + ob;
    m[4 * ts] = eb - ob;
    m[5 * ts] = g3;
  }
};

struct WeightTransform {  // G
  static constexpr int kFrom = 3, kTo = 6;
  static void Apply(const Vec* w, int fs, Vec* u, int ts) {
    const Vec w0 = w[0], w1 = w[fs], w2 = w[2 * fs];
    const Vec ea = kGa * (w0 + kA2 * w2), oa = (kGa * kA) * w1;
    const Vec eb = kGb * (w0 + kB2 * w2), ob = (kGb * kB) * w1;
    u[0] = (1 / kProduct) * w0;
    u[ts] = ea + oa;
    u[2 * ts] = ea - oa;
    u[3 * ts] = eb + ob;
    u[4 * ts] = eb - ob;
    u[5 * ts] = w2;
  }
};

struct WeightAdjoint {  // G'
  static constexpr int kFrom = 6, kTo = 3;
  static void Apply(const Vec* u, int fs, Vec* w, int ts) {
    const Vec ea = kGa * (u[fs] + u[2 * fs]);
    const Vec oa = (kGa * kA) * (u[fs] - u[2 * fs]);
    const Vec eb = kGb * (u[3 * fs] + u[4 * fs]);
    const Vec ob = (kGb * kB) * (u[3 * fs] - u[4 * fs]);
    w[0] = (1 / kProduct) * u[0] + ea + eb;
    w[ts] = oa + ob;
    w[2 * ts] = kA2 * ea + kB2 * eb + u[5 * fs];
  }
};

// Both axes: from[kFrom][kFrom] to to[kTo][kTo].
template <class T>
inline void Transform2D(const Vec* from, Vec* to) {
  Vec half[T::kFrom * T::kTo];
  for (int i = 0; i < T::kFrom; ++i)
    T::Apply(from + i * T::kFrom, 1, half + i * T::kTo, 1);
  for (int j = 0; j < T::kTo; ++j) T::Apply(half + j, T::kTo, to + j, T::kTo);
}

class Winograd {
 public:
  // Tiles per pass: V, M and U of a pass stay in the last-level cache.
  static constexpr int64_t kChunk = 256;

  explicit Winograd(const Shape& s)
      : s_(s),
        down_(CeilDiv(s.h2, 4)),
        across_(CeilDiv(s.w2, 4)),
        tiles_(s.b * down_ * across_),
        chunk_(std::min(kChunk, tiles_)),
        ip_(CeilDiv(s.i, kPanel)),
        op_(CeilDiv(s.o, kPanel)) {}

  int64_t ScratchFloats() const {
    return 36 * kPanel * (chunk_ * (ip_ + op_) + ip_ * op_ * kPanel);
  }

  void Forward(xla::ffi::ThreadPool& pool, const float* x, const float* w,
               float* y, float* scratch) const {
    float *v = scratch, *m = v + InputFloats(), *u = m + OutputFloats();
    TransformWeights(pool, w, u, /*transpose=*/false);
    for (int64_t first = 0; first < tiles_; first += chunk_) {
      const int64_t n = std::min(chunk_, tiles_ - first);
      TransformInput(pool, x, first, n, v);
      Multiply(pool, v, ip_, u, op_, n, m);
      ForTiles(pool, n, op_, [&](int64_t t, int64_t p) {
        Vec from[36], to[16];
        for (int half = 0; half < 2; ++half) {
          for (int f = 0; f < 36; ++f)
            from[f] = Load(m + At(f, op_, p, n, t) + half * kVector);
          Transform2D<OutputTransform>(from, to);
          ScatterOutput(y, first + t, p, half, to);
        }
      });
    }
  }

  void InputGrad(xla::ffi::ThreadPool& pool, const float* g, const float* w,
                 float* dx, float* scratch) const {
    float *v = scratch, *m = v + InputFloats(), *u = m + OutputFloats();
    TransformWeights(pool, w, u, /*transpose=*/true);
    const int64_t row = s_.w * s_.i;
    ParallelFor(pool, s_.b * s_.h, [&](int64_t r) {
      std::memset(dx + r * row, 0, sizeof(float) * row);
    });
    const auto ys = s_.Rows(4 * down_ + 2), xs = s_.Columns(4 * across_ + 2);
    for (int64_t first = 0; first < tiles_; first += chunk_) {
      const int64_t n = std::min(chunk_, tiles_ - first);
      TransformGrad(pool, g, first, n, m);
      Multiply(pool, m, op_, u, ip_, n, v);
      // Neighbouring tiles overlap: a task owns a channel panel, not a tile.
      ParallelFor(pool, ip_, [&](int64_t p) {
        for (int64_t t = 0; t < n; ++t) AddPatch(v, first, n, t, p, ys, xs, dx);
      });
    }
  }

  void WeightGrad(xla::ffi::ThreadPool& pool, const float* x, const float* g,
                  float* dw, float* scratch) const {
    float *v = scratch, *m = v + InputFloats(), *u = m + OutputFloats();
    for (int64_t first = 0; first < tiles_; first += chunk_) {
      const int64_t n = std::min(chunk_, tiles_ - first);
      TransformInput(pool, x, first, n, v);
      TransformGrad(pool, g, first, n, m);
      ParallelFor(pool, 36 * op_, [&](int64_t task) {
        const int64_t f = task / op_, q = task % op_;
        float* du = u + task * ip_ * kPanel * kPanel;
        if (first == 0)
          std::memset(du, 0, sizeof(float) * ip_ * kPanel * kPanel);
        const float* b = m + At(f, op_, q, n, 0);
        for (int64_t p = 0; p < ip_; ++p, du += kPanel * kPanel)
          MultiplyPanel(n, v + At(f, ip_, p, n, 0), b, du);
      });
    }
    ParallelFor(pool, s_.i, [&](int64_t c) {
      for (int64_t q = 0; q < op_; ++q) WeightTile(u, c, q, dw);
    });
  }

 private:
  int64_t InputFloats() const { return 36 * kPanel * chunk_ * ip_; }
  int64_t OutputFloats() const { return 36 * kPanel * chunk_ * op_; }

  // Offset of tile t of n, panel p of `panels`, frequency f.
  static int64_t At(int64_t f, int64_t panels, int64_t p, int64_t n,
                    int64_t t) {
    return ((f * panels + p) * n + t) * kPanel;
  }

  template <class Body>
  static void ForTiles(xla::ffi::ThreadPool& pool, int64_t n, int64_t panels,
                       const Body& body) {
    constexpr int64_t kGroup = 8;
    const int64_t groups = CeilDiv(n, kGroup);
    ParallelFor(pool, groups * panels, [&](int64_t task) {
      const int64_t t0 = task / panels * kGroup;
      for (int64_t t = t0; t < std::min(n, t0 + kGroup); ++t)
        body(t, task % panels);
    });
  }

  void Place(int64_t tile, int64_t* b, int64_t* ty, int64_t* tx) const {
    *tx = tile % across_;
    *ty = tile / across_ % down_;
    *b = tile / across_ / down_;
  }

  void TransformInput(xla::ffi::ThreadPool& pool, const float* x,
                      int64_t first, int64_t n, float* v) const {
    const auto ys = s_.Rows(4 * down_ + 2), xs = s_.Columns(4 * across_ + 2);
    ForTiles(pool, n, ip_, [&](int64_t t, int64_t p) {
      int64_t b, ty, tx;
      Place(first + t, &b, &ty, &tx);
      const int64_t count = std::min<int64_t>(kPanel, s_.i - p * kPanel);
      Vec from[2][36], to[36];
      for (int i = 0; i < 6; ++i)
        for (int j = 0; j < 6; ++j) {
          const int64_t y = ys[4 * ty + i], c = xs[4 * tx + j];
          if (y < 0 || c < 0) {
            from[0][6 * i + j] = from[1][6 * i + j] = Vec{};
            continue;
          }
          ReadPanel(x + ((b * s_.h + y) * s_.w + c) * s_.i + p * kPanel, count,
                    &from[0][6 * i + j], &from[1][6 * i + j]);
        }
      for (int half = 0; half < 2; ++half) {
        Transform2D<InputTransform>(from[half], to);
        for (int f = 0; f < 36; ++f)
          Store(v + At(f, ip_, p, n, t) + half * kVector, to[f]);
      }
    });
  }

  void TransformGrad(xla::ffi::ThreadPool& pool, const float* g, int64_t first,
                     int64_t n, float* m) const {
    ForTiles(pool, n, op_, [&](int64_t t, int64_t p) {
      int64_t b, ty, tx;
      Place(first + t, &b, &ty, &tx);
      const int64_t count = std::min<int64_t>(kPanel, s_.o - p * kPanel);
      Vec from[2][16], to[36];
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) {
          const int64_t y = 4 * ty + i, c = 4 * tx + j;
          if (y >= s_.h2 || c >= s_.w2) {
            from[0][4 * i + j] = from[1][4 * i + j] = Vec{};
            continue;
          }
          ReadPanel(g + ((b * s_.h2 + y) * s_.w2 + c) * s_.o + p * kPanel,
                    count, &from[0][4 * i + j], &from[1][4 * i + j]);
        }
      for (int half = 0; half < 2; ++half) {
        Transform2D<OutputAdjoint>(from[half], to);
        for (int f = 0; f < 36; ++f)
          Store(m + At(f, op_, p, n, t) + half * kVector, to[f]);
      }
    });
  }

  static void ReadPanel(const float* from, int64_t count, Vec* lo, Vec* hi) {
    if (count == kPanel) {
      *lo = Load(from);
      *hi = Load(from + kVector);
      return;
    }
    float panel[kPanel];
    LoadPanel(from, count, panel);
    *lo = Load(panel);
    *hi = Load(panel + kVector);
  }

  // Writes one vector of channels to those of the 4x4 pixels that exist.
  void ScatterOutput(float* y, int64_t tile, int64_t p, int half,
                     const Vec* values) const {
    int64_t b, ty, tx;
    Place(tile, &b, &ty, &tx);
    const int64_t c = p * kPanel + half * kVector;
    const int64_t count = std::min<int64_t>(kVector, s_.o - c);
    if (count <= 0) return;
    for (int64_t i = 0; i < std::min<int64_t>(4, s_.h2 - 4 * ty); ++i)
      for (int64_t j = 0; j < std::min<int64_t>(4, s_.w2 - 4 * tx); ++j)
        std::memcpy(
            y + ((b * s_.h2 + 4 * ty + i) * s_.w2 + 4 * tx + j) * s_.o + c,
            &values[4 * i + j], sizeof(float) * count);
  }

  void AddPatch(const float* v, int64_t first, int64_t n, int64_t t, int64_t p,
                const std::vector<int32_t>& ys, const std::vector<int32_t>& xs,
                float* dx) const {
    int64_t b, ty, tx;
    Place(first + t, &b, &ty, &tx);
    Vec from[36], to[36];
    for (int half = 0; half < 2; ++half) {
      const int64_t c = p * kPanel + half * kVector;
      const int64_t count = std::min<int64_t>(kVector, s_.i - c);
      if (count <= 0) return;
      for (int f = 0; f < 36; ++f)
        from[f] = Load(v + At(f, ip_, p, n, t) + half * kVector);
      Transform2D<InputAdjoint>(from, to);
      for (int i = 0; i < 6; ++i)
        for (int j = 0; j < 6; ++j) {
          const int64_t y = ys[4 * ty + i], x = xs[4 * tx + j];
          if (y < 0 || x < 0) continue;
          float* d = dx + ((b * s_.h + y) * s_.w + x) * s_.i + c;
          if (count == kVector) {
            Store(d, Load(d) + to[6 * i + j]);
          } else {
            for (int64_t k = 0; k < count; ++k) d[k] += to[6 * i + j][k];
          }
        }
    }
  }

  // u[f][to panel][from channel][kPanel]; from = input channels, to = output
  // channels, or the other way about when transposed.
  void TransformWeights(xla::ffi::ThreadPool& pool, const float* w, float* u,
                        bool transpose) const {
    const int64_t to_panels = transpose ? ip_ : op_;
    const int64_t from_panels = transpose ? op_ : ip_;
    const int64_t from = transpose ? s_.o : s_.i, to = transpose ? s_.i : s_.o;
    const int64_t stride = from_panels * kPanel;
    ParallelFor(pool, to_panels * from_panels, [&](int64_t task) {
      const int64_t q = task / from_panels, c0 = task % from_panels * kPanel;
      const int64_t count = std::min<int64_t>(kPanel, to - q * kPanel);
      float block[9][kPanel][kPanel] = {};  // [tap][from][to]
      for (int k = 0; k < 9; ++k)
        for (int64_t c = 0; c < std::min<int64_t>(kPanel, from - c0); ++c)
          for (int64_t d = 0; d < count; ++d)
            block[k][c][d] =
                transpose ? w[(k * s_.i + q * kPanel + d) * s_.o + c0 + c]
                          : w[(k * s_.i + c0 + c) * s_.o + q * kPanel + d];
      Vec taps[9], out[36];
      for (int64_t c = 0; c < kPanel; ++c)
        for (int half = 0; half < 2; ++half) {
          for (int k = 0; k < 9; ++k)
            taps[k] = Load(&block[k][c][half * kVector]);
          Transform2D<WeightTransform>(taps, out);
          for (int f = 0; f < 36; ++f)
            Store(u + ((f * to_panels + q) * stride + c0 + c) * kPanel +
                      half * kVector,
                  out[f]);
        }
    });
  }

  // to[f] = from[f] u[f] for all frequencies.
  static void Multiply(xla::ffi::ThreadPool& pool, const float* from,
                       int64_t from_panels, const float* u, int64_t to_panels,
                       int64_t n, float* to) {
    constexpr int64_t kGroup = 4;
    const int64_t groups = CeilDiv(to_panels, kGroup);
    ParallelFor(pool, 36 * groups, [&](int64_t task) {
      const int64_t f = task / groups, q0 = task % groups * kGroup;
      for (int64_t q = q0; q < std::min(to_panels, q0 + kGroup); ++q) {
        const float* b =
            u + (f * to_panels + q) * from_panels * kPanel * kPanel;
        float* out = to + At(f, to_panels, q, n, 0);
        for (int64_t t = 0; t < n; t += kRows) {
          const float* a = from + At(f, from_panels, 0, n, 0);
          MultiplyRows(
              from_panels, kPanel,
              [&](int64_t r, int m) {
                return a + (r * n + std::min(n - 1, t + m)) * kPanel;
              },
              [&](int64_t r) { return b + r * kPanel * kPanel; },
              [&](int m, Vec lo, Vec hi) {
                if (t + m >= n) return;
                Store(out + (t + m) * kPanel, lo);
                Store(out + (t + m) * kPanel + kVector, hi);
              });
        }
      }
    });
  }

  // du[c][...] += sum over tiles of v[t][c] m[t][...], one panel by another.
  static void MultiplyPanel(int64_t n, const float* v, const float* m,
                            float* du) {
    constexpr int kParts = (kPanel + kRows - 1) / kRows;
    constexpr int kMore = (kPanel + kParts - 1) / kParts;
    constexpr int kLess = kPanel / kParts;
    for (int c = 0, part = 0; part < kParts; ++part) {
      if (part < kPanel % kParts) {
        MultiplyOuter<kMore>(n, v + c, kPanel, m, du + c * kPanel);
        c += kMore;
      } else {
        MultiplyOuter<kLess>(n, v + c, kPanel, m, du + c * kPanel);
        c += kLess;
      }
    }
  }

  void WeightTile(const float* u, int64_t c, int64_t q, float* dw) const {
    Vec from[36], to[9];
    for (int half = 0; half < 2; ++half) {
      const int64_t o = q * kPanel + half * kVector;
      const int64_t count = std::min<int64_t>(kVector, s_.o - o);
      if (count <= 0) return;
      for (int f = 0; f < 36; ++f)
        from[f] = Load(u + ((f * op_ + q) * ip_ * kPanel + c) * kPanel +
                       half * kVector);
      Transform2D<WeightAdjoint>(from, to);
      for (int k = 0; k < 9; ++k)
        std::memcpy(dw + (k * s_.i + c) * s_.o + o, &to[k],
                    sizeof(float) * count);
    }
  }

  Shape s_;
  int64_t down_, across_, tiles_, chunk_, ip_, op_;
};

}  // namespace chibijax
