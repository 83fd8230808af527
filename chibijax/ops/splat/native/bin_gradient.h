// The gradient of compositing in one bin: its light is followed again from
// front to back, then back to front, and what is found is added into rows, one
// per Gaussian.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "binning.h"
#include "blocks.h"

namespace chibijax {
namespace splat {

// One image's residuals and cotangents; v_depth may be null.
struct CanvasCotangent {
  const float *transmittance, *v_image, *v_transmittance, *v_depth;
  const int32_t* last;
};

// A row: RowFloats(channels) of colour, then these.
enum { kOne, kMomentX, kMomentY, kXX, kXY, kYY, kDepthSum, kUnused, kGeometry };
constexpr int kAbsolute = 4;  // and, for absgrad, sums of |v_x| and |v_y|

inline int64_t GradientRow(int64_t channels, bool absolute) {
  return RowFloats(channels) + kGeometry + (absolute ? kAbsolute : 0);
}

struct GradMemory {
  Gathered gathered;
  Strip strip;
  Kept kept;
  Buffer<int32_t> list, pairs;
  // Of the kept Gaussians, 16 pixels each: raw alphas (0 where they are not
  // seen), transmittances, and alpha times transmittance, in whose place
  // <colour, v_image> comes later.
  Buffer<float> traced;
  Buffer<float> v_image;  // of the block, rows of pixels or planes
};

class BinGradient {
 public:
  BinGradient(const Picture& picture, const Bins& bins, int64_t bin,
              const Record* records, const CanvasCotangent& canvas,
              bool absolute, float* rows, GradMemory* memory)
      : picture_(picture),
        canvas_(canvas),
        m_(*memory),
        rows_(rows),
        left_(bins.Left(bin)),
        top_(bins.Top(bin)),
        right_(std::min(left_ + bins.size(), picture.width)),
        bottom_(std::min(top_ + bins.size(), picture.height)),
        channels_(picture.channels),
        colors_(RowFloats(picture.channels)),
        row_(GradientRow(picture.channels, absolute)),
        absolute_(absolute),
        ranks_(bins.Ranks() + bins.Start(bin)) {
    // Nothing after the last pixel's end has a gradient.
    int32_t end = 0;
    for (int64_t y = top_; y < bottom_; ++y)
      for (int64_t x = left_; x < right_; ++x)
        end = std::max(end, canvas.last[y * picture.width + x]);
    const int32_t* all = ranks_ + bins.Length(bin);
    const int64_t n = std::lower_bound(ranks_, all, end) - ranks_;
    m_.gathered.Fill(picture, records, ranks_, n);
    std::fill_n(rows_, n * row_, 0.0f);
  }

  // How many rows have been written: later Gaussians have no gradient here.
  int64_t count() const { return m_.gathered.count; }

  void Run() {
    for (int64_t y = top_; y < bottom_; y += kSide) {
      m_.strip.Fill(m_.gathered, y);
      m_.list.Reserve(m_.strip.Room());
      for (int64_t x = left_; x < right_; x += kSide) {
        const int64_t n = m_.strip.Block(x, m_.list.data());
        if (n > 0) Block(x, y, n);
      }
    }
  }

 private:
  void Block(int64_t left, int64_t top, int64_t n) {
    const Lanes lanes(left, top);
    Load(left, top);
    Trace(lanes, n);
    switch (channels_ <= kFewChannels ? channels_ : -1) {
      case 0: return Return<0>(lanes);
      case 1: return Return<1>(lanes);
      case 2: return Return<2>(lanes);
      case 3: return Return<3>(lanes);
      case 4: return Return<4>(lanes);
    }
    Colors();
    Return<-1>(lanes);
  }

  // Cotangents of the block's pixels; outside the image all is 0.
  void Load(int64_t left, int64_t top) {
    float* v = m_.v_image.Reserve(kPixels * colors_);
    std::fill_n(v, kPixels * colors_, 0.0f);
    for (int l = 0; l < kPixels; ++l) {
      last_[l] = 0;
      behind_[l] = v_depth_[l] = 0;
    }
    const float* background = picture_.background;
    ForPixels(
        left, top, picture_.width, picture_.height,
        [&](int l, int64_t pixel) {
          last_[l] = canvas_.last[pixel];
          if (canvas_.v_depth) v_depth_[l] = canvas_.v_depth[pixel];
          const float* from = canvas_.v_image + pixel * channels_;
          float sum = canvas_.v_transmittance[pixel];
          if (channels_ <= kFewChannels) {
            for (int64_t c = 0; c < channels_; ++c)
              v[c * kPixels + l] = from[c];
          } else {
            std::copy_n(from, channels_, v + l * colors_);
          }
          // Eight sums, so that they may be one pack.
          float sums[8] = {};
          int64_t c = 0;
          for (; c + 8 <= channels_; c += 8)
            for (int j = 0; j < 8; ++j)
              sums[j] += background[c + j] * from[c + j];
          for (; c < channels_; ++c) sum += background[c] * from[c];
          for (int j = 0; j < 8; ++j) sum += sums[j];
          behind_[l] = canvas_.transmittance[pixel] * sum;
        });
  }

  // Front to back, as BinPainter::Trace.
  void Trace(const Lanes& lanes, int64_t n) {
    Pack t[kPacks];
    IntVector last[kPacks];
    SPLAT_UNROLL
    for (int p = 0; p < kPacks; ++p) {
      t[p] = 1.0f;
      std::memcpy(&last[p], last_ + p * kLanes, sizeof last[p]);
    }
    m_.kept.Reserve(n + 1);
    float* traced = m_.traced.Reserve((n + 1) * kTraced);
    const Record* records = m_.gathered.records;
    const int32_t *list = m_.list.data(), *ranks = ranks_;
    int32_t *index = m_.kept.index.data(), *seen_bits = m_.kept.bits.data();
    const Pack most = picture_.max_alpha;
    int64_t kept = 0;
    for (int64_t at = 0; at < n; ++at) {
      const int32_t k = list[at];
      const Record& g = records[k];
      const IntVector rank = ranks[k] - IntVector{};
      const Pack gx = g.x, gy = g.y;
      float* to = traced + kept * kTraced;
      unsigned bits = 0;
      SPLAT_UNROLL
      for (int p = 0; p < kPacks; ++p, to += kLanes) {
        const Pack raw = RawAlpha(g, gx - lanes.x[p], gy - lanes.y[p]);
        Pack alpha = Min(most, raw);
        const Mask seen = (alpha >= Pack(kMinAlpha)) & Mask{rank < last[p]};
        alpha = Where(seen, alpha);
        Store(to + kRaw, Where(seen, raw));
        Store(to + kLight, t[p]);
        Store(to + kWeight, t[p] * alpha);
        t[p] = t[p] * (Pack(1) - alpha);
        bits |= Bits(seen) << (p * kLanes);
      }
      index[kept] = k;
      seen_bits[kept] = static_cast<int32_t>(bits);
      kept += bits != 0;
    }
    m_.kept.count = kept;
  }

  // For rows of channels: adds the colours' gradients, and puts
  // <colour, v_image> in place of the weights. Quads of one Gaussian follow
  // each other, while its rows are in the nearest cache.
  void Colors() {
    const int64_t count = m_.kept.count, colors = colors_, row = row_;
    const int32_t *index = m_.kept.index.data(), *bits = m_.kept.bits.data();
    int32_t* pairs = m_.pairs.Reserve(kQuads * count + 1 + kAhead);
    int64_t n = 0;
    for (int64_t i = 0; i < count; ++i)
      for (int q = 0; q < kQuads; ++q) {
        pairs[n] = static_cast<int32_t>(kQuads * i + q);
        n += (bits[i] >> (4 * q) & 15) != 0;
      }
    std::fill_n(pairs + n, kAhead, 0);
    const float *all_colors = m_.gathered.colors, *v_all = m_.v_image.data();
    float *rows = rows_, *traced = m_.traced.data() + kWeight;
    switch (colors / kLanes) {
      case 1:
        return ColorPairs<1>(pairs, n, index, all_colors, v_all, rows, traced,
                             colors, row);
      case 2:
        return ColorPairs<2>(pairs, n, index, all_colors, v_all, rows, traced,
                             colors, row);
      case 4:
        return ColorPairs<4>(pairs, n, index, all_colors, v_all, rows, traced,
                             colors, row);
    }
    ColorPairs<0>(pairs, n, index, all_colors, v_all, rows, traced, colors,
                  row);
  }

  // kWide: packs of a row of colours; 0 if it is not known in advance.
  template <int kWide>
  static void ColorPairs(const int32_t* pairs, int64_t n, const int32_t* index,
                         const float* all_colors, const float* v_all,
                         float* rows, float* traced, int64_t colors,
                         int64_t row) {
    if (kWide > 0) colors = kWide * kLanes;
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t pair = pairs[i], kept = pair / kQuads;
      const uint32_t quad = pair % kQuads;
      const int64_t k = index[kept];
      const int64_t later = index[uint32_t(pairs[i + kAhead]) / kQuads];
      for (int64_t c = 0; c < colors && c < 64; c += 16) {
        __builtin_prefetch(all_colors + later * colors + c);
        __builtin_prefetch(rows + later * row + c);
      }
      float* w = traced + int64_t{kept} * kTraced + 4 * quad;
      const float* color = all_colors + k * colors;
      const float* v = v_all + 4 * quad * colors;
      float* to = rows + k * row;
      Pack dot[4], weight[4];
      SPLAT_UNROLL
      for (int j = 0; j < 4; ++j) dot[j] = 0.0f, weight[j] = w[j];
      SPLAT_UNROLL
      for (int64_t c = 0; c < colors; c += kLanes) {
        const Pack wide = splat::Load(color + c);
        Pack pixel[4];
        SPLAT_UNROLL
        for (int j = 0; j < 4; ++j) {
          pixel[j] = splat::Load(v + j * colors + c);
          dot[j] = dot[j] + wide * pixel[j];
        }
        // The row comes last: the pair before may just have written it.
        const Pack sum = (weight[0] * pixel[0] + weight[1] * pixel[1]) +
                         (weight[2] * pixel[2] + weight[3] * pixel[3]);
        Store(to + c, splat::Load(to + c) + sum);
      }
      const Float4 dots = Sum4(dot[0], dot[1], dot[2], dot[3]);
      std::memcpy(w, &dots, sizeof dots);
    }
  }

  static void AddTo(float* to, Float4 x) {
    Float4 y;
    std::memcpy(&y, to, sizeof y);
    y += x;
    std::memcpy(to, &y, sizeof y);
  }

  // Back to front; kChannels < 0 if `Colors` has done its part.
  template <int kChannels>
  void Return(const Lanes& lanes) {
    constexpr int kMany = kChannels < 1 ? 1 : kChannels;
    Pack behind[kPacks], v_depth[kPacks], v_image[kMany][kPacks];
    SPLAT_UNROLL
    for (int p = 0; p < kPacks; ++p) {
      behind[p] = splat::Load(behind_ + p * kLanes);
      v_depth[p] = splat::Load(v_depth_ + p * kLanes);
      SPLAT_UNROLL
      for (int c = 0; c < kChannels; ++c)
        v_image[c][p] =
            splat::Load(m_.v_image.data() + c * kPixels + p * kLanes);
    }
    const Pack most = picture_.max_alpha;
    const bool with_depth = picture_.with_depth, absgrad = absolute_;
    const int32_t* index = m_.kept.index.data();
    const Record* records = m_.gathered.records;
    const float *traced = m_.traced.data(), *colors = m_.gathered.colors;
    float* rows = rows_;
    const int64_t row_floats = row_, color_floats = colors_;
    for (int64_t n = m_.kept.count - 1; n >= 0; --n) {
      const int32_t k = index[n];
      const Record& g = records[k];
      const float* color = colors + k * color_floats;
      Pack sums[kGeometry], v_color[4], absolute[2];
      SPLAT_UNROLL
      for (Pack& s : sums) s = 0.0f;
      SPLAT_UNROLL
      for (Pack& s : v_color) s = 0.0f;
      SPLAT_UNROLL
      for (Pack& s : absolute) s = 0.0f;
      SPLAT_UNROLL
      for (int p = 0; p < kPacks; ++p) {
        const float* at = traced + n * kTraced + p * kLanes;
        const Pack raw = splat::Load(at + kRaw), t = splat::Load(at + kLight);
        const Pack alpha = Min(most, raw), w = alpha * t;
        Pack dot = kChannels < 0 ? splat::Load(at + kWeight) : Pack(0.0f);
        SPLAT_UNROLL
        for (int c = 0; c < kChannels; ++c) {
          dot = dot + Pack(color[c]) * v_image[c][p];
          v_color[c] = v_color[c] + w * v_image[c][p];
        }
        if (with_depth) dot = dot + Pack(g.depth) * v_depth[p];
        const Pack v =
            SigmaVjp(raw, Pack(1.0f), alpha, most, t, dot, behind[p]);
        behind[p] = behind[p] + w * dot;
        const Pack dx = Pack(g.x) - lanes.x[p], dy = Pack(g.y) - lanes.y[p];
        const Pack vx = v * dx, vy = v * dy;
        sums[kOne] = sums[kOne] + v;
        sums[kMomentX] = sums[kMomentX] + vx;
        sums[kMomentY] = sums[kMomentY] + vy;
        sums[kXX] = sums[kXX] + vx * dx;
        sums[kXY] = sums[kXY] + vx * dy;
        sums[kYY] = sums[kYY] + vy * dy;
        sums[kDepthSum] = sums[kDepthSum] + w * v_depth[p];
        if (absgrad) {
          const Pack a = 2 / kLog2e * g.half_a, b = 1 / kLog2e * g.b;
          const Pack c = 2 / kLog2e * g.half_c;
          absolute[0] = absolute[0] + Abs(a * vx + b * vy);
          absolute[1] = absolute[1] + Abs(b * vx + c * vy);
        }
      }
      float* row = rows + k * row_floats;
      float* geometry = row + color_floats;
      AddTo(geometry, Sum4(sums[0], sums[1], sums[2], sums[3]));
      AddTo(geometry + 4, Sum4(sums[4], sums[5], sums[6], sums[7]));
      if (kChannels > 0)
        AddTo(row, Sum4(v_color[0], v_color[1], v_color[2], v_color[3]));
      if (absgrad) {
        const Pack zero = 0.0f;
        AddTo(geometry + kGeometry, Sum4(absolute[0], absolute[1], zero, zero));
      }
    }
  }

  // Pairs for which memory is asked in advance.
  static constexpr int64_t kAhead = 6;
  // Of each kept Gaussian in GradMemory::traced.
  enum { kRaw = 0, kLight = kPixels, kWeight = 2 * kPixels,
         kTraced = 3 * kPixels };

  const Picture& picture_;
  const CanvasCotangent& canvas_;
  GradMemory& m_;
  float* rows_;  // [Gaussian][row_]
  const int64_t left_, top_, right_, bottom_, channels_, colors_, row_;
  const bool absolute_;
  const int32_t* ranks_;
  int32_t last_[kPixels];
  alignas(64) float behind_[kPixels];
  alignas(64) float v_depth_[kPixels];
};

}  // namespace splat
}  // namespace chibijax
