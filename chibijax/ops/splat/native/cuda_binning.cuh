// Which Gaussians each tile composites, in which order; no host decides.
//
// 1. Sort all Gaussians by depth (stable, culled ones last), then by image.
// 2. Count the tiles that each one's ellipse meets, and add the counts up.
// 3. Write (tile, Gaussian) pairs in that order into room of a fixed size and
//    sort them by tile alone: a stable sort keeps the depths in order. Slots
//    without a pair belong to a tile after the last one.
// 4. Find where each tile's list starts.
// An image whose pairs do not fit gets no list, only a mark: its tiles then go
// through all Gaussians in order, and find the same ones.
#pragma once

#include "cuda_platform.cuh"

namespace chibijax {
namespace splat {

// The projected Gaussians, [B, C, N, .], as `composite` gets them.
struct Splats {
  const float *means2d, *conics, *opacities, *depths;
  const int* radii;
};

struct Bins {
  int *order, *rows;
};

// Of a Gaussian that is not culled.
__device__ __forceinline__ Ellipse<float> LoadEllipse(const Splats& in,
                                                      int64_t i) {
  const float* conic = in.conics + 3 * i;
  const float radius[2] = {static_cast<float>(in.radii[2 * i]),
                           static_cast<float>(in.radii[2 * i + 1])};
  return MakeEllipse(conic[0], conic[1], conic[2], in.opacities[i], radius);
}

__device__ __forceinline__ bool IsCulled(const Splats& in, int64_t i) {
  return in.radii[2 * i] <= 0 || in.radii[2 * i + 1] <= 0;
}

// Tiles of one row of tiles that the ellipse meets.
__device__ __forceinline__ TileRange TilesOfRow(const Ellipse<float>& e,
                                                float mean_x, float mean_y,
                                                int row, const Sizes& s) {
  const float size = static_cast<float>(s.tile);
  const float top = row * size + 0.5f - mean_y;
  float low, high;
  if (!EllipseStrip(e, top, top + size - 1, &low, &high)) return {0, 0};
  const float slack = 0.002f + 4e-6f * (e.xmax + Abs(mean_x));
  const float limit = static_cast<float>(s.tiles_x), inv = 1 / size;
  // A tile's pixel centres lie .5 inside its edges.
  const float first = ceilf((mean_x + low - slack + 0.5f) * inv) - 1;
  const float last = floorf((mean_x + high + slack - 0.5f) * inv) + 1;
  return {static_cast<int>(Clamp(first, 0.0f, limit)),
          static_cast<int>(Clamp(last, 0.0f, limit))};
}

__global__ void __launch_bounds__(kThreads)
    DepthKeysKernel(int64_t total, Splats in, uint32_t* keys,
                    uint32_t* values) {
  const int64_t i = GlobalThread();
  if (i >= total) return;
  // Adding 0 turns -0 into 0; the rest makes floats sort as integers do.
  const uint32_t bits = __float_as_uint(in.depths[i] + 0.0f);
  const uint32_t key = bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
  keys[i] = IsCulled(in, i) ? 0xffffffffu : key;
  values[i] = static_cast<uint32_t>(i);
}

__global__ void __launch_bounds__(kThreads)
    ImageKeysKernel(Sizes s, const uint32_t* sorted, uint32_t* keys) {
  const int64_t i = GlobalThread();
  if (i < s.total()) keys[i] = sorted[i] / static_cast<uint32_t>(s.gaussians);
}

// Tiles met by the Gaussian at each place in the order.
__global__ void __launch_bounds__(kThreads)
    CountKernel(Sizes s, Splats in, const uint32_t* sorted, int* order,
                uint64_t* counts) {
  const int64_t place = GlobalThread();
  if (place >= s.total()) return;
  const int64_t i = sorted[place];
  order[place] = static_cast<int>(i % s.gaussians);
  if (counts == nullptr) return;
  uint64_t count = 0;
  if (!IsCulled(in, i)) {
    const Ellipse<float> e = LoadEllipse(in, i);
    const float x = in.means2d[2 * i], y = in.means2d[2 * i + 1];
    const TileRange rows = TilesWithin(y, e.ymax, s.tile, s.tiles_y);
    for (int row = rows.begin; row < rows.end; ++row) {
      const TileRange tiles = TilesOfRow(e, x, y, row, s);
      count += max(tiles.end - tiles.begin, 0);
    }
  }
  counts[place] = count;
}

// Pairs of an image; `before` is the number of those of earlier images.
struct PairCount {
  uint64_t before, count;
};
__device__ __forceinline__ PairCount PairsOf(const Sizes& s,
                                             const uint64_t* sums,
                                             int64_t image) {
  const int64_t first = image * s.gaussians;
  const uint64_t before = first > 0 ? sums[first - 1] : 0;
  return {before, sums[first + s.gaussians - 1] - before};
}

// Writes the pairs of one row of tiles from `slot` on; returns how many.
__device__ __forceinline__ int WriteRow(const TileRange& tiles, uint32_t tile0,
                                        uint32_t value, int64_t slot,
                                        uint32_t* keys, uint32_t* values) {
  for (int tile = tiles.begin; tile < tiles.end; ++tile, ++slot) {
    keys[slot] = tile0 + tile;
    values[slot] = value;
  }
  return max(tiles.end - tiles.begin, 0);
}

// Pairs of one Gaussian by the whole warp, a lane for every row of tiles. All
// lanes give the same numbers.
__device__ __forceinline__ void WriteByWarp(const Sizes& s, const Splats& in,
                                            int64_t i, int64_t slot,
                                            uint32_t tile0, uint32_t* keys,
                                            uint32_t* values) {
  const int lane = threadIdx.x % kWarp;
  const Ellipse<float> e = LoadEllipse(in, i);
  const float x = in.means2d[2 * i], y = in.means2d[2 * i + 1];
  const uint32_t value = static_cast<uint32_t>(i % s.gaussians);
  const TileRange rows = TilesWithin(y, e.ymax, s.tile, s.tiles_y);
  for (int first = rows.begin; first < rows.end; first += kWarp) {
    const int row = first + lane;
    TileRange tiles = {0, 0};
    if (row < rows.end) tiles = TilesOfRow(e, x, y, row, s);
    const int width = max(tiles.end - tiles.begin, 0);
    int sum = width;
    for (int step = 1; step < kWarp; step *= 2) {
      const int other = __shfl_up_sync(kAllLanes, sum, step);
      if (lane >= step) sum += other;
    }
    WriteRow(tiles, tile0 + row * s.tiles_x, value, slot + sum - width, keys,
             values);
    slot += __shfl_sync(kAllLanes, sum, kWarp - 1);
  }
}

// As CountKernel, but writes the pairs. `sums` are inclusive sums of `counts`.
__global__ void __launch_bounds__(kThreads)
    PairsKernel(Sizes s, Splats in, const uint32_t* sorted,
                const uint64_t* counts, const uint64_t* sums, uint32_t* keys,
                uint32_t* values) {
  constexpr int kMany = 64;  // pairs: more are written by the whole warp
  const int64_t place = GlobalThread();
  int count = 0;
  int64_t i = 0, slot = 0;
  uint32_t tile0 = 0;
  if (place < s.total()) {
    const int64_t image = place / s.gaussians;
    const PairCount pairs = PairsOf(s, sums, image);
    // What fits is counted in far less than 32 bits.
    if (pairs.count <= static_cast<uint64_t>(s.room))
      count = static_cast<int>(counts[place]);
    i = sorted[place];
    slot = image * s.room +
           static_cast<int64_t>(sums[place] - counts[place] - pairs.before);
    tile0 = static_cast<uint32_t>(image * (s.tiles() + 1));
  }
  if (count > 0 && count <= kMany) {
    const Ellipse<float> e = LoadEllipse(in, i);
    const float x = in.means2d[2 * i], y = in.means2d[2 * i + 1];
    const uint32_t value = static_cast<uint32_t>(i % s.gaussians);
    const TileRange rows = TilesWithin(y, e.ymax, s.tile, s.tiles_y);
    int64_t next = slot;
    for (int row = rows.begin; row < rows.end; ++row) {
      next += WriteRow(TilesOfRow(e, x, y, row, s), tile0 + row * s.tiles_x,
                       value, next, keys, values);
    }
  }
  unsigned many = __ballot_sync(kAllLanes, count > kMany);
  for (; many; many &= many - 1) {
    const int lane = __ffs(many) - 1;
    WriteByWarp(s, in, __shfl_sync(kAllLanes, i, lane),
                __shfl_sync(kAllLanes, slot, lane),
                __shfl_sync(kAllLanes, tile0, lane), keys, values);
  }
}

// Gives the slots without a pair to a tile after the image's last one.
__global__ void __launch_bounds__(kThreads)
    UnusedKernel(Sizes s, const uint64_t* sums, uint32_t* keys,
                 uint32_t* values) {
  const int64_t slot = GlobalThread();
  if (slot >= s.images() * s.room) return;
  const int64_t image = slot / s.room;
  const uint64_t local = slot % s.room, count = PairsOf(s, sums, image).count;
  if (local < count && count <= static_cast<uint64_t>(s.room)) return;
  keys[slot] = static_cast<uint32_t>(image * (s.tiles() + 1) + s.tiles());
  values[slot] = 0;
}

// Fills the rows of `bins` from the sorted pairs.
__global__ void __launch_bounds__(kThreads)
    RowsKernel(Sizes s, const uint64_t* sums, const uint32_t* keys,
               const uint32_t* values, int* rows) {
  const int64_t slot = GlobalThread();
  if (slot >= s.images() * s.room) return;
  const int64_t image = slot / s.room, local = slot % s.room;
  int* row = rows + image * s.row;
  if (PairsOf(s, sums, image).count > static_cast<uint64_t>(s.room)) {
    if (local == 0) row[0] = kOverflow;
    return;
  }
  const int64_t tile0 = image * (s.tiles() + 1);
  const int tile = static_cast<int>(keys[slot] - tile0);
  const int before =
      local > 0 ? static_cast<int>(keys[slot - 1] - tile0) : -1;
  for (int t = before + 1; t <= tile; ++t) row[t] = static_cast<int>(local);
  if (local == s.room - 1) {
    for (int t = tile + 1; t <= s.tiles(); ++t)
      row[t] = static_cast<int>(s.room);
  }
  row[s.tiles() + 1 + local] = static_cast<int>(values[slot]);
}

// Takes scratch memory and calls CUB; after the first failure does nothing more
// and remembers it.
class Workspace {
 public:
  Workspace(Allocator& allocator, cudaStream_t stream)
      : allocator_(allocator), stream_(stream) {}

  template <class T>
  T* Take(int64_t count) {
    if (!ok_) return nullptr;
    void* memory =
        allocator_.Allocate(static_cast<size_t>(count) * sizeof(T));
    ok_ = memory != nullptr;
    return static_cast<T*>(memory);
  }

  // Sorts by the lowest `bits` of the keys; stable.
  void Sort(const uint32_t* keys, uint32_t* keys_out, const uint32_t* values,
            uint32_t* values_out, int64_t count, int bits) {
    Twice([&](void* memory, size_t& bytes) {
      return cub::DeviceRadixSort::SortPairs(
          memory, bytes, keys, keys_out, values, values_out,
          static_cast<int>(count), 0, bits, stream_);
    });
  }

  void Sum(const uint64_t* in, uint64_t* out, int64_t count) {
    Twice([&](void* memory, size_t& bytes) {
      return cub::DeviceScan::InclusiveSum(memory, bytes, in, out,
                                           static_cast<int>(count), stream_);
    });
  }

  bool ok() const { return ok_; }

 private:
  // CUB's convention: without memory a call says how much it needs.
  template <class Call>
  void Twice(const Call& call) {
    size_t bytes = 0;
    ok_ = ok_ && call(nullptr, bytes) == cudaSuccess;
    void* memory = Take<char>(static_cast<int64_t>(bytes));
    ok_ = ok_ && call(memory, bytes) == cudaSuccess;
  }

  Allocator& allocator_;
  cudaStream_t stream_;
  bool ok_ = true;
};

// Bits that hold 0 ... values - 1.
inline int BitsFor(int64_t values) {
  int bits = 1;
  while ((int64_t{1} << bits) < values) ++bits;
  return bits;
}

// Returns the indices of all images' Gaussians by image and depth.
inline const uint32_t* SortByDepth(const Sizes& s, const Splats& in,
                                   Workspace& work, cudaStream_t stream) {
  const int64_t total = s.total();
  const dim3 grid = BlocksFor(total), block(kThreads);
  uint32_t* keys = work.Take<uint32_t>(total);
  uint32_t* keys_out = work.Take<uint32_t>(total);
  uint32_t* values = work.Take<uint32_t>(total);
  uint32_t* sorted = work.Take<uint32_t>(total);
  if (!work.ok()) return nullptr;
  CHIBIJAX_LAUNCH(DepthKeysKernel, grid, block, stream)
  (total, in, keys, values);
  work.Sort(keys, keys_out, values, sorted, total, 32);
  if (s.images() == 1 || !work.ok()) return sorted;
  CHIBIJAX_LAUNCH(ImageKeysKernel, grid, block, stream)(s, sorted, keys);
  work.Sort(keys, keys_out, sorted, values, total, BitsFor(s.images()));
  return values;
}

// Fills `order` and, where there is room, the rows of `bins`. False if memory
// was refused.
bool Bin(const Sizes& s, const Splats& in, const Bins& out,
                Allocator& allocator, cudaStream_t stream) {
  if (s.total() == 0) return true;
  Workspace work(allocator, stream);
  const dim3 grid = BlocksFor(s.total()), block(kThreads);
  const uint32_t* sorted = SortByDepth(s, in, work, stream);
  uint64_t* counts = s.binned() ? work.Take<uint64_t>(s.total()) : nullptr;
  if (!work.ok()) return false;
  CHIBIJAX_LAUNCH(CountKernel, grid, block, stream)
  (s, in, sorted, out.order, counts);
  if (!s.binned()) return true;
  const int64_t slots = s.images() * s.room;
  uint64_t* sums = work.Take<uint64_t>(s.total());
  uint32_t* keys = work.Take<uint32_t>(slots);
  uint32_t* keys_out = work.Take<uint32_t>(slots);
  uint32_t* values = work.Take<uint32_t>(slots);
  uint32_t* values_out = work.Take<uint32_t>(slots);
  if (!work.ok()) return false;
  work.Sum(counts, sums, s.total());
  CHIBIJAX_LAUNCH(PairsKernel, grid, block, stream)
  (s, in, sorted, counts, sums, keys, values);
  CHIBIJAX_LAUNCH(UnusedKernel, BlocksFor(slots), block, stream)
  (s, sums, keys, values);
  work.Sort(keys, keys_out, values, values_out, slots,
            BitsFor(s.images() * (s.tiles() + 1)));
  CHIBIJAX_LAUNCH(RowsKernel, BlocksFor(slots), block, stream)
  (s, sums, keys_out, values_out, out.rows);
  return work.ok();
}

}  // namespace splat
}  // namespace chibijax
