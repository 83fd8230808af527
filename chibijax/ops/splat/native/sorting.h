// Which Gaussians of an image are seen, by depth, with what a pixel needs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "simd.h"
#include "splat_math.h"
#include "workers.h"

namespace chibijax {
namespace splat {

// One image's Gaussians.
struct Picture {
  int64_t n, channels, width, height;
  const float *means2d, *conics, *opacities, *colors, *depths, *background;
  const int32_t* radii;
  float max_alpha;
  bool with_depth;
};

constexpr int kDigitBits = 11, kDigits = 1 << kDigitBits;

// Floats in the order of their values, as integers.
inline uint32_t DepthKey(float depth) {
  depth += 0.0f;  // -0 is 0
  uint32_t bits;
  std::memcpy(&bits, &depth, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// One stable pass of a radix sort of 64-bit items by `shift`'s digit; false if
// all digits are the same and nothing was done.
inline bool SortPass(Workers& workers, const uint64_t* from, int64_t count,
                     int shift, uint64_t* to) {
  const int64_t grain = std::max<int64_t>(8192, (count + 31) / 32);
  const int64_t chunks = (count + grain - 1) / grain;
  std::vector<uint32_t> places(chunks * kDigits, 0);
  const auto digit = [&](uint64_t item) {
    return item >> shift & (kDigits - 1);
  };
  workers.ForRanges(count, grain, [&](int64_t begin, int64_t end) {
    uint32_t* mine = places.data() + begin / grain * kDigits;
    for (int64_t i = begin; i < end; ++i) ++mine[digit(from[i])];
  });
  uint32_t sum = 0;
  for (int64_t d = 0; d < kDigits; ++d) {
    const uint32_t before = sum;
    for (int64_t c = 0; c < chunks; ++c) {
      const uint32_t mine = places[c * kDigits + d];
      places[c * kDigits + d] = sum;
      sum += mine;
    }
    if (sum - before == count) return false;
  }
  workers.ForRanges(count, grain, [&](int64_t begin, int64_t end) {
    uint32_t* mine = places.data() + begin / grain * kDigits;
    for (int64_t i = begin; i < end; ++i) to[mine[digit(from[i])]++] = from[i];
  });
  return true;
}

// Fills order[n] with the seen Gaussians' indices, near ones first, equal ones
// by index, then -1; returns how many there are.
inline int64_t SortByDepth(Workers& workers, const Picture& picture,
                           int32_t* order) {
  constexpr int64_t kGrain = 16384, kSmall = 4096;
  const int64_t n = picture.n, chunks = (n + kGrain - 1) / kGrain;
  const auto seen = [&](int64_t i) {
    return picture.radii[2 * i] > 0 && picture.radii[2 * i + 1] > 0;
  };
  std::vector<int64_t> first(chunks + 1, 0);
  workers.ForRanges(n, kGrain, [&](int64_t begin, int64_t end) {
    int64_t count = 0;
    for (int64_t i = begin; i < end; ++i) count += seen(i);
    first[begin / kGrain + 1] = count;
  });
  for (int64_t c = 0; c < chunks; ++c) first[c + 1] += first[c];
  const int64_t count = first[chunks];
  Buffer<uint64_t> items(count), other(count);
  workers.ForRanges(n, kGrain, [&](int64_t begin, int64_t end) {
    int64_t at = first[begin / kGrain];
    for (int64_t i = begin; i < end; ++i)
      if (seen(i))
        items[at++] = uint64_t{DepthKey(picture.depths[i])} << 32 | i;
  });
  uint64_t *from = items.data(), *to = other.data();
  if (count < kSmall) {
    std::sort(from, from + count);
  } else {
    for (int shift = 32; shift < 64; shift += kDigitBits)
      if (SortPass(workers, from, count, shift, to)) std::swap(from, to);
  }
  workers.ForRanges(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      order[i] = i < count ? static_cast<int32_t>(from[i]) : -1;
  });
  return count;
}

// Of one seen Gaussian, what pixels and blocks need: one cache line. The conic
// is scaled so that its sigma is a power of 2, not of e.
struct alignas(64) Record {
  float x, y, half_a, b, half_c, opacity, depth;
  int32_t index;
  Ellipse<float> ellipse;
  float slack;  // pixels by which blocks are tested more widely
};
static_assert(sizeof(Record) == 64, "one cache line");

constexpr float kLog2e = 1.44269504f;

// Records of order[0 .. count), in that order.
inline void MakeRecords(Workers& workers, const Picture& picture,
                        const int32_t* order, int64_t count,
                        Record* records) {
  constexpr int64_t kAhead = 24;
  workers.ForRanges(count, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kLanes) {
      const int64_t lanes = std::min<int64_t>(kLanes, end - first);
      for (int64_t l = first + kAhead; l < first + kAhead + kLanes; ++l) {
        const int64_t i = order[std::min(l, count - 1)];
        __builtin_prefetch(picture.means2d + 2 * i);
        __builtin_prefetch(picture.conics + 3 * i);
        __builtin_prefetch(picture.opacities + i);
        __builtin_prefetch(picture.depths + i);
        __builtin_prefetch(picture.radii + 2 * i);
      }
      Pack conic[3], opacity, radius[2];
      for (int64_t l = 0; l < kLanes; ++l) {
        const int64_t i = order[first + std::min(l, lanes - 1)];
        for (int j = 0; j < 3; ++j)
          conic[j].v[l] = picture.conics[3 * i + j];
        opacity.v[l] = picture.opacities[i];
        for (int j = 0; j < 2; ++j)
          radius[j].v[l] = static_cast<float>(picture.radii[2 * i + j]);
      }
      const Ellipse<Pack> e =
          MakeEllipse(conic[0], conic[1], conic[2], opacity, radius);
      for (int64_t l = 0; l < lanes; ++l) {
        const int64_t i = order[first + l];
        Record& r = records[first + l];
        r.x = picture.means2d[2 * i], r.y = picture.means2d[2 * i + 1];
        r.half_a = 0.5f * kLog2e * conic[0].v[l];
        r.b = kLog2e * conic[1].v[l];
        r.half_c = 0.5f * kLog2e * conic[2].v[l];
        r.opacity = opacity.v[l];
        r.depth = picture.depths[i];
        r.index = static_cast<int32_t>(i);
        r.ellipse = {e.b.v[l],    e.inv_a.v[l], e.al2.v[l], e.det.v[l],
                     e.xmax.v[l], e.ymax.v[l],  e.tilt.v[l]};
        r.slack = 0.002f + 4e-6f * r.ellipse.xmax;
      }
    }
  });
}

}  // namespace splat
}  // namespace chibijax
