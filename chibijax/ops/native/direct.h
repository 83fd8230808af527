// Convolution of any size, stride and padding as an implicit matrix product.
//
// The inner loop gathers its rows through pointers (Dukhan 2019, "The indirect
// convolution algorithm"), so no patch matrix is stored. Where a picture has
// few channels, a window's row (kw x channels) is one run of memory in a
// zero-padded copy, and takes the place of the channels. Where the result has
// few channels, neighbours along the row are computed together, as channels of
// a wider window whose weights are shifted copies.
#pragma once

#include <functional>
#include <vector>

#include "gemm.h"
#include "parallel.h"
#include "shape.h"

namespace chibijax {

class Direct {
 public:
  // Fewer channels than this are joined with their neighbours in the row.
  static constexpr int64_t kNarrow = 8;

  explicit Direct(const Shape& s)
      : s_(s),
        ip_(CeilDiv(s.i, kPanel)),
        op_(CeilDiv(s.o, kPanel)),
        hp_(s.h + 2 * s.padding),
        wp_(s.w + 2 * s.padding),
        joined_(s.o < kNarrow && s.i >= kNarrow
                    ? std::min(kPanel / s.o, s.w2) : 1),
        window_(s.kw + (joined_ - 1) * s.stride) {}

  int64_t ForwardScratch() const {
    return s_.kh * window_ * s_.i * op_ * kPanel +
           (s_.i < kNarrow ? s_.b * hp_ * wp_ * s_.i : s_.i);
  }
  int64_t InputGradScratch() const {
    if (Mirrors())
      return s_.kh * s_.kw * s_.i * s_.o + Direct(Mirror()).ForwardScratch();
    return s_.kh * s_.kw * s_.o * ip_ * kPanel + s_.o;
  }
  int64_t WeightGradScratch() const {
    if (GatherGrad())
      return s_.b * (hp_ * wp_ * ip_ * kPanel + GradHeight() * GradWidth() * s_.o);
    return s_.b * (s_.h2 * s_.w2 * op_ * kPanel +
                   hp_ * wp_ * (s_.i < kNarrow ? s_.i : RoundUp(s_.i, kRows)));
  }

  void Forward(xla::ffi::ThreadPool& pool, const float* x, const float* w,
               float* y, float* scratch) const {
    const bool narrow = s_.i < kNarrow;
    const int64_t depth = s_.kh * window_ * s_.i;
    float *packed = scratch, *rest = packed + depth * op_ * kPanel;
    ParallelFor(pool, op_ * s_.kh, [&](int64_t task) {
      PackRow(w, task / s_.kh, task % s_.kh, packed);
    });
    if (narrow) {
      PadCopy(pool, x, rest);
    } else {
      std::memset(rest, 0, sizeof(float) * s_.i);
    }
    const auto ys = s_.Rows(hp_);
    const auto xs = s_.Columns(wp_ + joined_ * s_.stride);
    const int64_t runs = narrow ? s_.kh : s_.kh * window_;
    const int64_t length = narrow ? s_.kw * s_.i : s_.i;
    const int64_t across = CeilDiv(s_.w2, joined_);
    Gather(pool, s_.b * s_.h2 * across, runs, length, packed, depth,
           s_.o * joined_, nullptr, [&](int64_t group, const float** a) {
             const int64_t first = group % across * joined_;
             const int64_t row = group / across, c = first * s_.stride;
             const int64_t b = row / s_.h2, r = row % s_.h2 * s_.stride;
             for (int64_t i = 0; i < s_.kh; ++i) {
               if (narrow) {
                 *a++ = rest + ((b * hp_ + r + i) * wp_ + c) * s_.i;
                 continue;
               }
               for (int64_t j = 0; j < window_; ++j) {
                 const int64_t sy = ys[r + i], sx = xs[c + j];
                 *a++ = sy < 0 || sx < 0
                            ? rest
                            : x + ((b * s_.h + sy) * s_.w + sx) * s_.i;
               }
             }
             return Place{y + (row * s_.w2 + first) * s_.o,
                          std::min(joined_, s_.w2 - first) * s_.o};
           });
  }

  void InputGrad(xla::ffi::ThreadPool& pool, const float* g, const float* w,
                 float* dx, float* scratch) const {
    if (Mirrors()) {
      // A convolution of g with the kernel turned round, which joins pixels.
      ParallelFor(pool, s_.kh * s_.kw, [&](int64_t t) {
        const float* from = w + (s_.kh * s_.kw - 1 - t) * s_.i * s_.o;
        float* to = scratch + t * s_.i * s_.o;
        for (int64_t o = 0; o < s_.o; ++o)
          for (int64_t c = 0; c < s_.i; ++c)
            to[o * s_.i + c] = from[c * s_.o + o];
      });
      Direct(Mirror()).Forward(pool, g, scratch, dx,
                               scratch + s_.kh * s_.kw * s_.i * s_.o);
      return;
    }
    const int64_t taps = s_.kh * s_.kw, depth = taps * s_.o;
    float *packed = scratch, *zeros = packed + depth * ip_ * kPanel;
    std::memset(zeros, 0, sizeof(float) * s_.o);
    ParallelFor(pool, ip_ * taps, [&](int64_t task) {  // transposes each tap
      const int64_t p = task / taps, t = task % taps;
      const int64_t count = std::min<int64_t>(kPanel, s_.i - p * kPanel);
      const float* from = w + (t * s_.i + p * kPanel) * s_.o;
      float* to = packed + task * s_.o * kPanel;
      for (int64_t o = 0; o < s_.o; ++o)
        for (int64_t c = 0; c < kPanel; ++c)
          to[o * kPanel + c] = c < count ? from[c * s_.o + o] : 0;
    });
    // Pixels of one residue modulo the stride see the same taps.
    for (int64_t cy = 0; cy < std::min(s_.stride, s_.h); ++cy)
      for (int64_t cx = 0; cx < std::min(s_.stride, s_.w); ++cx)
        InputGradClass(pool, g, packed, zeros, cy, cx, dx);
  }

  void WeightGrad(xla::ffi::ThreadPool& pool, const float* x, const float* g,
                  float* dw, float* scratch) const {
    if (GatherGrad()) {
      WeightGradFewOutputs(pool, x, g, dw, scratch);
      return;
    }
    const bool narrow = s_.i < kNarrow;
    float *gp = scratch, *xp = gp + s_.b * s_.h2 * s_.w2 * op_ * kPanel;
    const int64_t pixels = s_.b * s_.h2 * s_.w2;
    ParallelFor(pool, s_.b * s_.h2, [&](int64_t row) {
      for (int64_t p = row * s_.w2; p < (row + 1) * s_.w2; ++p)
        for (int64_t q = 0; q < op_; ++q)
          LoadPanel(g + p * s_.o + q * kPanel,
                    std::min<int64_t>(kPanel, s_.o - q * kPanel),
                    gp + (q * pixels + p) * kPanel);
    });
    Outer problem;
    problem.rows = s_.b * s_.h2;
    problem.columns = s_.w2;
    problem.panels = op_;
    problem.b = gp;
    problem.b_row = s_.w2 * kPanel;
    problem.a_row = [this](int64_t row) {  // in rows of the padded picture
      return row / s_.h2 * hp_ + row % s_.h2 * s_.stride;
    };
    if (narrow) {
      PadCopy(pool, x, xp);
      problem.a = xp;
      problem.a_width = wp_ * s_.i;
      problem.a_column = s_.stride * s_.i;
      problem.channels = s_.kw * s_.i;
      problem.tile = 0;
      for (int64_t i = 0; i < s_.kh; ++i)
        problem.taps.push_back(i * problem.a_width);
      problem.store = [&](int64_t tap, int64_t c, int64_t o, int64_t count,
                          const float* v) {
        std::memcpy(dw + (tap * problem.channels + c) * s_.o + o, v,
                    sizeof(float) * count);
      };
    } else {
      PackInput(pool, x, xp);
      problem.a = xp;
      problem.a_width = wp_ * kRows;
      problem.a_column = s_.stride * kRows;
      problem.channels = s_.i;
      problem.tile = s_.b * hp_ * wp_ * kRows;
      for (int64_t i = 0; i < s_.kh; ++i)
        for (int64_t j = 0; j < s_.kw; ++j)
          problem.taps.push_back((i * wp_ + j) * kRows);
      problem.store = [&](int64_t tap, int64_t c, int64_t o, int64_t count,
                          const float* v) {
        std::memcpy(dw + (tap * s_.i + c) * s_.o + o, v,
                    sizeof(float) * count);
      };
    }
    problem.outputs = s_.o;
    Reduce(pool, problem);
  }

 private:
  // A sum over pixels of outer products: channels of `a` (kRows at a time,
  // each tile of them `tile` floats on, or adjacent if 0) times panels of `b`.
  struct Outer {
    const float *a, *b;
    int64_t rows, columns, panels, outputs, channels;
    int64_t a_width, a_column, tile, b_row;
    std::function<int64_t(int64_t)> a_row;
    std::vector<int64_t> taps;
    std::function<void(int64_t tap, int64_t channel, int64_t output,
                       int64_t count, const float* values)>
        store;
  };

  // Where a row of results goes and how many floats it has.
  struct Place {
    float* to;
    int64_t count;
  };

  bool Mirrors() const {
    return s_.i < kNarrow && s_.o >= kNarrow && s_.stride == 1 &&
           s_.kh == s_.kw && s_.padding < s_.kh;
  }
  Shape Mirror() const {
    return Shape{s_.b, s_.h2, s_.w2, s_.o, s_.kh, s_.kw,
                 s_.i, s_.h,  s_.w,  1,    s_.kh - 1 - s_.padding, false};
  }

  // One row of the kernel for one panel of results: [window_][i][kPanel],
  // where lane d * o + k is channel k of the d-th joined pixel.
  void PackRow(const float* w, int64_t q, int64_t i, float* packed) const {
    const int64_t run = window_ * s_.i;
    float* to = packed + (q * s_.kh + i) * run * kPanel;
    const float* from = w + i * s_.kw * s_.i * s_.o;
    if (joined_ == 1) {
      const int64_t count = std::min<int64_t>(kPanel, s_.o - q * kPanel);
      for (int64_t k = 0; k < run; ++k)
        LoadPanel(from + k * s_.o + q * kPanel, count, to + k * kPanel);
      return;
    }
    std::memset(to, 0, sizeof(float) * run * kPanel);
    for (int64_t d = 0; d < joined_; ++d)
      for (int64_t k = 0; k < s_.kw * s_.i; ++k)
        std::memcpy(to + (d * s_.stride * s_.i + k) * kPanel + d * s_.o,
                    from + k * s_.o, sizeof(float) * s_.o);
  }

  bool GatherGrad() const {
    return s_.o < kNarrow && s_.stride == 1 && s_.i >= kNarrow;
  }
  int64_t GradHeight() const { return s_.h2 + 2 * (s_.kh - 1); }
  int64_t GradWidth() const { return s_.w2 + 2 * (s_.kw - 1); }

  // Output rows by gathered input rows: fill(pixel, a) sets a[0..runs) and
  // returns the Place of the pixel's `outputs` results. Run r multiplies rows
  // [taps[r] * length, ...) of the packed matrix (r itself without `taps`).
  template <class Fill>
  static void Gather(xla::ffi::ThreadPool& pool, int64_t pixels, int64_t runs,
                     int64_t length, const float* packed, int64_t depth,
                     int64_t outputs, const int64_t* taps, const Fill& fill) {
    constexpr int64_t kTiles = 12;
    const int64_t panels = CeilDiv(outputs, kPanel);
    const int64_t blocks = CeilDiv(pixels, kTiles * kRows);
    // Small pictures are split by output channel as well.
    const int64_t group = blocks >= 16 ? panels : CeilDiv(panels * blocks, 16);
    const int64_t groups = CeilDiv(panels, group);
    ParallelFor(pool, blocks * groups, [&](int64_t task) {
      const int64_t first = task / groups * kTiles * kRows;
      const int64_t last = std::min(pixels, first + kTiles * kRows);
      const int64_t q0 = task % groups * group;
      std::vector<const float*> a((last - first) * runs);
      std::vector<Place> c(last - first);
      for (int64_t k = first; k < last; ++k)
        c[k - first] = fill(k, a.data() + (k - first) * runs);
      for (int64_t q = q0; q < std::min(panels, q0 + group); ++q) {
        const float* b = packed + q * depth * kPanel;
        for (int64_t t = 0; t < last - first; t += kRows) {
          const int64_t end = last - first - 1 - t;
          MultiplyRows(
              runs, length,
              [&](int64_t r, int m) {
                return a[(t + std::min<int64_t>(m, end)) * runs + r];
              },
              [&](int64_t r) {
                return b + (taps ? taps[r] : r) * length * kPanel;
              },
              [&](int m, Vec lo, Vec hi) {
                if (m > end) return;
                float* to = c[t + m].to + q * kPanel;
                const int64_t count =
                    std::min<int64_t>(kPanel, c[t + m].count - q * kPanel);
                if (count == kPanel) {
                  Store(to, lo);
                  Store(to + kVector, hi);
                  return;
                }
                float panel[kPanel];
                Store(panel, lo);
                Store(panel + kVector, hi);
                std::memcpy(to, panel, sizeof(float) * count);
              });
        }
      }
    });
  }

  void InputGradClass(xla::ffi::ThreadPool& pool, const float* g,
                      const float* packed, const float* zeros, int64_t cy,
                      int64_t cx, float* dx) const {
    const int64_t s = s_.stride, depth = s_.kh * s_.kw * s_.o;
    std::vector<int64_t> is, js, taps;
    for (int64_t i = (cy + s_.padding) % s; i < s_.kh; i += s) is.push_back(i);
    for (int64_t j = (cx + s_.padding) % s; j < s_.kw; j += s) js.push_back(j);
    for (int64_t i : is)
      for (int64_t j : js) taps.push_back(i * s_.kw + j);
    const int64_t down = CeilDiv(s_.h - cy, s), across = CeilDiv(s_.w - cx, s);
    Gather(pool, s_.b * down * across, taps.size(), s_.o, packed, depth, s_.i,
           taps.data(), [&](int64_t pixel, const float** a) {
             const int64_t x = pixel % across * s + cx;
             const int64_t y = pixel / across % down * s + cy;
             const int64_t b = pixel / across / down;
             for (int64_t i : is)
               for (int64_t j : js) {
                 const int64_t r = y + s_.padding - i, c = x + s_.padding - j;
                 const bool inside =
                     r >= 0 && c >= 0 && r / s < s_.h2 && c / s < s_.w2;
                 *a++ = inside ? g + ((b * s_.h2 + r / s) * s_.w2 + c / s) * s_.o
                               : zeros;
               }
             return Place{dx + ((b * s_.h + y) * s_.w + x) * s_.i, s_.i};
           });
  }

  // For few outputs and stride 1 the roles change: channels of x are the
  // vector, and a window's row of g (kw x outputs) takes the place of the
  // broadcast channels.
  void WeightGradFewOutputs(xla::ffi::ThreadPool& pool, const float* x,
                            const float* g, float* dw, float* scratch) const {
    float *xp = scratch, *gp = xp + s_.b * hp_ * wp_ * ip_ * kPanel;
    const auto ys = s_.Rows(hp_), xs = s_.Columns(wp_);
    const int64_t gh = GradHeight(), gw = GradWidth();
    ParallelFor(pool, s_.b * hp_, [&](int64_t row) {
      const int64_t y = ys[row % hp_];
      for (int64_t c = 0; c < wp_; ++c)
        for (int64_t p = 0; p < ip_; ++p) {
          float* to = xp + ((p * s_.b * hp_ + row) * wp_ + c) * kPanel;
          const bool inside = y >= 0 && xs[c] >= 0;
          LoadPanel(inside ? x + ((row / hp_ * s_.h + y) * s_.w + xs[c]) * s_.i +
                                 p * kPanel
                           : x,
                    inside ? std::min<int64_t>(kPanel, s_.i - p * kPanel) : 0,
                    to);
        }
    });
    ParallelFor(pool, s_.b * gh, [&](int64_t row) {
      float* to = gp + row * gw * s_.o;
      std::memset(to, 0, sizeof(float) * gw * s_.o);
      const int64_t y = row % gh - (s_.kh - 1);
      if (y < 0 || y >= s_.h2) return;
      std::memcpy(to + (s_.kw - 1) * s_.o,
                  g + (row / gh * s_.h2 + y) * s_.w2 * s_.o,
                  sizeof(float) * s_.w2 * s_.o);
    });
    Outer problem;
    problem.rows = s_.b * hp_;
    problem.columns = wp_;
    problem.panels = ip_;
    problem.outputs = s_.i;
    problem.b = xp;
    problem.b_row = wp_ * kPanel;
    problem.a = gp;
    problem.a_row = [this, gh](int64_t row) {
      return row / hp_ * gh + row % hp_;
    };
    problem.a_width = gw * s_.o;
    problem.a_column = s_.o;
    problem.channels = s_.kw * s_.o;
    problem.tile = 0;
    for (int64_t i = 0; i < s_.kh; ++i)
      problem.taps.push_back((s_.kh - 1 - i) * problem.a_width);
    problem.store = [&](int64_t tap, int64_t c, int64_t i, int64_t count,
                        const float* v) {
      const int64_t j = s_.kw - 1 - c / s_.o, o = c % s_.o;
      for (int64_t k = 0; k < count; ++k)
        dw[((tap * s_.kw + j) * s_.i + i + k) * s_.o + o] = v[k];
    };
    Reduce(pool, problem);
  }

  // Each task owns some results and sums all pixels in a fixed order, block by
  // block so that a block of `b` stays in the second-level cache.
  static void Reduce(xla::ffi::ThreadPool& pool, const Outer& s) {
    const int64_t tiles = CeilDiv(s.channels, kRows);
    const int64_t taps = s.taps.size();
    const int64_t step = std::max<int64_t>(1, 1024 / s.columns);
    ParallelFor(pool, tiles * s.panels, [&](int64_t task) {
      const int64_t m = task / s.panels, q = task % s.panels;
      const int64_t c0 = m * kRows;
      const int64_t count = std::min<int64_t>(kRows, s.channels - c0);
      const float* a = s.a + (s.tile ? m * s.tile : c0);
      const float* b = s.b + q * s.rows * s.b_row;
      std::vector<float> total(taps * kRows * kPanel, 0.f);
      for (int64_t y = 0; y < s.rows; y += step)
        for (int64_t t = 0; t < taps; ++t)
          for (int64_t r = y; r < std::min(s.rows, y + step); ++r)
            Multiply(s.tile ? kRows : count, s.columns,
                     a + s.taps[t] + s.a_row(r) * s.a_width, s.a_column,
                     b + r * s.b_row, total.data() + t * kRows * kPanel);
      const int64_t width =
          std::min<int64_t>(kPanel, s.outputs - q * kPanel);
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t k = 0; k < count; ++k)
          s.store(t, c0 + k, q * kPanel, width,
                  total.data() + (t * kRows + k) * kPanel);
    });
  }

  static void Multiply(int64_t count, int64_t columns, const float* a,
                       int64_t a_column, const float* b, float* total) {
    if (count == kRows) {
      MultiplyOuter<kRows>(columns, a, a_column, b, total);
      return;
    }
    for (int64_t m = 0; m < count; ++m)
      MultiplyOuter<1>(columns, a + m, a_column, b,
                       total + m * kPanel);
  }

  // The picture with its zero border.
  void PadCopy(xla::ffi::ThreadPool& pool, const float* x, float* to) const {
    ParallelFor(pool, s_.b * hp_, [&](int64_t row) {
      float* out = to + row * wp_ * s_.i;
      std::memset(out, 0, sizeof(float) * wp_ * s_.i);
      const int64_t y = row % hp_ - s_.padding;
      if (y < 0 || y >= s_.h) return;
      std::memcpy(out + s_.padding * s_.i,
                  x + (row / hp_ * s_.h + y) * s_.w * s_.i,
                  sizeof(float) * s_.w * s_.i);
    });
  }

  // The same, in tiles of kRows channels: [tile][b][hp][wp][kRows].
  void PackInput(xla::ffi::ThreadPool& pool, const float* x, float* to) const {
    const int64_t tiles = CeilDiv(s_.i, kRows);
    ParallelFor(pool, s_.b * hp_, [&](int64_t row) {
      const int64_t y = row % hp_ - s_.padding;
      for (int64_t m = 0; m < tiles; ++m) {
        float* out = to + (m * s_.b * hp_ + row) * wp_ * kRows;
        std::memset(out, 0, sizeof(float) * wp_ * kRows);
      }
      if (y < 0 || y >= s_.h) return;
      for (int64_t c = 0; c < s_.w; ++c) {
        const float* in = x + ((row / hp_ * s_.h + y) * s_.w + c) * s_.i;
        for (int64_t m = 0; m < tiles; ++m)
          std::memcpy(to + ((m * s_.b * hp_ + row) * wp_ + c + s_.padding) *
                               kRows,
                      in + m * kRows,
                      sizeof(float) *
                          std::min<int64_t>(kRows, s_.i - m * kRows));
      }
    });
  }

  Shape s_;
  int64_t ip_, op_, hp_, wp_, joined_, window_;
};

}  // namespace chibijax
