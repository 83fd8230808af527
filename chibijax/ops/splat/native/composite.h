// Compositing on the CPU: every bin is one task, its blocks one after another.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "binning.h"
#include "blocks.h"

namespace chibijax {
namespace splat {

// One image's results; depth may be null. last[pixel] is the first rank that
// it does not see.
struct Canvas {
  float *image, *transmittance, *depth;
  int32_t* last;
};

// Gaussians gathered at once: what they are composited into stays in cache.
constexpr int64_t kGather = 512;

// State of a block between two gatherings.
struct BlockState {
  alignas(64) float x[kPixels];  // of pixel centres; NaN where finished
  alignas(64) float t[kPixels];
  alignas(64) float depth[kPixels];
  int32_t last[kPixels];
  int live;
};

struct BinMemory {
  Gathered gathered;
  Strip strip;
  Kept kept;
  Buffer<int32_t> list, quad;
  Buffer<BlockState> states;
  Buffer<float> sums, weights;
};

class BinPainter {
 public:
  BinPainter(const Picture& picture, const Bins& bins, int64_t bin,
             const Record* records, BinMemory* memory)
      : picture_(picture),
        m_(*memory),
        records_(records),
        ranks_(bins.Ranks() + bins.Start(bin)),
        count_(bins.Length(bin)),
        left_(bins.Left(bin)),
        top_(bins.Top(bin)),
        across_((std::min(bins.size(), picture.width - left_) + kSide - 1) /
                kSide),
        down_((std::min(bins.size(), picture.height - top_) + kSide - 1) /
              kSide),
        row_(RowFloats(picture.channels)) {}

  void Paint(const Canvas& canvas) {
    Start();
    for (int64_t k = 0; k < count_ && live_ > 0; k += kGather) {
      first_ = k;
      m_.gathered.Fill(picture_, records_, ranks_ + k,
                       std::min(kGather, count_ - k));
      for (int64_t j = 0; j < down_; ++j) {
        bool any = false;
        for (int64_t i = 0; i < across_; ++i)
          any |= m_.states[j * across_ + i].live > 0;
        if (!any) continue;
        m_.strip.Fill(m_.gathered, top_ + j * kSide);
        for (int64_t i = 0; i < across_; ++i) {
          const int64_t block = j * across_ + i;
          if (m_.states[block].live == 0) continue;
          m_.list.Reserve(m_.strip.Room());
          const int64_t n =
              m_.strip.Block(left_ + i * kSide, m_.list.data());
          if (n == 0) continue;
          if (picture_.with_depth) {
            Trace<true>(i, j, n);
          } else {
            Trace<false>(i, j, n);
          }
          Accumulate(block);
        }
      }
    }
    Finish(canvas);
  }

 private:
  void Start() {
    const int64_t blocks = across_ * down_;
    m_.states.Reserve(blocks);
    std::fill_n(m_.sums.Reserve(blocks * kPixels * row_),
                blocks * kPixels * row_, 0.0f);
    m_.weights.Reserve((kGather + 1) * kPixels);
    m_.kept.Reserve(kGather + 1);
    m_.quad.Reserve(kGather + kLanes);
    live_ = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      BlockState& s = m_.states[b];
      s.live = 0;
      for (int l = 0; l < kPixels; ++l) {
        s.x[l] = std::numeric_limits<float>::quiet_NaN();
        s.t[l] = 1;
        s.depth[l] = 0;
        s.last[l] = std::numeric_limits<int32_t>::max();
      }
      const int64_t left = Left(b), top = Top(b);
      ForPixels(left, top, picture_.width, picture_.height,
                [&](int l, int64_t) {
                  s.x[l] = static_cast<float>(left + LaneX(l)) + 0.5f;
                  ++s.live;
                });
      live_ += s.live;
    }
  }

  int64_t Left(int64_t block) const { return left_ + block % across_ * kSide; }
  int64_t Top(int64_t block) const { return top_ + block / across_ * kSide; }

  // Follows the light of one block through n listed Gaussians: writes the
  // weights of those that are seen.
  template <bool kDepth>
  void Trace(int64_t i, int64_t j, int64_t n) {
    BlockState& s = m_.states[j * across_ + i];
    Lanes lanes(left_ + i * kSide, top_ + j * kSide);
    Pack t[kPacks], depth[kPacks];
    SPLAT_UNROLL
    for (int p = 0; p < kPacks; ++p) {
      lanes.x[p] = Load(s.x + p * kLanes);
      t[p] = Load(s.t + p * kLanes);
      depth[p] = Load(s.depth + p * kLanes);
    }
    const Pack most = picture_.max_alpha;
    const Record* records = m_.gathered.records;
    const int32_t* list = m_.list.data();
    int32_t *index = m_.kept.index.data(), *seen_bits = m_.kept.bits.data();
    float* weights = m_.weights.data();
    const float* colors = m_.gathered.colors;
    const int64_t row = row_;
    int64_t kept = 0;
    for (int64_t at = 0; at < n; ++at) {
      const int32_t k = list[at];
      const Record& g = records[k];
      // The colours are wanted next, in the nearest cache.
      __builtin_prefetch(colors + k * row);
      __builtin_prefetch(colors + k * row + 16);
      const Pack gx = g.x, gy = g.y;
      Pack w[kPacks], next[kPacks], least = 1.0f;
      unsigned bits = 0;
      SPLAT_UNROLL
      for (int p = 0; p < kPacks; ++p) {
        const Pack raw = RawAlpha(g, gx - lanes.x[p], gy - lanes.y[p]);
        Pack alpha = Min(most, raw);
        const Mask seen = alpha >= Pack(kMinAlpha);
        alpha = Where(seen, alpha);
        next[p] = t[p] * (Pack(1) - alpha);
        w[p] = t[p] * alpha;
        least = Min(least, next[p]);
        bits |= Bits(seen) << (p * kLanes);
      }
      if (__builtin_expect(Bits(least <= Pack(kMinTransmittance)) != 0, 0)) {
        bits &= ~End(&s, ranks_[first_ + k], &lanes, t, next, w);
        if (s.live == 0) n = at + 1;
      }
      SPLAT_UNROLL
      for (int p = 0; p < kPacks; ++p) {
        t[p] = next[p];
        Store(weights + kept * kPixels + p * kLanes, w[p]);
        if (kDepth) depth[p] = depth[p] + w[p] * Pack(g.depth);
      }
      index[kept] = k;
      seen_bits[kept] = static_cast<int32_t>(bits);
      kept += bits != 0;
    }
    m_.kept.count = kept;
    SPLAT_UNROLL
    for (int p = 0; p < kPacks; ++p) {
      Store(s.x + p * kLanes, lanes.x[p]);
      Store(s.t + p * kLanes, t[p]);
      if (kDepth) Store(s.depth + p * kLanes, depth[p]);
    }
  }

  // Pixels that would end at this Gaussian do so before it; it is rare, but
  // inline, or else `next` and others could not stay in registers. Returns
  // their bits.
  __attribute__((always_inline)) unsigned End(BlockState* s, int32_t rank,
                                              Lanes* lanes, const Pack* t,
                                              Pack* next, Pack* w) {
    const Pack nan = std::numeric_limits<float>::quiet_NaN();
    unsigned all = 0;
    SPLAT_UNROLL
    for (int p = 0; p < kPacks; ++p) {
      const Mask ends = next[p] <= Pack(kMinTransmittance);
      next[p] = Select(ends, t[p], next[p]);
      w[p] = Select(ends, Pack(0.0f), w[p]);
      lanes->x[p] = Select(ends, nan, lanes->x[p]);
      all |= Bits(ends) << (p * kLanes);
    }
    for (unsigned left = all; left; left &= left - 1) {
      s->last[__builtin_ctz(left)] = rank;
      --s->live, --live_;
    }
    return all;
  }

  void Accumulate(int64_t block) {
    float* sums = m_.sums.data() + block * kPixels * row_;
    switch (picture_.channels) {
      case 0: return;
      case 1: return AccumulatePlanes<1>(sums);
      case 2: return AccumulatePlanes<2>(sums);
      case 3: return AccumulatePlanes<3>(sums);
      case 4: return AccumulatePlanes<4>(sums);
    }
    for (int quad = 0; quad < kQuads; ++quad) {
      const int64_t n = m_.kept.Quad(quad, m_.quad.data());
      float* to = sums + 4 * quad * row_;
      int64_t c = 0;
      for (; c + 2 * kLanes <= row_; c += 2 * kLanes)
        AccumulateQuad<2>(quad, n, c, to);
      if (c < row_) AccumulateQuad<1>(quad, n, c, to);
    }
  }

  // sums: [channel][pixel].
  template <int kChannels>
  void AccumulatePlanes(float* sums) {
    Pack sum[kChannels][kPacks];
    SPLAT_UNROLL
    for (int c = 0; c < kChannels; ++c)
      SPLAT_UNROLL
      for (int p = 0; p < kPacks; ++p)
        sum[c][p] = Load(sums + c * kPixels + p * kLanes);
    const Kept& kept = m_.kept;
    for (int64_t n = 0; n < kept.count; ++n) {
      const float* color = m_.gathered.colors + kept.index[n] * kFewChannels;
      const float* weights = m_.weights.data() + n * kPixels;
      SPLAT_UNROLL
      for (int p = 0; p < kPacks; ++p) {
        const Pack w = Load(weights + p * kLanes);
        SPLAT_UNROLL
        for (int c = 0; c < kChannels; ++c)
          sum[c][p] = sum[c][p] + w * Pack(color[c]);
      }
    }
    SPLAT_UNROLL
    for (int c = 0; c < kChannels; ++c)
      SPLAT_UNROLL
      for (int p = 0; p < kPacks; ++p)
        Store(sums + c * kPixels + p * kLanes, sum[c][p]);
  }

  // sums: [pixel][row_]; for channels from c on.
  template <int kWide>
  void AccumulateQuad(int quad, int64_t n, int64_t c, float* sums) {
    Pack sum[4][kWide];
    SPLAT_UNROLL
    for (int j = 0; j < 4; ++j)
      SPLAT_UNROLL
      for (int v = 0; v < kWide; ++v)
        sum[j][v] = Load(sums + j * row_ + c + v * kLanes);
    const int32_t *list = m_.quad.data(), *index = m_.kept.index.data();
    const float* weights = m_.weights.data() + 4 * quad;
    const float* colors = m_.gathered.colors + c;
    const int64_t row = row_;
    for (int64_t i = 0; i < n; ++i) {
      const float* w = weights + list[i] * int64_t{kPixels};
      const float* color = colors + index[list[i]] * row;
      Pack wide[kWide];
      SPLAT_UNROLL
      for (int v = 0; v < kWide; ++v) wide[v] = Load(color + v * kLanes);
      SPLAT_UNROLL
      for (int j = 0; j < 4; ++j)
        SPLAT_UNROLL
        for (int v = 0; v < kWide; ++v)
          sum[j][v] = sum[j][v] + Pack(w[j]) * wide[v];
    }
    SPLAT_UNROLL
    for (int j = 0; j < 4; ++j)
      SPLAT_UNROLL
      for (int v = 0; v < kWide; ++v)
        Store(sums + j * row_ + c + v * kLanes, sum[j][v]);
  }

  void Finish(const Canvas& canvas) {
    const int64_t d = picture_.channels;
    const float* background = picture_.background;
    for (int64_t b = 0; b < across_ * down_; ++b) {
      const BlockState& s = m_.states[b];
      const float* sums = m_.sums.data() + b * kPixels * row_;
      ForPixels(Left(b), Top(b), picture_.width, picture_.height,
                [&](int l, int64_t pixel) {
                  const float t = s.t[l];
                  canvas.transmittance[pixel] = t;
                  canvas.last[pixel] = s.last[l];
                  if (canvas.depth) canvas.depth[pixel] = s.depth[l];
                  float* to = canvas.image + pixel * d;
                  if (d <= kFewChannels) {
                    for (int64_t c = 0; c < d; ++c)
                      to[c] = sums[c * kPixels + l] + t * background[c];
                    return;
                  }
                  const float* from = sums + l * row_;
                  for (int64_t c = 0; c < d; ++c)
                    to[c] = from[c] + t * background[c];
                });
    }
  }

  const Picture& picture_;
  BinMemory& m_;
  const Record* records_;
  const int32_t* ranks_;
  const int64_t count_, left_, top_, across_, down_, row_;
  int64_t first_ = 0, live_ = 0;
};

// Paints one image and fills order[n] (see SortByDepth).
inline void Composite(Workers& workers, const Picture& picture,
                      int64_t tile_size, const Canvas& canvas,
                      int32_t* order) {
  const int64_t count = SortByDepth(workers, picture, order);
  Buffer<Record> records(count);
  MakeRecords(workers, picture, order, count, records.data());
  Bins bins(picture.width, picture.height,
            BinSize(tile_size, picture.channels));
  bins.Fill(workers, records.data(), count);
  const std::vector<int32_t> tasks = bins.Longest(0, bins.count());
  Shelf<BinMemory> shelf;
  workers.For(bins.count(), [&](int64_t task) {
    auto memory = shelf.Borrow();
    BinPainter(picture, bins, tasks[task], records.data(), &*memory)
        .Paint(canvas);
  });
}

}  // namespace splat
}  // namespace chibijax
