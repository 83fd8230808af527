// Pixels in blocks of 4 x 4, and which of a bin's Gaussians each block meets.
//
// A block's 16 pixels are lanes of one or more packs, in four quads of 2 x 2:
// lane = 4 quad + pixel within it. What a block computes does not depend on the
// bin around it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "sorting.h"

namespace chibijax {
namespace splat {

constexpr int kSide = 4, kPixels = kSide * kSide, kQuads = 4;
constexpr int kPacks = kPixels / kLanes;
// Up to this many channels are kept in planes of pixels, more in rows.
constexpr int kFewChannels = 4;

// Offset of a lane's pixel in its block.
constexpr int LaneX(int lane) { return (lane >> 2 & 1) * 2 + (lane & 1); }
constexpr int LaneY(int lane) { return (lane >> 3) * 2 + (lane >> 1 & 1); }

// Floats of a row of colours: whole packs, or a quad's worth of few channels.
inline int64_t RowFloats(int64_t channels) {
  if (channels <= kFewChannels) return kFewChannels;
  return (channels + kLanes - 1) / kLanes * kLanes;
}

struct Lanes {
  Pack x[kPacks], y[kPacks];

  // Pixel centres of the block whose first pixel is (left, top).
  Lanes(int64_t left, int64_t top) {
    alignas(64) float cx[kPixels], cy[kPixels];
    for (int l = 0; l < kPixels; ++l) {
      cx[l] = static_cast<float>(left + LaneX(l)) + 0.5f;
      cy[l] = static_cast<float>(top + LaneY(l)) + 0.5f;
    }
    SPLAT_UNROLL
    for (int p = 0; p < kPacks; ++p) {
      x[p] = Load(cx + p * kLanes);
      y[p] = Load(cy + p * kLanes);
    }
  }
};

// Calls visit(lane, pixel) for the pixels of a block inside the image.
template <class Visit>
inline void ForPixels(int64_t left, int64_t top, int64_t width, int64_t height,
                      const Visit& visit) {
  for (int l = 0; l < kPixels; ++l) {
    const int64_t x = left + LaneX(l), y = top + LaneY(l);
    if (x < width && y < height) visit(l, y * width + x);
  }
}

// Some of a bin's Gaussians, in order: records, and the same by columns for
// tests of many at once; colours in rows of RowFloats.
class Gathered {
 public:
  Record* records = nullptr;
  float* colors = nullptr;
  int64_t count = 0;

  void Fill(const Picture& picture, const Record* all, const int32_t* ranks,
            int64_t n) {
    count = n;
    records = records_.Reserve(n);
    padded_ = (n + kLanes - 1) / kLanes * kLanes;
    // An odd number of cache lines: columns do not compete for the same place.
    stride_ = (padded_ + 15) / 32 * 32 + 48;
    columns_.Reserve(kColumns * stride_);
    const int64_t d = picture.channels, row = RowFloats(d);
    colors = colors_.Reserve(n * row);
    // Records come first, then colours, each asked for in advance: one at a
    // time, because bursts of requests are slower.
    constexpr int64_t kAhead = 16;
    for (int64_t k = -2 * kAhead; k < n; ++k) {
      if (k + 2 * kAhead < n) __builtin_prefetch(all + ranks[k + 2 * kAhead]);
      const int64_t next = k + kAhead;
      if (next >= 0 && next < n) {
        CopyRecord(next, all[ranks[next]]);
        const float* from = picture.colors + records[next].index * d;
        for (int64_t c = 0; c < d; c += 16) __builtin_prefetch(from + c);
        if (d % 16 > 0) __builtin_prefetch(from + d - 1);
      }
      if (k >= 0) CopyColor(picture.colors + records[k].index * d, d,
                            colors + k * row, row);
    }
    for (int64_t k = n; k < padded_; ++k) {
      for (int j = 0; j < kColumns; ++j) columns_[j * stride_ + k] = 0;
      columns_[kYmax * stride_ + k] = -std::numeric_limits<float>::infinity();
    }
  }

  Pack Column(int j, int64_t k) const {
    return Load(columns_.data() + j * stride_ + k);
  }

  enum { kX, kY, kB, kInvA, kAl2, kDet, kYmax, kTilt, kSlack, kColumns };

 private:
  void CopyRecord(int64_t k, const Record& r) {
    records[k] = r;
    const Ellipse<float>& e = r.ellipse;
    const float columns[kColumns] = {r.x,   r.y,    e.b,    e.inv_a, e.al2,
                                     e.det, e.ymax, e.tilt, r.slack};
    for (int j = 0; j < kColumns; ++j) columns_[j * stride_ + k] = columns[j];
  }
  static void CopyColor(const float* from, int64_t d, float* to, int64_t row) {
    int64_t c = 0;
    for (; c + kLanes <= d; c += kLanes) Store(to + c, Load(from + c));
    for (; c < d; ++c) to[c] = from[c];
    for (; c < row; ++c) to[c] = 0;
  }

  int64_t padded_ = 0, stride_ = 0;
  Buffer<Record> records_;
  Buffer<float> columns_, colors_;
};

// The integers k, k + 1 ... in lanes of another type.
inline Pack Numbers(int64_t k) {
  IntVector v;
  for (int l = 0; l < kLanes; ++l) v[l] = l;
  return (FloatVector)(v + static_cast<int32_t>(k));
}

// Of the gathered Gaussians, those that meet a row of blocks, and their x range
// there; then those that meet one block of it.
class Strip {
 public:
  // The row's first pixel row is `top`.
  void Fill(const Gathered& g, int64_t top) {
    const int64_t room = g.count + 2 * kLanes;
    for (Buffer<float>* b : {&index_, &x_, &low_, &high_}) b->Reserve(room);
    index_.Reserve(room);
    count_ = 0;
    const Pack first = static_cast<float>(top) + 0.5f;
    for (int64_t k = 0; k < g.count; k += kLanes) {
      Ellipse<Pack> e;
      e.b = g.Column(Gathered::kB, k);
      e.inv_a = g.Column(Gathered::kInvA, k);
      e.al2 = g.Column(Gathered::kAl2, k);
      e.det = g.Column(Gathered::kDet, k);
      e.ymax = g.Column(Gathered::kYmax, k);
      e.tilt = g.Column(Gathered::kTilt, k);
      const Pack y0 = first - g.Column(Gathered::kY, k);
      const Pack y1 = (first + Pack(kSide - 1)) - g.Column(Gathered::kY, k);
      Pack low, high;
      const unsigned hit = Bits(EllipseStrip(e, y0, y1, &low, &high));
      if (!hit) continue;
      const Pack slack = g.Column(Gathered::kSlack, k);
      Compress(index_.data() + count_, Numbers(k), hit);
      Compress(x_.data() + count_, g.Column(Gathered::kX, k), hit);
      Compress(low_.data() + count_, low - slack, hit);
      Compress(high_.data() + count_, high + slack, hit);
      count_ += __builtin_popcount(hit);
    }
    // No block meets the lanes after the last.
    Store(low_.data() + count_, Pack(std::numeric_limits<float>::infinity()));
    Store(x_.data() + count_, Pack(0));
    Store(high_.data() + count_, Pack(0));
  }

  // Writes the gathered numbers of those that meet the block from `left` on;
  // `list` needs room for Room() numbers.
  int64_t Block(int64_t left, int32_t* list) const {
    const Pack first = static_cast<float>(left) + 0.5f;
    const Pack last = first + Pack(kSide - 1);
    int64_t n = 0;
    for (int64_t i = 0; i < count_; i += kLanes) {
      const Pack x = Load(x_.data() + i);
      const unsigned hit = Bits((Load(low_.data() + i) <= last - x) &
                                (first - x <= Load(high_.data() + i)));
      Compress(reinterpret_cast<float*>(list + n), Load(index_.data() + i),
               hit);
      n += __builtin_popcount(hit);
    }
    return n;
  }
  int64_t Room() const { return count_ + kLanes; }

 private:
  int64_t count_ = 0;
  Buffer<float> index_, x_, low_, high_;
};

// A Gaussian's raw alpha (before the limit) at one pack of pixels.
inline Pack RawAlpha(const Record& g, Pack dx, Pack dy) {
  const Pack sigma =
      Sigma(Pack(g.half_a), Pack(g.b), Pack(g.half_c), dx, dy);
  return Pack(g.opacity) * Exp2Minus(sigma);
}

// What is kept of one block's Gaussians, those that some pixel sees: their
// numbers among the gathered, and a bit for every pixel.
struct Kept {
  int64_t count = 0;
  Buffer<int32_t> index, bits;

  void Reserve(int64_t room) {
    index.Reserve(room + kLanes);
    bits.Reserve(room + kLanes);
  }

  // Lists the numbers of those that a quad sees; `list` has room for all and
  // kLanes more.
  int64_t Quad(int quad, int32_t* list) const {
    const IntVector quad_bits = (15 << (4 * quad)) - IntVector{};
    int64_t n = 0;
    for (int64_t i = 0; i < count; i += kLanes) {
      IntVector b;
      std::memcpy(&b, bits.data() + i, sizeof b);
      unsigned hit = Bits(Mask{(b & quad_bits) != 0});
      if (count - i < kLanes) hit &= (1u << (count - i)) - 1;
      Compress(reinterpret_cast<float*>(list + n), Numbers(i), hit);
      n += __builtin_popcount(hit);
    }
    return n;
  }
};

}  // namespace splat
}  // namespace chibijax
