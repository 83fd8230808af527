// Compositing on the GPU, front to back: one thread per pixel.
//
// A block serves 16x16 pixels (8x8 with tiles of 8; four blocks share a tile of
// 32), each warp 8x4 of them. The block fetches a batch of Gaussians of its
// tile's list into shared memory and notes which warps' pixels each one's
// ellipse meets, so that a warp visits only Gaussians that it may see. Channels
// are summed in registers, at most 32 at a time; more are more blocks, which
// repeat the geometry, about a quarter of the work.
#pragma once

#include "cuda_binning.cuh"

namespace chibijax {
namespace splat {

constexpr int kBatch = 128;       // Gaussians fetched at a time
constexpr int kWarps = 8;         // of a block, at most
constexpr int kWords = kBatch / kWarp;
constexpr int kMaxChannels = 32;  // per block

// What both directions read.
struct CompositeInputs {
  Splats splats;
  const float *colors, *background;
  const int *order, *rows;
  float max_alpha;
  bool with_depth;
};

struct CompositeResults {
  float *image, *transmittance, *depth;
  int* last;
};

// Side of a block's square of pixels, and how many cover a picture.
SPLAT_FN int BlockSide(const Sizes& s) { return s.tile == 8 ? 8 : 16; }
SPLAT_FN int BlocksAcross(const Sizes& s) {
  return (s.width + BlockSide(s) - 1) / BlockSide(s);
}
SPLAT_FN int BlocksPerImage(const Sizes& s) {
  return (s.height + BlockSide(s) - 1) / BlockSide(s) * BlocksAcross(s);
}

// What a block works on: a square of pixels, the Gaussians of its tile, ids[0
// ... count), and where its image's Gaussians and their colours start.
struct Work {
  int image, left, top, count;
  const int* ids;
  int64_t splat0, color0;
};

__device__ __forceinline__ Work ThisWork(const Sizes& s,
                                         const CompositeInputs& in) {
  const int per_image = BlocksPerImage(s), across = BlocksAcross(s);
  const int block = static_cast<int>(blockIdx.x) % per_image;
  Work w;
  w.image = static_cast<int>(blockIdx.x) / per_image;
  w.left = block % across * BlockSide(s);
  w.top = block / across * BlockSide(s);
  w.splat0 = w.image * s.gaussians;
  const bool shared = s.colour_sets == s.scenes;
  w.color0 = shared ? w.image / static_cast<int>(s.cameras) * s.gaussians
                    : w.splat0;
  const int* row = in.rows + w.image * s.row;
  if (!s.binned() || row[0] == kOverflow) {
    w.ids = in.order + w.splat0;
    w.count = static_cast<int>(s.gaussians);
    return w;
  }
  const int tile = w.top / s.tile * s.tiles_x + w.left / s.tile;
  w.ids = row + s.tiles() + 1 + row[tile];
  w.count = row[tile + 1] - row[tile];
  return w;
}

// A thread's pixel; `index` is in all images' pixels.
struct Pixel {
  int x, y, warp, lane;
  bool inside;
  int64_t index;
};

__device__ __forceinline__ Pixel ThisPixel(const Sizes& s, const Work& w) {
  const int columns = BlockSide(s) / 8;
  Pixel p;
  p.warp = threadIdx.x / kWarp;
  p.lane = threadIdx.x % kWarp;
  p.x = w.left + p.warp % columns * 8 + p.lane % 8;
  p.y = w.top + p.warp / columns * 4 + p.lane / 8;
  p.inside = p.x < s.width && p.y < s.height;
  p.index = (int64_t{w.image} * s.height + p.y) * s.width + p.x;
  return p;
}

// A batch of Gaussians in shared memory. Colours have kStride floats each.
template <int kChannels>
struct Batch {
  float4 shape[kBatch];   // mean2d, a / 2, b
  float4 weight[kBatch];  // c / 2, opacity, depth, index as bits
  unsigned visits[kWarps][kWords];  // bit: this warp's pixels may see it
  unsigned visited[kWords];         // by any warp
  float4 color[kBatch][kChannels / 4];
};

// Which warps of the block may see Gaussian i, one bit each.
__device__ __forceinline__ unsigned WarpsThatSee(const Sizes& s,
                                                 const Splats& in, int64_t i,
                                                 const Work& w, float mean_x,
                                                 float mean_y) {
  const int side = BlockSide(s);
  const float left = w.left + 0.5f - mean_x, top = w.top + 0.5f - mean_y;
  const Ellipse<float> e = LoadEllipse(in, i);
  const float slack = 0.002f + 4e-6f * (e.xmax + Abs(mean_x));
  unsigned bits = 0, bit = 1;
  SPLAT_ROLL
  for (int y = 0; y < side; y += 4) {
    float low, high;
    const bool hit = EllipseStrip(e, top + y, top + y + 3, &low, &high);
    SPLAT_ROLL
    for (int x = 0; x < side; x += 8, bit <<= 1) {
      if (hit && low - slack <= left + x + 7 && left + x <= high + slack)
        bits |= bit;
    }
  }
  return bits;
}

// Fetches Gaussians first ... first + count of the list; all threads call it,
// and wait for each other at its end.
template <int kChannels>
__device__ __forceinline__ void Fetch(const Sizes& s, const CompositeInputs& in,
                                      const Work& w, int first, int count,
                                      int channel, Batch<kChannels>& batch) {
  const int lane = threadIdx.x % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  SPLAT_ROLL
  for (int j = threadIdx.x; j < kBatch; j += blockDim.x) {
    unsigned seen_by = 0;
    const int n = j < count ? w.ids[first + j] : 0;
    if (j < count && !IsCulled(in.splats, w.splat0 + n)) {
      const int64_t i = w.splat0 + n;
      const float* conic = in.splats.conics + 3 * i;
      const float x = in.splats.means2d[2 * i];
      const float y = in.splats.means2d[2 * i + 1];
      batch.shape[j] = make_float4(x, y, 0.5f * conic[0], conic[1]);
      batch.weight[j] =
          make_float4(0.5f * conic[2], in.splats.opacities[i],
                      in.splats.depths[i], __int_as_float(n));
      seen_by = WarpsThatSee(s, in.splats, i, w, x, y);
    }
    SPLAT_ROLL
    for (int warp = 0; warp < warps; ++warp) {
      const unsigned word = __ballot_sync(kAllLanes, seen_by >> warp & 1);
      if (lane == 0) batch.visits[warp][j / kWarp] = word;
    }
    const unsigned word = __ballot_sync(kAllLanes, seen_by != 0);
    if (lane == 0) batch.visited[j / kWarp] = word;
  }
  __syncthreads();
  const float* colors = in.colors + w.color0 * s.channels + channel;
  const int width = static_cast<int>(s.channels) - channel;
  float* staged = reinterpret_cast<float*>(batch.color);
  SPLAT_ROLL
  for (int k = threadIdx.x; k < count * kChannels; k += blockDim.x) {
    const int j = k / kChannels, c = k % kChannels;
    if (!(batch.visited[j / kWarp] >> (j % kWarp) & 1)) continue;
    const int64_t n = __float_as_int(batch.weight[j].w);
    staged[k] = c < width ? __ldg(colors + n * s.channels + c) : 0.0f;
  }
  __syncthreads();
}

// Blocks along y are chunks of kChannels channels, from `channel0` on.
template <int kChannels>
__global__ void __launch_bounds__(kThreads, kChannels > 16 ? 3 : 4)
    CompositeKernel(Sizes s, CompositeInputs in, int channel0,
                    CompositeResults out) {
  __shared__ Batch<kChannels> batch;
  const Work w = ThisWork(s, in);
  const Pixel p = ThisPixel(s, w);
  const int channel = channel0 + static_cast<int>(blockIdx.y) * kChannels;
  const float x = p.x + 0.5f, y = p.y + 0.5f;
  float sums[kChannels] = {}, t = 1, depth = 0;
  int last = 0;
  bool alive = p.inside;
  SPLAT_ROLL
  for (int first = 0; first < w.count; first += kBatch) {
    // Also: nobody still reads the last batch.
    if (__syncthreads_count(alive) == 0) break;
    Fetch(s, in, w, first, min(kBatch, w.count - first), channel, batch);
    SPLAT_ROLL
    for (int word = 0; word < kWords; ++word) {
      if (!__any_sync(kAllLanes, alive)) break;
      unsigned visits = batch.visits[p.warp][word];
      SPLAT_ROLL
      for (; visits; visits &= visits - 1) {
        const int j = word * kWarp + __ffs(visits) - 1;
        const float4 g = batch.shape[j], h = batch.weight[j];
        const float sigma = Sigma(g.z, g.w, h.x, g.x - x, g.y - y);
        const float alpha = Alpha(h.y, __expf(-sigma), in.max_alpha);
        if (!alive || !(sigma >= 0) || alpha < kMinAlpha) continue;
        const float after = t * (1 - alpha);
        if (after <= kMinTransmittance) {
          alive = false;
          continue;
        }
        const float weight = alpha * t;
        SPLAT_UNROLL
        for (int k = 0; k < kChannels / 4; ++k) {
          const float4 c = batch.color[j][k];
          sums[4 * k] += weight * c.x;
          sums[4 * k + 1] += weight * c.y;
          sums[4 * k + 2] += weight * c.z;
          sums[4 * k + 3] += weight * c.w;
        }
        depth += weight * h.z;
        t = after;
        last = first + j + 1;
      }
    }
  }
  if (!p.inside) return;
  float* image = out.image + p.index * s.channels;
  const float* background = in.background + w.image * s.channels;
  SPLAT_UNROLL
  for (int k = 0; k < kChannels; ++k) {
    if (channel + k < s.channels)
      image[channel + k] = sums[k] + t * background[channel + k];
  }
  if (channel > 0) return;
  out.transmittance[p.index] = t;
  out.last[p.index] = last;
  if (in.with_depth) out.depth[p.index] = depth;
}

// Calls launch(width, channel0, chunks) for widths (of std::integral_constant)
// and chunks that cover all channels; once if there are none.
template <class Launch>
void ForChannels(int64_t channels, const Launch& launch) {
  const int full = static_cast<int>(channels / kMaxChannels);
  const int rest = static_cast<int>(channels % kMaxChannels);
  const int from = full * kMaxChannels;
  if (full > 0) launch(std::integral_constant<int, kMaxChannels>(), 0, full);
  if (rest == 0 && full > 0) return;
  if (rest <= 4) {
    launch(std::integral_constant<int, 4>(), from, 1);
  } else if (rest <= 8) {
    launch(std::integral_constant<int, 8>(), from, 1);
  } else if (rest <= 16) {
    launch(std::integral_constant<int, 16>(), from, 1);
  } else {
    launch(std::integral_constant<int, kMaxChannels>(), from, 1);
  }
}

inline dim3 CompositeGrid(const Sizes& s, int chunks) {
  return dim3(static_cast<unsigned>(s.images()) * BlocksPerImage(s),
              static_cast<unsigned>(chunks));
}

void CompositeOnGpu(const Sizes& s, const CompositeInputs& in,
                           const CompositeResults& out, cudaStream_t stream) {
  if (s.images() == 0 || BlocksPerImage(s) == 0) return;
  const dim3 block(BlockSide(s) * BlockSide(s));
  ForChannels(s.channels, [&](auto width, int channel0, int chunks) {
    CHIBIJAX_LAUNCH(CompositeKernel<width()>, CompositeGrid(s, chunks), block,
                    stream)
    (s, in, channel0, out);
  });
}

}  // namespace splat
}  // namespace chibijax
