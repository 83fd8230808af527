// Gradients of compositing on the GPU, back to front.
//
// Blocks, batches and warps as in cuda_composite.cuh. For a Gaussian that some
// lane of a warp has seen, each lane needs <colour, v_image> of its pixel, and
// the warp together two kinds of sums over its 32 pixels:
// - colours: v_color[k] = sum over p of weight[p] v_image[p][k]. Neither the
//   pixels nor v_image change from one Gaussian to the next, so every lane
//   keeps one channel k of several pixels in registers ("column"), reads the
//   weights from shared memory and multiplies: a small matrix product, without
//   a reduction per channel.
// - geometry: the six moments of v_sigma about the Gaussian's mean (and sums
//   for the depth and for absgrad), by WarpSums.
// A lane per sum then adds to global memory, one instruction for all of them.
// FinishKernel turns the moments into gradients.
#pragma once

#include "cuda_composite.cuh"

namespace chibijax {
namespace splat {

struct CompositeCotangents {
  const float* transmittance;  // of the forward direction
  const int* last;
  const float *v_image, *v_transmittance, *v_depth;
};

// Until FinishKernel, means2d, conics and opacities hold the moments.
struct CompositeGradients {
  float *means2d, *conics, *opacities, *colors, *depths, *abs;
};

// What a chunk of channels contributes. Gradients of the geometry are linear in
// <colour, v_image>, so chunks simply add up; but the absolute values need all
// channels at once, and then the first chunk does the geometry of all.
struct Share {
  bool first, geometry;
  int rest, end;  // channels that the chunk's dot product also takes in
};

__device__ __forceinline__ Share ShareOf(const Sizes& s, int channel, int width,
                                         bool absolute) {
  Share share;
  share.first = channel == 0;
  share.geometry = share.first || !absolute;
  share.rest = channel + width;
  share.end = share.rest;
  if (share.first && absolute)
    share.end = max(share.end, static_cast<int>(s.channels));
  return share;
}

// One place that a lane adds to, per Gaussian: base[i * stride]; or none, with
// stride 0.
struct Target {
  float* base;
  int stride;
};

// Of the sums' lanes: moments 1, x, y, xx, xy, yy, then depth and |x|; lane 8
// takes |y|.
__device__ __forceinline__ Target TargetOf(const CompositeGradients& out,
                                           int lane, bool depth,
                                           bool absolute) {
  if (lane == 0) return {out.opacities, 1};
  if (lane < 3) return {out.means2d + lane - 1, 2};
  if (lane < 6) return {out.conics + lane - 3, 3};
  if (lane == 6) return {out.depths, depth ? 1 : 0};
  return {out.abs + lane - 7, absolute && lane < 9 ? 2 : 0};
}

__device__ __forceinline__ int WarpMax(int v) {
  for (int step = kWarp / 2; step >= 1; step /= 2)
    v = max(v, __shfl_xor_sync(kAllLanes, v, step));
  return v;
}

// Sums over the warp's pixels of weight times v_image, for channel
// lane % kChannels; each lane sums kChannels pixels, then lanes add up.
template <int kChannels>
__device__ __forceinline__ float ColorSum(const float4* weights, int lane,
                                          const float (&column)[kChannels]) {
  float sums[4] = {};
  const float4* mine = weights + lane / kChannels * (kChannels / 4);
  SPLAT_UNROLL
  for (int i = 0; i < kChannels / 4; ++i) {
    const float4 w = mine[i];
    sums[0] += w.x * column[4 * i];
    sums[1] += w.y * column[4 * i + 1];
    sums[2] += w.z * column[4 * i + 2];
    sums[3] += w.w * column[4 * i + 3];
  }
  float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  SPLAT_UNROLL
  for (int step = kChannels; step < kWarp; step *= 2)
    sum += __shfl_xor_sync(kAllLanes, sum, step);
  return sum;
}

// <colour, v_image> over the batch's channels.
template <int kChannels>
__device__ __forceinline__ float ColorDot(const float4* color,
                                          const float (&v)[kChannels]) {
  float dots[4] = {};
  SPLAT_UNROLL
  for (int k = 0; k < kChannels / 4; ++k) {
    const float4 c = color[k];
    dots[0] += c.x * v[4 * k];
    dots[1] += c.y * v[4 * k + 1];
    dots[2] += c.z * v[4 * k + 2];
    dots[3] += c.w * v[4 * k + 3];
  }
  return (dots[0] + dots[1]) + (dots[2] + dots[3]);
}

__device__ __forceinline__ float RestDot(const float* a, const float* b,
                                         const Share& share) {
  float dot = 0;
  SPLAT_ROLL
  for (int k = share.rest; k < share.end; ++k) dot += a[k] * b[k];
  return dot;
}

// This lane's v_image (zeros outside the picture), and its column.
template <int kChannels>
__device__ __forceinline__ void LoadCotangents(
    const Sizes& s, const float* v_image, const Work& w, const Pixel& p,
    int channel, float (&v)[kChannels], float (&column)[kChannels]) {
  const int rest = static_cast<int>(s.channels) - channel;
  const float* mine = v_image + p.index * s.channels + channel;
  SPLAT_UNROLL
  for (int k = 0; k < kChannels; ++k)
    v[k] = p.inside && k < rest ? mine[k] : 0.0f;
  // The warp's first pixel, and this lane's channel of it.
  const int x = p.x - p.lane % 8, y = p.y - p.lane / 8;
  const int c = p.lane % kChannels, from = p.lane / kChannels * kChannels;
  const int64_t corner = (int64_t{w.image} * s.height + y) * s.width + x;
  const float* first = v_image + corner * s.channels + channel + c;
  SPLAT_UNROLL
  for (int i = 0; i < kChannels; ++i) {
    const int dx = (from + i) % 8, dy = (from + i) / 8;
    const bool valid = x + dx < s.width && y + dy < s.height && c < rest;
    column[i] = valid ? first[(dy * s.width + dx) * s.channels] : 0.0f;
  }
}

template <int kChannels>
__global__ void __launch_bounds__(kThreads, kChannels > 8 ? 2 : 3)
    CompositeGradKernel(Sizes s, CompositeInputs in, CompositeCotangents cot,
                        int channel0, bool absolute, CompositeGradients out) {
  __shared__ Batch<kChannels> batch;
  __shared__ float4 weights[kWarps][2][kWarp / 4];
  __shared__ int block_last;
  const Work w = ThisWork(s, in);
  const Pixel p = ThisPixel(s, w);
  const int channel = channel0 + static_cast<int>(blockIdx.y) * kChannels;
  const Share share = ShareOf(s, channel, kChannels, absolute);
  const float x = p.x + 0.5f, y = p.y + 0.5f;
  float v[kChannels], column[kChannels];
  LoadCotangents(s, cot.v_image, w, p, channel, v, column);

  const float* v_pixel = cot.v_image + p.index * s.channels;
  const float* background = in.background + w.image * s.channels;
  const bool depth = in.with_depth && share.first;
  float t = 1, behind = 0, v_depth = 0;
  int last = 0;
  if (p.inside) {
    t = cot.transmittance[p.index];
    last = cot.last[p.index];
    SPLAT_UNROLL
    for (int k = 0; k < kChannels; ++k) {
      if (channel + k < s.channels) behind += background[channel + k] * v[k];
    }
    behind += RestDot(background, v_pixel, share);
    if (share.first) behind += cot.v_transmittance[p.index];
    if (depth) v_depth = cot.v_depth[p.index];
    behind *= t;
  }
  const int warp_last = WarpMax(last);
  if (threadIdx.x == 0) block_last = 0;
  __syncthreads();
  if (p.lane == 0) atomicMax(&block_last, warp_last);
  __syncthreads();

  const Target target = TargetOf(out, p.lane, depth, absolute);
  int turn = 0;  // of the warp's two rows of weights
  SPLAT_ROLL
  for (int end = block_last; end > 0; end -= min(kBatch, end)) {
    const int first = max(end - kBatch, 0);
    if (end < block_last) __syncthreads();  // nobody reads the last batch
    Fetch(s, in, w, first, end - first, channel, batch);
    SPLAT_ROLL
    for (int word = kWords - 1; word >= 0; --word) {
      const int room = warp_last - first - word * kWarp;
      unsigned visits = room > 0 ? batch.visits[p.warp][word] : 0u;
      if (room < kWarp) visits &= (1u << max(room, 0)) - 1;
      SPLAT_ROLL
      while (visits) {
        const int bit = kWarp - 1 - __clz(static_cast<int>(visits));
        visits &= ~(1u << bit);
        const int j = word * kWarp + bit;
        const float4 g = batch.shape[j], h = batch.weight[j];
        const float dx = g.x - x, dy = g.y - y;
        const float sigma = Sigma(g.z, g.w, h.x, dx, dy);
        const float falloff = __expf(-sigma);
        const float alpha = Alpha(h.y, falloff, in.max_alpha);
        const bool seen =
            first + j < last && sigma >= 0 && alpha >= kMinAlpha;
        if (!__any_sync(kAllLanes, seen)) continue;
        const int n = __float_as_int(h.w);
        float weight = 0, v_sigma = 0;
        if (seen) {
          t /= 1 - alpha;
          weight = alpha * t;
          float dot = ColorDot(batch.color[j], v) + h.z * v_depth;
          if (share.end > share.rest) {
            dot += RestDot(in.colors + (w.color0 + n) * s.channels, v_pixel,
                           share);
          }
          if (share.geometry)
            v_sigma = SigmaVjp(h.y, falloff, alpha, in.max_alpha, t, dot,
                               behind);
          behind += weight * dot;
        }
        float4* mine = weights[p.warp][turn];
        turn ^= 1;
        reinterpret_cast<float*>(mine)[p.lane] = weight;
        __syncwarp();
        const float color = ColorSum(mine, p.lane, column);
        if (p.lane < kChannels && channel + p.lane < s.channels) {
          AddTo(out.colors + (w.color0 + n) * s.channels + channel + p.lane,
                color);
        }
        if (!share.geometry) continue;
        const float along_x = v_sigma * dx, along_y = v_sigma * dy;
        const float a = 2 * g.z, b = g.w, c = 2 * h.x;
        float sums[8] = {v_sigma,           along_x,      along_y,
                         along_x * dx,      along_x * dy, along_y * dy,
                         weight * v_depth,  0};
        if (absolute) sums[7] = Abs(a * along_x + b * along_y);
        float sum = WarpSums(sums);
        if (absolute) {
          float rest[1] = {Abs(b * along_x + c * along_y)};
          const float abs_y = WarpSums(rest);
          if (p.lane == 8) sum = abs_y;
        }
        if (target.stride > 0)
          AddTo(target.base + (w.splat0 + n) * target.stride, sum);
      }
    }
  }
}

// From moments to gradients, one thread per image and Gaussian.
__global__ void __launch_bounds__(kThreads)
    FinishKernel(int64_t total, Splats in, CompositeGradients out) {
  const int64_t i = GlobalThread();
  if (i >= total || IsCulled(in, i)) return;  // of culled ones, still zeros
  float *mean = out.means2d + 2 * i, *conic = out.conics + 3 * i;
  const Moments<float> m = {out.opacities[i], mean[0],  mean[1],
                            conic[0],         conic[1], conic[2]};
  const float* q = in.conics + 3 * i;
  MomentsVjp(m, q[0], q[1], q[2], in.opacities[i], mean, conic,
             out.opacities + i);
}

void CompositeGradOnGpu(const Sizes& s, const CompositeInputs& in,
                               const CompositeCotangents& cot, bool absolute,
                               const CompositeGradients& out,
                               cudaStream_t stream) {
  const int64_t total = s.total();
  const auto clear = [&](float* p, int64_t count) {
    if (count > 0) cudaMemsetAsync(p, 0, count * sizeof(float), stream);
  };
  clear(out.means2d, 2 * total);
  clear(out.conics, 3 * total);
  clear(out.opacities, total);
  clear(out.colors, s.colour_sets * s.gaussians * s.channels);
  clear(out.depths, total);
  if (absolute) clear(out.abs, 2 * total);
  if (total == 0 || BlocksPerImage(s) == 0) return;
  const dim3 block(BlockSide(s) * BlockSide(s));
  ForChannels(s.channels, [&](auto width, int channel0, int chunks) {
    CHIBIJAX_LAUNCH(CompositeGradKernel<width()>, CompositeGrid(s, chunks),
                    block, stream)
    (s, in, cot, channel0, absolute, out);
  });
  CHIBIJAX_LAUNCH(FinishKernel, BlocksFor(total), dim3(kThreads), stream)
  (total, in.splats, out);
}

}  // namespace splat
}  // namespace chibijax
