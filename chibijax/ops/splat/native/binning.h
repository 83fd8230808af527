// Lists of the Gaussians that may be seen in each square bin of an image.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "sorting.h"
#include "splat_math.h"
#include "workers.h"

namespace chibijax {
namespace splat {

// Entries of the lists are counted in 32 bits on every platform.
constexpr int64_t kMaxEntries = std::numeric_limits<int32_t>::max();

// The side of the bins that serve a tile size best: a core has more memory at
// hand than a GPU's block of threads.
inline int64_t BinSize(int64_t tile_size, int64_t channels) {
  return channels > 64 ? tile_size : 2 * tile_size;
}

class Bins {
 public:
  Bins(int64_t width, int64_t height, int64_t size)
      : size_(size),
        across_((width + size - 1) / size),
        down_((height + size - 1) / size) {}

  int64_t count() const { return across_ * down_; }
  int64_t size() const { return size_; }
  int64_t Left(int64_t bin) const { return bin % across_ * size_; }
  int64_t Top(int64_t bin) const { return bin / across_ * size_; }
  int64_t Length(int64_t bin) const { return start_[bin + 1] - start_[bin]; }
  int64_t entries() const { return start_.back(); }
  // Ranks (positions in the order by depth) of bin b's Gaussians, ascending,
  // begin at Ranks() + Start(b).
  int64_t Start(int64_t bin) const { return start_[bin]; }
  const int32_t* Ranks() const { return ranks_.data(); }

  // Each chunk of ranks is listed by one task, and its part of each bin's list
  // has its own place: the lists are in order without any sorting.
  void Fill(Workers& workers, const Record* records, int64_t n) {
    grain_ = std::max<int64_t>(2048, (n + 63) / 64);
    const int64_t chunks = (n + grain_ - 1) / grain_;
    chunks_.assign(chunks, {});
    places_.assign(chunks * count(), 0);
    spans_.Reserve(n + 1);
    std::atomic<int64_t> total{0};
    workers.ForRanges(n, grain_, [&](int64_t begin, int64_t end) {
      const int64_t c = begin / grain_;
      int64_t uncounted = 0;
      for (int64_t r = begin; r < end; ++r) {
        const size_t before = chunks_[c].size();
        List(records[r], &chunks_[c]);
        spans_[r] = static_cast<int32_t>(chunks_[c].size() - before);
        uncounted += spans_[r];
        if (uncounted < 4096 && r + 1 < end) continue;
        if (total.fetch_add(uncounted) + uncounted > kMaxEntries)
          throw std::overflow_error("more than 2^31 - 1 pairs of a Gaussian"
                                    " and a tile in one image");
        uncounted = 0;
      }
      for (uint32_t bin : chunks_[c]) ++places_[c * count() + bin];
    });
    start_.assign(count() + 1, 0);
    for (int64_t c = 0; c < chunks; ++c)
      for (int64_t b = 0; b < count(); ++b)
        start_[b + 1] += places_[c * count() + b];
    for (int64_t b = 0; b < count(); ++b) start_[b + 1] += start_[b];
    std::vector<int64_t> next(start_.begin(), start_.end() - 1);
    for (int64_t c = 0; c < chunks; ++c)
      for (int64_t b = 0; b < count(); ++b) {
        const int64_t mine = places_[c * count() + b];
        places_[c * count() + b] = static_cast<int32_t>(next[b]);
        next[b] += mine;
      }
    ranks_.Reserve(entries());
    workers.ForRanges(n, grain_, [&](int64_t begin, int64_t end) {
      ForEntries(begin, end, [&](int64_t rank, int64_t, int64_t place) {
        ranks_[place] = static_cast<int32_t>(rank);
      });
    });
  }

  // Bins in the order in which they should be started: long lists first.
  std::vector<int32_t> Longest(int64_t begin, int64_t end) const {
    std::vector<int32_t> bins(end - begin);
    for (int64_t i = begin; i < end; ++i)
      bins[i - begin] = static_cast<int32_t>(i);
    std::stable_sort(bins.begin(), bins.end(), [&](int32_t a, int32_t b) {
      return Length(a) > Length(b);
    });
    return bins;
  }

  // Lists the entries by rank, then by bin: those of rank r are first[r] ...
  // first[r + 1] - 1. For each, keep(bin, place in the bins' lists) is kept.
  template <class Keep>
  void ByRank(Workers& workers, int64_t n, int32_t* first, int32_t* places,
              const Keep& keep) const {
    std::vector<int64_t> sums(1, 0);
    for (const std::vector<uint32_t>& chunk : chunks_)
      sums.push_back(sums.back() + chunk.size());
    workers.ForRanges(n, grain_, [&](int64_t begin, int64_t end) {
      int64_t at = sums[begin / grain_];
      for (int64_t r = begin, next = at; r < end; next += spans_[r++])
        first[r] = static_cast<int32_t>(next);
      ForEntries(begin, end, [&](int64_t, int64_t bin, int64_t place) {
        places[at++] = keep(bin, place);
      });
    });
    first[n] = static_cast<int32_t>(sums.back());
  }

 private:
  // Appends the bins that the ellipse meets, row by row.
  void List(const Record& r, std::vector<uint32_t>* bins) const {
    const Ellipse<float>& e = r.ellipse;
    const int size = static_cast<int>(size_);
    const TileRange rows =
        TilesWithin(r.y, e.ymax, size, static_cast<int>(down_));
    TileRange columns =
        TilesWithin(r.x, e.xmax, size, static_cast<int>(across_));
    // A box of one row or column has no corner to leave out.
    const bool corners =
        rows.end - rows.begin > 1 && columns.end - columns.begin > 1;
    const TileRange box = columns;
    for (int row = rows.begin; row < rows.end; ++row) {
      if (corners) {
        const float y0 = row * size + 0.5f - r.y, y1 = y0 + (size - 1);
        float x0, x1;
        const float reach = 0.01f + 8e-6f * e.ymax;
        if (!EllipseStrip(e, y0 - reach, y1 + reach, &x0, &x1)) continue;
        const float half = 0.5f * (x1 - x0), middle = 0.5f * (x1 + x0);
        columns = TilesWithin(r.x + middle, half + 8e-6f * e.xmax, size,
                              static_cast<int>(across_));
        columns.begin = std::max(columns.begin, box.begin);
        columns.end = std::min(columns.end, box.end);
      }
      for (int column = columns.begin; column < columns.end; ++column)
        bins->push_back(static_cast<uint32_t>(row * across_ + column));
    }
  }

  // visit(rank, bin, place) for all entries of ranks [begin, end), one chunk.
  template <class Visit>
  void ForEntries(int64_t begin, int64_t end, const Visit& visit) const {
    const int64_t c = begin / grain_;
    std::vector<int32_t> next(places_.begin() + c * count(),
                              places_.begin() + (c + 1) * count());
    const uint32_t* bin = chunks_[c].data();
    for (int64_t r = begin; r < end; ++r)
      for (int32_t i = 0; i < spans_[r]; ++i, ++bin)
        visit(r, *bin, next[*bin]++);
  }

  int64_t size_, across_, down_, grain_ = 1;
  std::vector<std::vector<uint32_t>> chunks_;  // bins of each chunk's entries
  std::vector<int32_t> places_;                // [chunk][bin]
  Buffer<int32_t> spans_;                      // entries of each rank
  std::vector<int64_t> start_;
  Buffer<int32_t> ranks_;
};

}  // namespace splat
}  // namespace chibijax
