// The rasterizer's mathematics, once for every device.
//
// Compiled by nvcc for the GPU, by any C++17 compiler for the CPU, with T =
// float, double (tests) or a SIMD pack of floats (simd.h, included before this
// file): a type with + - * /, comparisons that give a mask with & and |, and
// the functions of primitives.h. No branch depends on data, so a pack
// follows one path; dropped Gaussians are masked at the end.
//
// Conventions: view matrices are world-to-camera with OpenCV axes; pixel
// (x, y) has its centre at (x + .5, y + .5); quaternions are wxyz; matrices
// are row-major; a symmetric 2x2 matrix is (xx, xy, yy). "Vjp" functions take
// cotangents named v_* and return those of the inputs.
//
// Zwicker et al., "EWA splatting", 2002; Kerbl et al., "3D Gaussian splatting
// for real-time radiance field rendering", 2023; Ye et al., "gsplat", 2024.
#pragma once

#include "camera_math.h"
#include "primitives.h"

namespace chibijax {
namespace splat {

// A contribution below this is not seen (one step of 8 bits).
constexpr float kMinAlpha = 1.0f / 255;
// A pixel ends before the Gaussian that would let through no more than this.
constexpr float kMinTransmittance = 1e-4f;
constexpr float kMinCompensation = 0.005f;
// Radii are held below this, so that they fit an int32.
constexpr float kMaxRadius = 1073741824.0f;

// ---------------------------------------------------------------------------
// Projection of a Gaussian

template <class T>
struct Gaussian {
  T mean[3], quat[4], scale[3], opacity;
};

// radius holds whole numbers; all is 0 where the Gaussian is dropped.
template <class T>
struct Projected {
  T mean2d[2], conic[3], opacity, depth, radius[2];
};

template <class T>
struct ProjectedCotangent {
  T mean2d[2], conic[3], opacity, depth;
};

template <class T>
struct GaussianCotangent {
  T mean[3], quat[4], scale[3], opacity;
  // For the camera: rotation, translation, then fx, fy, cx, cy.
  T rotation[9], translation[3], intrinsics[4];
};

// What projection and its vjp share. The picture's covariance is F F^T with
// F = turn diag(scale), 2x3; its determinant is |row x row|^2, which does not
// cancel for needles and is never below 0.
template <class T>
struct Footprint {
  T point[3], mean2d[2], jacobian[6], axes[9], turn[6], factor[6], normal[3];
  T xx, xy, yy, det0, det;  // xx, yy and det after the blur
};

template <class T>
SPLAT_FN T Row3(const T* a, const T* b, int step) {
  return a[0] * b[0] + a[1] * b[step] + a[2] * b[2 * step];
}

template <class T>
SPLAT_FN void MakeFootprint(const ProjectOptions& o, const Camera<T>& k,
                            const Gaussian<T>& g, Footprint<T>* f) {
  SPLAT_UNROLL
  for (int i = 0; i < 3; ++i)
    f->point[i] = Row3(k.rotation + 3 * i, g.mean, 1) + k.translation[i];
  ProjectPoint(o, k, f->point, f->mean2d, f->jacobian);
  QuatToRotation(g.quat, o.normalize_quats, f->axes);
  SPLAT_UNROLL
  for (int i = 0; i < 2; ++i) {
    T view[3];
    SPLAT_UNROLL
    for (int j = 0; j < 3; ++j)
      view[j] = Row3(f->jacobian + 3 * i, k.rotation + j, 3);
    SPLAT_UNROLL
    for (int j = 0; j < 3; ++j) {
      f->turn[3 * i + j] = Row3(view, f->axes + j, 3);
      f->factor[3 * i + j] = f->turn[3 * i + j] * g.scale[j];
    }
  }
  const T *a = f->factor, *b = f->factor + 3, eps = T(o.eps2d);
  f->normal[0] = a[1] * b[2] - a[2] * b[1];
  f->normal[1] = a[2] * b[0] - a[0] * b[2];
  f->normal[2] = a[0] * b[1] - a[1] * b[0];
  f->xx = Row3(a, a, 1), f->xy = Row3(a, b, 1), f->yy = Row3(b, b, 1);
  f->det0 = Row3(f->normal, f->normal, 1);
  f->det = f->det0 + eps * (f->xx + f->yy) + eps * eps;
  f->xx = f->xx + eps, f->yy = f->yy + eps;
}

// What the blur takes from the opacity, sqrt(det0 / det), held above .005.
template <class T>
SPLAT_FN T Compensation(const Footprint<T>& f) {
  const T low = T(kMinCompensation), ratio = f.det0 / f.det;
  return Sqrt(Max(ratio, low * low));
}

// Half extents of where opacity exp(-sigma) >= 1/255, in standard deviations.
template <class T>
SPLAT_FN T Extent(T opacity) {
  return Sqrt(T(2) * Log(Max(T(255) * opacity, T(1))));
}

// Returns a mask: false where the Gaussian is dropped and *out is 0.
template <class T>
SPLAT_FN auto Project(const ProjectOptions& o, const Camera<T>& k,
                      const Gaussian<T>& g, Projected<T>* out) {
  Footprint<T> f;
  MakeFootprint(o, k, g, &f);
  const T inv = T(1) / f.det, z = f.point[2];
  const T conic[3] = {f.yy * inv, T(0) - f.xy * inv, f.xx * inv};
  const T opacity = o.antialiased ? g.opacity * Compensation(f) : g.opacity;
  const T extent = Extent(opacity), most = T(kMaxRadius);
  const T rx = Ceil(Min(extent * Sqrt(f.xx), most));
  const T ry = Ceil(Min(extent * Sqrt(f.yy), most));
  // A sum is finite only if all its terms are; scaled, lest it overflow.
  T sum = g.opacity * T(0) + (conic[0] + conic[1] + conic[2]) * T(0);
  SPLAT_UNROLL
  for (int i = 0; i < 3; ++i)
    sum = sum + g.mean[i] * T(0) + g.scale[i] * T(0) + g.quat[i] * T(0);
  sum = sum + g.quat[3] * T(0) + (f.mean2d[0] + f.mean2d[1] + z) * T(0);
  const auto visible =
      (sum == T(0)) & (z >= T(o.near_plane)) & (z <= T(o.far_plane)) &
      (f.det > T(0)) & IsFinite(f.det) & (opacity >= T(kMinAlpha)) &
      ((rx > T(o.radius_clip)) | (ry > T(o.radius_clip))) & (rx > T(0)) &
      (ry > T(0)) & (f.mean2d[0] + rx > T(0)) & (f.mean2d[1] + ry > T(0)) &
      (f.mean2d[0] - rx < T(o.width)) & (f.mean2d[1] - ry < T(o.height));
  const T zero = T(0);
  SPLAT_UNROLL
  for (int i = 0; i < 2; ++i)
    out->mean2d[i] = Select(visible, f.mean2d[i], zero);
  SPLAT_UNROLL
  for (int i = 0; i < 3; ++i) out->conic[i] = Select(visible, conic[i], zero);
  out->opacity = Select(visible, opacity, zero);
  out->depth = Select(visible, z, zero);
  out->radius[0] = Select(visible, rx, zero);
  out->radius[1] = Select(visible, ry, zero);
  return visible;
}

// Cotangent of the 2x3 factor from those of the conic and of the compensation.
template <class T>
SPLAT_FN void FactorVjp(const ProjectOptions& o, const Footprint<T>& f,
                        const T v_conic[3], T v_compensation, T v_factor[6]) {
  const T inv = T(1) / f.det;
  const T a = f.yy * inv, b = T(0) - f.xy * inv, c = f.xx * inv;
  // v_cov = -X G X with X the conic and G its cotangent's symmetric matrix.
  const T half = T(0.5), ga = v_conic[0], gb = half * v_conic[1];
  const T gc = v_conic[2];
  const T p = a * ga + b * gb, q = a * gb + b * gc;
  const T r = b * ga + c * gb, s = b * gb + c * gc;
  const T v_xx = T(0) - (p * a + q * b), v_yy = T(0) - (r * b + s * c);
  const T v_xy = T(0) - half * ((p * b + q * c) + (r * a + s * b));
  const T *x = f.factor, *y = f.factor + 3, *n = f.normal;
  SPLAT_UNROLL
  for (int i = 0; i < 3; ++i) {
    v_factor[i] = T(2) * (v_xx * x[i] + v_xy * y[i]);
    v_factor[3 + i] = T(2) * (v_xy * x[i] + v_yy * y[i]);
  }
  if (!o.antialiased) return;
  // ratio = det0 / det, det - det0 = eps (trace + eps): no term cancels.
  const T eps = T(o.eps2d), low = T(kMinCompensation), ratio = f.det0 * inv;
  const T v_ratio = Select(ratio > low * low,
                           v_compensation * half / Sqrt(Max(ratio, low * low)),
                           T(0));
  const T v_det0 = v_ratio * (f.det - f.det0) * inv * inv;
  const T v_trace = T(0) - v_ratio * f.det0 * eps * inv * inv;
  SPLAT_UNROLL
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, l = (i + 2) % 3;
    v_factor[i] = v_factor[i] + T(2) * (v_det0 * (y[j] * n[l] - y[l] * n[j]) +
                                        v_trace * x[i]);
    v_factor[3 + i] =
        v_factor[3 + i] +
        T(2) * (v_det0 * (n[j] * x[l] - n[l] * x[j]) + v_trace * y[i]);
  }
}

// Gradients of a Gaussian that is not dropped (the caller masks others).
template <class T>
SPLAT_FN void ProjectVjp(const ProjectOptions& o, const Camera<T>& k,
                         const Gaussian<T>& g, const ProjectedCotangent<T>& v,
                         GaussianCotangent<T>* out) {
  Footprint<T> f;
  MakeFootprint(o, k, g, &f);
  out->opacity = v.opacity;
  if (o.antialiased) out->opacity = v.opacity * Compensation(f);
  T v_factor[6];
  FactorVjp(o, f, v.conic, v.opacity * g.opacity, v_factor);
  T v_view[6], v_axes[9], v_j[6];
  T view[6];  // jacobian times the camera's rotation
  SPLAT_UNROLL
  for (int i = 0; i < 2; ++i)
    SPLAT_UNROLL
    for (int j = 0; j < 3; ++j)
      view[3 * i + j] = Row3(f.jacobian + 3 * i, k.rotation + j, 3);
  SPLAT_UNROLL
  for (int j = 0; j < 3; ++j) {
    out->scale[j] =
        v_factor[j] * f.turn[j] + v_factor[3 + j] * f.turn[3 + j];
    v_factor[j] = v_factor[j] * g.scale[j];
    v_factor[3 + j] = v_factor[3 + j] * g.scale[j];
  }
  SPLAT_UNROLL
  for (int i = 0; i < 2; ++i)
    SPLAT_UNROLL
    for (int j = 0; j < 3; ++j)
      v_view[3 * i + j] = Row3(v_factor + 3 * i, f.axes + 3 * j, 1);
  SPLAT_UNROLL
  for (int i = 0; i < 3; ++i)
    SPLAT_UNROLL
    for (int j = 0; j < 3; ++j)
      v_axes[3 * i + j] = view[i] * v_factor[j] + view[3 + i] * v_factor[3 + j];
  QuatToRotationVjp(g.quat, o.normalize_quats, v_axes, out->quat);
  SPLAT_UNROLL
  for (int i = 0; i < 2; ++i)
    SPLAT_UNROLL
    for (int j = 0; j < 3; ++j)
      v_j[3 * i + j] = Row3(v_view + 3 * i, k.rotation + 3 * j, 1);
  T v_p[3];
  ProjectPointVjp(o, k, f.point, v.mean2d, v_j, v_p, out->intrinsics);
  v_p[2] = v_p[2] + v.depth;
  SPLAT_UNROLL
  for (int i = 0; i < 3; ++i) {
    out->translation[i] = v_p[i];
    out->mean[i] = Row3(v_p, k.rotation + i, 3);
    SPLAT_UNROLL
    for (int j = 0; j < 3; ++j)
      out->rotation[3 * i + j] = v_p[i] * g.mean[j] +
                                 f.jacobian[i] * v_view[j] +
                                 f.jacobian[3 + i] * v_view[3 + j];
  }
}

// ---------------------------------------------------------------------------
// One Gaussian at one pixel. (dx, dy) = mean2d - pixel centre.

template <class T>
SPLAT_FN T Sigma(T half_a, T b, T half_c, T dx, T dy) {
  return dx * (half_a * dx + b * dy) + half_c * dy * dy;
}

// Not seen where sigma < 0 or the result is below kMinAlpha; `falloff` is
// exp(-sigma).
template <class T>
SPLAT_FN T Alpha(T opacity, T falloff, T max_alpha) {
  return Min(max_alpha, opacity * falloff);
}

// Cotangent of sigma (and, times -1 / opacity, of the opacity) at a pixel.
//   alpha, falloff: as above;  t: transmittance before this Gaussian
//   dot: <colour, v_image> (+ depth v_depth) at this pixel
//   behind: the sum of alpha t dot over all later Gaussians, plus
//     t_final (v_transmittance + <background, v_image>)
template <class T>
SPLAT_FN T SigmaVjp(T opacity, T falloff, T alpha, T max_alpha, T t, T dot,
                    T behind) {
  const T rest = Max(T(1) - alpha, T(1e-6f));
  const T v_alpha = t * dot - behind / rest;
  return Select(opacity * falloff <= max_alpha,
                T(0) - opacity * falloff * v_alpha, T(0));
}

// Sums over pixels of v_sigma times 1, dx, dy, dx^2, dx dy, dy^2.
template <class T>
struct Moments {
  T one, x, y, xx, xy, yy;
};

template <class T>
SPLAT_FN void MomentsVjp(const Moments<T>& m, T a, T b, T c, T opacity,
                         T v_mean2d[2], T v_conic[3], T* v_opacity) {
  v_mean2d[0] = a * m.x + b * m.y;
  v_mean2d[1] = b * m.x + c * m.y;
  v_conic[0] = T(0.5) * m.xx;
  v_conic[1] = m.xy;
  v_conic[2] = T(0.5) * m.yy;
  *v_opacity = T(0) - m.one / opacity;
}

// ---------------------------------------------------------------------------
// Where a Gaussian is seen: the ellipse sigma <= ln(255 opacity), made a little
// larger, so that no pixel that the float arithmetic above lets through is
// missed. Coordinates are relative to the mean: (x, y) = pixel - mean2d.

template <class T>
struct Ellipse {
  T b, inv_a, al2, det;  // of conic (a, b, c); al2 = 2 a ln(255 opacity)
  T xmax, ymax, tilt;    // half sizes of the box; y of its rightmost point
};

// Needles too thin for float get the box of `radius` (which is exact) instead.
template <class T>
SPLAT_FN Ellipse<T> MakeEllipse(T a, T b, T c, T opacity, const T radius[2]) {
  const T ac = a * c, det = ac - b * b - T(4e-7f) * ac;
  const auto sound = det > T(1e-5f) * ac;
  const T d = Select(sound, det, T(1));
  const T level = Max(Log(T(255) * opacity), T(0));
  const T l2 = T(2) * level * (T(1.00001f) + T(4e-6f) * ac / d) + T(1e-4f);
  const T xmax = Sqrt(l2 * c / d), ymax = Sqrt(l2 * a / d);
  Ellipse<T> e;
  e.xmax = Select(sound, xmax, radius[0] + T(1));
  e.ymax = Select(sound, ymax, radius[1] + T(1));
  // With det = b = 0 every strip is as wide as the box.
  e.inv_a = Select(sound, T(1) / a, T(1));
  e.b = Select(sound, b, T(0));
  e.det = Select(sound, d, T(0));
  e.al2 = Select(sound, a * l2, e.xmax * e.xmax);
  e.tilt = Select(sound, T(0) - b * xmax / c, T(0));
  return e;
}

// The ellipse's x range within y0 <= y <= y1: false (a mask) where it is empty.
template <class T>
SPLAT_FN auto EllipseStrip(const Ellipse<T>& e, T y0, T y1, T* x0, T* x1) {
  const auto hit = (y0 <= e.ymax) & (T(0) - e.ymax <= y1);
  y0 = Max(y0, T(0) - e.ymax), y1 = Min(y1, e.ymax);
  const T right = Clamp(e.tilt, y0, y1), left = Clamp(T(0) - e.tilt, y0, y1);
  const T zero = T(0);
  const T half1 = Sqrt(Max(e.al2 - e.det * right * right, zero));
  const T half0 = Sqrt(Max(e.al2 - e.det * left * left, zero));
  *x1 = (half1 - e.b * right) * e.inv_a;
  *x0 = (T(0) - half0 - e.b * left) * e.inv_a;
  return hit;
}

// Whether the ellipse meets the rectangle of pixel centres [x0, x1] x [y0, y1].
template <class T>
SPLAT_FN auto EllipseMeets(const Ellipse<T>& e, T x0, T x1, T y0, T y1) {
  const T slack = T(0.002f) + T(4e-6f) * e.xmax;
  T low, high;
  const auto hit = EllipseStrip(e, y0, y1, &low, &high);
  return hit & (low - slack <= x1) & (x0 <= high + slack);
}

// First and one past the last tile that hold a pixel centre within `reach` of
// `mean`, of `tiles` tiles of `size` pixels. Safe for any float.
struct TileRange {
  int begin, end;
};
SPLAT_FN TileRange TilesWithin(float mean, float reach, int size, int tiles) {
  const float slack = 0.01f + 8e-6f * reach, limit = static_cast<float>(tiles);
  const float inv = 1.0f / size;
  const float low = (mean - reach - slack - 0.5f) * inv;
  const float high = (mean + reach + slack - 0.5f) * inv + 1;
  const float begin = Clamp(low, 0.0f, limit), end = Clamp(high, 0.0f, limit);
  return {static_cast<int>(begin), static_cast<int>(end)};
}

}  // namespace splat
}  // namespace chibijax
