// Projection on the GPU: splat_math.h, one thread per Gaussian.
#pragma once

#include "cuda_platform.cuh"

namespace chibijax {
namespace splat {

struct ProjectArrays {
  const float *means, *quats, *scales, *opacities, *viewmats, *intrinsics;
};

struct ProjectResults {
  float *means2d, *conics, *opacities, *depths;
  int* radii;
};

struct ProjectCotangents {
  const int* radii;
  const float *means2d, *conics, *opacities, *depths;
};

struct ProjectGradients {
  float *means, *quats, *scales, *opacities, *viewmats, *intrinsics;
};

__device__ __forceinline__ Gaussian<float> LoadGaussian(
    const ProjectArrays& in, int64_t i) {
  Gaussian<float> g;
  for (int k = 0; k < 3; ++k) g.mean[k] = in.means[3 * i + k];
  for (int k = 0; k < 4; ++k) g.quat[k] = in.quats[4 * i + k];
  for (int k = 0; k < 3; ++k) g.scale[k] = in.scales[3 * i + k];
  g.opacity = in.opacities[i];
  return g;
}

__device__ __forceinline__ Camera<float> LoadCamera(const ProjectArrays& in,
                                                    int64_t image) {
  const float *view = in.viewmats + 16 * image, *k = in.intrinsics + 9 * image;
  Camera<float> camera;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) camera.rotation[3 * i + j] = view[4 * i + j];
    camera.translation[i] = view[4 * i + 3];
  }
  camera.fx = k[0], camera.cx = k[2], camera.fy = k[4], camera.cy = k[5];
  return camera;
}

// One thread per image and Gaussian.
__global__ void __launch_bounds__(kThreads)
    ProjectKernel(Sizes s, ProjectOptions options, ProjectArrays in,
                  ProjectResults out) {
  const int64_t i = GlobalThread();
  if (i >= s.total()) return;
  const int64_t image = i / s.gaussians, scene = image / s.cameras;
  const int64_t source = scene * s.gaussians + i % s.gaussians;
  Projected<float> p;
  Project(options, LoadCamera(in, image), LoadGaussian(in, source), &p);
  for (int k = 0; k < 2; ++k) {
    out.means2d[2 * i + k] = p.mean2d[k];
    out.radii[2 * i + k] = static_cast<int>(p.radius[k]);
  }
  for (int k = 0; k < 3; ++k) out.conics[3 * i + k] = p.conic[k];
  out.opacities[i] = p.opacity;
  out.depths[i] = p.depth;
}

// Sums 16 values of all threads of a block and adds them to a camera's
// gradients: rotation and translation to the first three rows of `viewmat`,
// (fx, fy, cx, cy) to `intrinsics`. All threads call it, and wait for each
// other before they do so again.
__device__ __forceinline__ void AddToCamera(const float (&v)[16],
                                            float* viewmat,
                                            float* intrinsics) {
  __shared__ float sums[kThreads / kWarp][16];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const float sum = WarpSums(v);
  if (lane < 16) sums[warp][lane] = sum;
  __syncthreads();
  if (threadIdx.x < 16) {
    const int k = threadIdx.x;
    float total = 0;
    for (int w = 0; w < kThreads / kWarp; ++w) total += sums[w][k];
    float* target;
    if (k < 9) {
      target = viewmat + 4 * (k / 3) + k % 3;
    } else if (k < 12) {
      target = viewmat + 4 * (k - 9) + 3;
    } else {
      target = intrinsics + (k == 12 ? 0 : k == 13 ? 4 : k == 14 ? 2 : 5);
    }
    if (total != 0) AddTo(target, total);
  }
}

// One thread per scene and Gaussian, which adds up over the cameras in order;
// blocks share a scene. The cameras' gradients must start at 0.
__global__ void __launch_bounds__(kThreads)
    ProjectGradKernel(Sizes s, ProjectOptions options, ProjectArrays in,
                      ProjectCotangents v, ProjectGradients out) {
  const int64_t blocks = DivideUp(s.gaussians, kThreads);
  const int64_t scene = blockIdx.x / blocks;
  const int64_t n = blockIdx.x % blocks * kThreads + threadIdx.x;
  const int64_t source = scene * s.gaussians + n;
  GaussianCotangent<float> sum = {};
  for (int64_t camera = 0; camera < s.cameras; ++camera) {
    const int64_t image = scene * s.cameras + camera;
    const int64_t i = image * s.gaussians + n;
    const bool seen = n < s.gaussians && v.radii[2 * i] > 0;
    if (__syncthreads_count(seen) == 0) continue;
    float shared[16] = {};
    if (seen) {
      ProjectedCotangent<float> c;
      for (int k = 0; k < 2; ++k) c.mean2d[k] = v.means2d[2 * i + k];
      for (int k = 0; k < 3; ++k) c.conic[k] = v.conics[3 * i + k];
      c.opacity = v.opacities[i];
      c.depth = v.depths[i];
      GaussianCotangent<float> g;
      ProjectVjp(options, LoadCamera(in, image), LoadGaussian(in, source), c,
                 &g);
      for (int k = 0; k < 3; ++k) sum.mean[k] += g.mean[k];
      for (int k = 0; k < 4; ++k) sum.quat[k] += g.quat[k];
      for (int k = 0; k < 3; ++k) sum.scale[k] += g.scale[k];
      sum.opacity += g.opacity;
      for (int k = 0; k < 9; ++k) shared[k] = g.rotation[k];
      for (int k = 0; k < 3; ++k) shared[9 + k] = g.translation[k];
      for (int k = 0; k < 4; ++k) shared[12 + k] = g.intrinsics[k];
    }
    AddToCamera(shared, out.viewmats + 16 * image, out.intrinsics + 9 * image);
  }
  if (n >= s.gaussians) return;
  for (int k = 0; k < 3; ++k) out.means[3 * source + k] = sum.mean[k];
  for (int k = 0; k < 4; ++k) out.quats[4 * source + k] = sum.quat[k];
  for (int k = 0; k < 3; ++k) out.scales[3 * source + k] = sum.scale[k];
  out.opacities[source] = sum.opacity;
}

void ProjectOnGpu(const Sizes& s, const ProjectOptions& options,
                  const ProjectArrays& in, const ProjectResults& out,
                         cudaStream_t stream) {
  if (s.total() == 0) return;
  CHIBIJAX_LAUNCH(ProjectKernel, BlocksFor(s.total()), dim3(kThreads), stream)
  (s, options, in, out);
}

void ProjectGradOnGpu(const Sizes& s, const ProjectOptions& options,
                             const ProjectArrays& in,
                             const ProjectCotangents& v,
                             const ProjectGradients& out, cudaStream_t stream) {
  if (s.images() > 0) {
    cudaMemsetAsync(out.viewmats, 0, 16 * sizeof(float) * s.images(), stream);
    cudaMemsetAsync(out.intrinsics, 0, 9 * sizeof(float) * s.images(), stream);
  }
  if (s.scenes * s.gaussians == 0) return;
  const int64_t blocks = s.scenes * DivideUp(s.gaussians, kThreads);
  CHIBIJAX_LAUNCH(ProjectGradKernel, dim3(static_cast<unsigned>(blocks)),
                  dim3(kThreads), stream)
  (s, options, in, v, out);
}

}  // namespace splat
}  // namespace chibijax
