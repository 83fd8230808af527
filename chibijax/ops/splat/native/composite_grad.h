// The gradient of compositing on the CPU.
//
// Every bin has rows of its own (bin_gradient.h), one per Gaussian, which are
// summed for each Gaussian in a fixed order: the result is the same bit for
// bit with any number of threads. Bins are done in groups, so that the rows
// need a bounded amount of memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "bin_gradient.h"

namespace chibijax {
namespace splat {

// One image's gradients; v_abs may be null.
struct PictureCotangent {
  float *v_means2d, *v_conics, *v_opacities, *v_colors, *v_depths, *v_abs;
  bool add_colors;  // v_colors already holds those of another camera
};

// Bytes of rows that are kept at once.
constexpr int64_t kRowMemory = int64_t{64} << 20;

// Writes the gradients of Gaussian i from its row, or adds them to those of
// other groups of bins.
inline void WriteRow(const Picture& picture, const PictureCotangent& out,
                     int64_t i, const float* row, bool add) {
  const int64_t d = picture.channels;
  const float* g = row + RowFloats(d);
  const Moments<float> m{g[kOne], g[kMomentX], g[kMomentY],
                         g[kXX],  g[kXY],      g[kYY]};
  float mean[2], conic[3], opacity;
  const float* q = picture.conics + 3 * i;
  MomentsVjp(m, q[0], q[1], q[2], picture.opacities[i], mean, conic, &opacity);
  const auto put = [add](float* to, float x) { *to = add ? *to + x : x; };
  for (int j = 0; j < 2; ++j) put(out.v_means2d + 2 * i + j, mean[j]);
  for (int j = 0; j < 3; ++j) put(out.v_conics + 3 * i + j, conic[j]);
  put(out.v_opacities + i, opacity);
  put(out.v_depths + i, g[kDepthSum]);
  if (out.v_abs)
    for (int j = 0; j < 2; ++j)
      put(out.v_abs + 2 * i + j, g[kGeometry + j]);
  float* v_color = out.v_colors + i * d;
  if (add || out.add_colors) {
    for (int64_t c = 0; c < d; ++c) v_color[c] += row[c];
  } else {
    for (int64_t c = 0; c < d; ++c) v_color[c] = row[c];
  }
}

inline void WriteZeros(const Picture& picture, const PictureCotangent& out,
                       int64_t i) {
  const int64_t d = picture.channels;
  std::fill_n(out.v_means2d + 2 * i, 2, 0.0f);
  std::fill_n(out.v_conics + 3 * i, 3, 0.0f);
  out.v_opacities[i] = out.v_depths[i] = 0;
  if (out.v_abs) std::fill_n(out.v_abs + 2 * i, 2, 0.0f);
  if (!out.add_colors) std::fill_n(out.v_colors + i * d, d, 0.0f);
}

// Where each Gaussian's rows are: those of rank r are places[first[r]] ...
// places[first[r + 1] - 1], or nowhere (-1); ranks[i] is -1 if i is not seen.
struct RowIndex {
  Buffer<int32_t> ranks, first, places;
};

// Sums the rows of Gaussians [begin, end) and writes their gradients, or adds
// them to what other groups of bins gave. In the order of the outputs: only
// rows are read at random, and asked for in advance.
inline void SumRows(const Picture& picture, const PictureCotangent& out,
                    const RowIndex& index, const float* rows, int64_t row,
                    bool add, int64_t begin, int64_t end) {
  constexpr int64_t kAhead = 8;
  // Short loops for what is scattered: many requests are under way at once.
  std::vector<const float*> from;
  std::vector<int32_t> counts(end - begin, 0);
  from.reserve(3 * (end - begin));
  for (int64_t i = begin; i < end; ++i) {
    const int64_t rank = index.ranks[i];
    if (rank < 0) continue;
    for (int64_t e = index.first[rank]; e < index.first[rank + 1]; ++e) {
      if (index.places[e] < 0) continue;
      from.push_back(rows + index.places[e] * row);
      ++counts[i - begin];
    }
  }
  Buffer<float> sum(row);
  float* to = sum.data();
  size_t at = 0;
  for (int64_t i = begin; i < end; ++i) {
    const int32_t count = counts[i - begin];
    for (int32_t j = 0; j < count; ++j, ++at) {
      if (at + kAhead < from.size()) {
        const float* later = from[at + kAhead];
        for (int64_t c = 0; c < row; c += 16) __builtin_prefetch(later + c);
        __builtin_prefetch(later + row - 1);
      }
      if (j == 0) {
        std::copy_n(from[at], row, to);
      } else {
        for (int64_t c = 0; c < row; ++c) to[c] += from[at][c];
      }
    }
    if (count > 0) {
      WriteRow(picture, out, i, to, add);
    } else if (!add) {
      WriteZeros(picture, out, i);
    }
  }
}

// Gradients of one image; order[n] is the forward pass's.
inline void CompositeGrad(Workers& workers, const Picture& picture,
                          int64_t tile_size, const int32_t* order,
                          const CanvasCotangent& canvas,
                          const PictureCotangent& out) {
  const int64_t n = picture.n;
  int64_t count = 0;
  while (count < n && order[count] >= 0) ++count;
  Buffer<Record> records(count);
  MakeRecords(workers, picture, order, count, records.data());
  Bins bins(picture.width, picture.height,
            BinSize(tile_size, picture.channels));
  bins.Fill(workers, records.data(), count);
  const bool absolute = out.v_abs != nullptr;
  const int64_t row = GradientRow(picture.channels, absolute);
  const int64_t most = kRowMemory / (row * sizeof(float));
  RowIndex index;
  index.ranks.Reserve(n), index.first.Reserve(count + 1);
  index.places.Reserve(bins.entries());
  std::fill_n(index.ranks.data(), n, -1);
  workers.ForRanges(count, 16384, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      index.ranks[order[r]] = static_cast<int32_t>(r);
  });
  Buffer<float> rows;
  Shelf<GradMemory> shelf;
  std::vector<int64_t> written(bins.count());
  int64_t begin = 0, end = 0;
  do {
    int64_t entries = 0;
    for (; end < bins.count(); ++end) {
      if (end > begin && entries + bins.Length(end) > most) break;
      entries += bins.Length(end);
    }
    rows.Reserve(entries * row);
    const std::vector<int32_t> tasks = bins.Longest(begin, end);
    workers.For(end - begin, [&](int64_t task) {
      auto memory = shelf.Borrow();
      const int64_t bin = tasks[task];
      BinGradient gradient(
          picture, bins, bin, records.data(), canvas, absolute,
          rows.data() + (bins.Start(bin) - bins.Start(begin)) * row, &*memory);
      gradient.Run();
      written[bin] = gradient.count();
    });
    bins.ByRank(workers, count, index.first.data(), index.places.data(),
                [&](int64_t bin, int64_t place) {
                  const bool inside = bin >= begin && bin < end &&
                                      place < bins.Start(bin) + written[bin];
                  return static_cast<int32_t>(
                      inside ? place - bins.Start(begin) : -1);
                });
    workers.ForRanges(n, 1024, [&](int64_t i0, int64_t i1) {
      SumRows(picture, out, index, rows.data(), row, begin > 0, i0, i1);
    });
    begin = end;
  } while (begin < bins.count());
}

}  // namespace splat
}  // namespace chibijax
