// Projection of all Gaussians and its gradient on the CPU, a pack at a time.
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

// b scenes of n Gaussians, each with c cameras; arrays as in the contract of
// the handlers (splat_cpu.cc).
struct ProjectInputs {
  int64_t b, c, n;
  const float *means, *quats, *scales, *opacities, *viewmats, *ks;
};

struct ProjectOutputs {
  float *means2d, *conics, *opacities, *depths;
  int32_t* radii;
};

struct ProjectGradInputs {
  const int32_t* radii;
  const float *v_means2d, *v_conics, *v_opacities, *v_depths;
};

struct ProjectGradOutputs {
  float *v_means, *v_quats, *v_scales, *v_opacities, *v_viewmats, *v_ks;
};

// Gaussians of one task; gradients of cameras are summed in this order.
constexpr int64_t kProjectGrain = 2048;

// Lane i becomes row i's columns: to[j] lane i = from[i * width + j]. Rows from
// `count` on repeat the last.
inline void LoadRows(const float* from, int width, int64_t count, Pack* to) {
  for (int j = 0; j < width; ++j)
    for (int64_t i = 0; i < kLanes; ++i)
      to[j].v[i] = from[std::min(i, count - 1) * width + j];
}

inline void StoreRows(const Pack* from, int width, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i)
    for (int j = 0; j < width; ++j) to[i * width + j] = from[j].v[i];
}

inline Camera<Pack> LoadCamera(const float* viewmat, const float* k) {
  Camera<Pack> camera;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) camera.rotation[3 * i + j] = viewmat[4 * i + j];
    camera.translation[i] = viewmat[4 * i + 3];
  }
  camera.fx = k[0], camera.fy = k[4], camera.cx = k[2], camera.cy = k[5];
  return camera;
}

inline Gaussian<Pack> LoadGaussians(const ProjectInputs& in, int64_t first,
                                    int64_t count) {
  Gaussian<Pack> g;
  LoadRows(in.means + 3 * first, 3, count, g.mean);
  LoadRows(in.quats + 4 * first, 4, count, g.quat);
  LoadRows(in.scales + 3 * first, 3, count, g.scale);
  LoadRows(in.opacities + first, 1, count, &g.opacity);
  return g;
}

inline void ProjectAll(Workers& workers, const ProjectOptions& options,
                       const ProjectInputs& in, const ProjectOutputs& out) {
  const int64_t chunks = (in.n + kProjectGrain - 1) / kProjectGrain;
  workers.For(in.b * in.c * chunks, [&](int64_t task) {
    const int64_t image = task / chunks, scene = image / in.c;
    const int64_t begin = task % chunks * kProjectGrain;
    const int64_t end = std::min(in.n, begin + kProjectGrain);
    const Camera<Pack> camera =
        LoadCamera(in.viewmats + 16 * image, in.ks + 9 * image);
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t count = std::min<int64_t>(kLanes, end - i);
      Projected<Pack> p;
      Project(options, camera, LoadGaussians(in, scene * in.n + i, count), &p);
      const int64_t at = image * in.n + i;
      StoreRows(p.mean2d, 2, count, out.means2d + 2 * at);
      StoreRows(p.conic, 3, count, out.conics + 3 * at);
      StoreRows(&p.opacity, 1, count, out.opacities + at);
      StoreRows(&p.depth, 1, count, out.depths + at);
      for (int64_t l = 0; l < count; ++l)
        for (int j = 0; j < 2; ++j)
          out.radii[2 * (at + l) + j] = static_cast<int32_t>(p.radius[j].v[l]);
    }
  });
}

// Gradients of the pack of `count` Gaussians from `i` on for one camera; zero
// where they are dropped. False if all are.
inline bool ProjectGradPack(const ProjectOptions& options,
                            const Camera<Pack>& camera,
                            const Gaussian<Pack>& g, const ProjectInputs& in,
                            const ProjectGradInputs& v, int64_t image,
                            int64_t i, int64_t count,
                            GaussianCotangent<Pack>* grad) {
  const int64_t at = image * in.n + i;
  Mask visible;
  for (int l = 0; l < kLanes; ++l) {
    const int32_t* r = v.radii + 2 * (at + std::min<int64_t>(l, count - 1));
    visible.v[l] = l < count && (r[0] > 0 || r[1] > 0) ? -1 : 0;
  }
  if (!Bits(visible)) return false;
  ProjectedCotangent<Pack> u;
  LoadRows(v.v_means2d + 2 * at, 2, count, u.mean2d);
  LoadRows(v.v_conics + 3 * at, 3, count, u.conic);
  LoadRows(v.v_opacities + at, 1, count, &u.opacity);
  LoadRows(v.v_depths + at, 1, count, &u.depth);
  ProjectVjp(options, camera, g, u, grad);
  // A struct of packs: every one of them is masked.
  Pack* all = reinterpret_cast<Pack*>(grad);
  for (size_t j = 0; j < sizeof(*grad) / sizeof(Pack); ++j)
    all[j] = Where(visible, all[j]);
  return true;
}

// Adds one scene's chunk; cameras[c][16] gets its part of their gradients.
inline void ProjectGradChunk(const ProjectOptions& options,
                             const ProjectInputs& in,
                             const ProjectGradInputs& v,
                             const ProjectGradOutputs& out, int64_t scene,
                             int64_t begin, int64_t end, float* cameras) {
  std::vector<Camera<Pack>> views(in.c);
  std::vector<Pack> sums(16 * in.c, Pack(0));
  for (int64_t c = 0; c < in.c; ++c) {
    const int64_t image = scene * in.c + c;
    views[c] = LoadCamera(in.viewmats + 16 * image, in.ks + 9 * image);
  }
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, end - i);
    const int64_t at = scene * in.n + i;
    const Gaussian<Pack> g = LoadGaussians(in, at, count);
    Pack total[11];
    std::fill_n(total, 11, Pack(0));
    for (int64_t c = 0; c < in.c; ++c) {
      GaussianCotangent<Pack> grad;
      if (!ProjectGradPack(options, views[c], g, in, v, scene * in.c + c, i,
                           count, &grad))
        continue;
      for (int j = 0; j < 3; ++j) {
        total[j] = total[j] + grad.mean[j];
        total[7 + j] = total[7 + j] + grad.scale[j];
      }
      for (int j = 0; j < 4; ++j) total[3 + j] = total[3 + j] + grad.quat[j];
      total[10] = total[10] + grad.opacity;
      Pack* sum = sums.data() + 16 * c;
      for (int j = 0; j < 9; ++j) sum[j] = sum[j] + grad.rotation[j];
      for (int j = 0; j < 3; ++j) sum[9 + j] = sum[9 + j] + grad.translation[j];
      for (int j = 0; j < 4; ++j)
        sum[12 + j] = sum[12 + j] + grad.intrinsics[j];
    }
    StoreRows(total, 3, count, out.v_means + 3 * at);
    StoreRows(total + 3, 4, count, out.v_quats + 4 * at);
    StoreRows(total + 7, 3, count, out.v_scales + 3 * at);
    StoreRows(total + 10, 1, count, out.v_opacities + at);
  }
  for (int64_t j = 0; j < 16 * in.c; ++j) {
    cameras[j] = 0;
    for (int l = 0; l < kLanes; ++l) cameras[j] += sums[j].v[l];
  }
}

inline void ProjectAllGrad(Workers& workers, const ProjectOptions& options,
                           const ProjectInputs& in, const ProjectGradInputs& v,
                           const ProjectGradOutputs& out) {
  const int64_t chunks = (in.n + kProjectGrain - 1) / kProjectGrain;
  const int64_t row = 16 * in.c;
  std::vector<float> parts(in.b * chunks * row);
  workers.For(in.b * chunks, [&](int64_t task) {
    const int64_t begin = task % chunks * kProjectGrain;
    ProjectGradChunk(options, in, v, out, task / chunks, begin,
                     std::min(in.n, begin + kProjectGrain),
                     parts.data() + task * row);
  });
  for (int64_t image = 0; image < in.b * in.c; ++image) {
    double sum[16] = {};
    const int64_t scene = image / in.c, c = image % in.c;
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      for (int j = 0; j < 16; ++j)
        sum[j] += parts[(scene * chunks + chunk) * row + 16 * c + j];
    float *m = out.v_viewmats + 16 * image, *k = out.v_ks + 9 * image;
    std::fill_n(m, 16, 0.0f);
    std::fill_n(k, 9, 0.0f);
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) m[4 * i + j] = sum[3 * i + j];
      m[4 * i + 3] = sum[9 + i];
    }
    k[0] = sum[12], k[4] = sum[13], k[2] = sum[14], k[5] = sum[15];
  }
}

}  // namespace splat
}  // namespace chibijax
