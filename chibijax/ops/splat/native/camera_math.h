// Rotations and cameras: part of splat_math.h, with its conventions.
#pragma once

#include "primitives.h"

namespace chibijax {
namespace splat {

enum CameraModel { kPinhole = 0, kOrtho = 1, kFisheye = 2 };

// ---------------------------------------------------------------------------
// Rotation

// The rotation of a quaternion. Not normalised ("raw"), it is the same
// polynomial and in general no rotation.
template <class T>
SPLAT_FN void QuatToRotation(const T quat[4], bool normalize, T r[9]) {
  T w = quat[0], x = quat[1], y = quat[2], z = quat[3];
  if (normalize) {
    const T scale = T(1) / Sqrt(w * w + x * x + y * y + z * z);
    w = w * scale, x = x * scale, y = y * scale, z = z * scale;
  }
  r[0] = T(1) - T(2) * (y * y + z * z);
  r[1] = T(2) * (x * y - w * z);
  r[2] = T(2) * (x * z + w * y);
  r[3] = T(2) * (x * y + w * z);
  r[4] = T(1) - T(2) * (x * x + z * z);
  r[5] = T(2) * (y * z - w * x);
  r[6] = T(2) * (x * z - w * y);
  r[7] = T(2) * (y * z + w * x);
  r[8] = T(1) - T(2) * (x * x + y * y);
}

template <class T>
SPLAT_FN void QuatToRotationVjp(const T quat[4], bool normalize, const T v[9],
                                T v_quat[4]) {
  T w = quat[0], x = quat[1], y = quat[2], z = quat[3], scale = T(1);
  if (normalize) {
    scale = T(1) / Sqrt(w * w + x * x + y * y + z * z);
    w = w * scale, x = x * scale, y = y * scale, z = z * scale;
  }
  // Antisymmetric and symmetric parts of the cotangent.
  const T ax = v[7] - v[5], ay = v[2] - v[6], az = v[3] - v[1];
  const T sx = v[7] + v[5], sy = v[2] + v[6], sz = v[3] + v[1];
  T vw = T(2) * (x * ax + y * ay + z * az);
  T vx = T(2) * (w * ax + z * sy + y * sz - T(2) * x * (v[4] + v[8]));
  T vy = T(2) * (w * ay + z * sx + x * sz - T(2) * y * (v[0] + v[8]));
  T vz = T(2) * (w * az + y * sx + x * sy - T(2) * z * (v[0] + v[4]));
  if (normalize) {
    const T along = w * vw + x * vx + y * vy + z * vz;
    vw = scale * (vw - w * along), vx = scale * (vx - x * along);
    vy = scale * (vy - y * along), vz = scale * (vz - z * along);
  }
  v_quat[0] = vw, v_quat[1] = vx, v_quat[2] = vy, v_quat[3] = vz;
}

// ---------------------------------------------------------------------------
// Camera

// World to camera, p = rotation m + translation, then the intrinsics (pixels).
template <class T>
struct Camera {
  T rotation[9], translation[3], fx, fy, cx, cy;
};

struct ProjectOptions {
  int camera_model;  // CameraModel
  bool antialiased, normalize_quats;
  float width, height, eps2d, near_plane, far_plane, radius_clip;
};

// atan2(r, z) / r of the equidistant fisheye and what its derivatives need:
// ratio, slope = (d ratio / dr) / r, bend = (d slope / dr) / r, with r^2 = rr.
// Near the axis the quotients cancel, and their series are used.
template <class T>
struct FisheyeRatio {
  T ratio, slope, bend;
};

template <class T>
SPLAT_FN FisheyeRatio<T> Fisheye(T rr, T z) {
  const T invz = T(1) / z, e = rr * invz * invz;
  T ratio = T(0), slope = T(0), bend = T(0);
  SPLAT_UNROLL
  for (int n = 10; n >= 0; --n) {
    const double sign = n % 2 ? -1.0 : 1.0;
    ratio = ratio * e + T(sign / (2 * n + 1));
    slope = slope * e - T(sign * 2 * (n + 1) / (2 * n + 3));
    bend = bend * e + T(sign * 4 * (n + 1) * (n + 2) / (2 * n + 5));
  }
  const auto near_axis = (e < T(0.09)) & (z > T(0));
  const T s = Select(near_axis, T(1), rr), rho = T(1) / (s + z * z);
  const T r = Sqrt(s), far_ratio = Atan2(r, z) / r;
  const T far_slope = (z * rho - far_ratio) / s;
  const T far_bend = (T(0) - T(2) * z * rho * rho - T(3) * far_slope) / s;
  const T z3 = invz * invz * invz;
  return {Select(near_axis, ratio * invz, far_ratio),
          Select(near_axis, slope * z3, far_slope),
          Select(near_axis, bend * z3 * invz * invz, far_bend)};
}

// Limits of a pinhole's offset from the principal point, .15 of the picture
// outside it: only the Jacobian is held inside, not the mean.
template <class T>
SPLAT_FN T ClampOffset(T offset, T centre, float size) {
  const T low = T(0) - centre - T(0.15f * size);
  return Clamp(offset, low, T(1.15f * size) - centre);
}

// The picture of a point in camera axes, and the 2x3 Jacobian of that map.
template <class T>
SPLAT_FN void ProjectPoint(const ProjectOptions& o, const Camera<T>& k,
                           const T p[3], T mean2d[2], T j[6]) {
  if (o.camera_model == kOrtho) {
    mean2d[0] = k.fx * p[0] + k.cx;
    mean2d[1] = k.fy * p[1] + k.cy;
    j[0] = k.fx, j[1] = T(0), j[2] = T(0);
    j[3] = T(0), j[4] = k.fy, j[5] = T(0);
  } else if (o.camera_model == kFisheye) {
    const T rr = p[0] * p[0] + p[1] * p[1], z = p[2];
    const FisheyeRatio<T> f = Fisheye(rr, z);
    const T rho = T(1) / (rr + z * z), cross = p[0] * p[1] * f.slope;
    mean2d[0] = k.fx * p[0] * f.ratio + k.cx;
    mean2d[1] = k.fy * p[1] * f.ratio + k.cy;
    j[0] = k.fx * (f.ratio + p[0] * p[0] * f.slope);
    j[1] = k.fx * cross;
    j[2] = T(0) - k.fx * p[0] * rho;
    j[3] = k.fy * cross;
    j[4] = k.fy * (f.ratio + p[1] * p[1] * f.slope);
    j[5] = T(0) - k.fy * p[1] * rho;
  } else {
    const T invz = T(1) / p[2];
    const T du = k.fx * p[0] * invz, dv = k.fy * p[1] * invz;
    mean2d[0] = du + k.cx;
    mean2d[1] = dv + k.cy;
    j[0] = k.fx * invz, j[1] = T(0);
    j[2] = T(0) - ClampOffset(du, k.cx, o.width) * invz;
    j[3] = T(0), j[4] = k.fy * invz;
    j[5] = T(0) - ClampOffset(dv, k.cy, o.height) * invz;
  }
}

// Of one axis of a pinhole: cotangents of the point's coordinate x, of 1 / z
// and of the intrinsics f and c, where j0 = f / z and j2 = -clamp(f x / z) / z.
template <class T>
SPLAT_FN void PinholeAxisVjp(T f, T c, T x, T invz, float size, T v_mean,
                             T v_j0, T v_j2, T& v_x, T& v_invz, T& v_f,
                             T& v_c) {
  const T offset = f * x * invz, held = ClampOffset(offset, c, size);
  const T v_held = T(0) - invz * v_j2;
  const auto inside = offset == held;
  const T v_offset = v_mean + Select(inside, v_held, T(0));
  v_x = v_offset * f * invz;
  v_invz = v_invz + v_offset * f * x + v_j0 * f - v_j2 * held;
  v_f = v_offset * x * invz + v_j0 * invz;
  // Where it is held, the limit moves against the principal point.
  v_c = v_mean - Select(inside, T(0), v_held);
}

// Of one axis of a fisheye with coordinate x (the other one is y): adds to the
// cotangents of both, of z and returns those of f.
template <class T>
SPLAT_FN T FisheyeAxisVjp(const FisheyeRatio<T>& g, T f, T x, T y, T z, T rho,
                          T v_mean, T v_along, T v_across, T v_depth, T& v_x,
                          T& v_y, T& v_z) {
  const T rho2 = rho * rho, two = T(2);
  const T along = g.ratio + x * x * g.slope, across = x * y * g.slope;
  const T m = f * v_mean, a = f * v_along, b = f * v_across, d = f * v_depth;
  v_x = v_x + m * along + a * (T(3) * x * g.slope + x * x * x * g.bend) +
        b * (y * g.slope + x * x * y * g.bend) - d * (rho - two * x * x * rho2);
  v_y = v_y + m * across + a * (y * g.slope + x * x * y * g.bend) +
        b * (x * g.slope + x * y * y * g.bend) + d * two * x * y * rho2;
  v_z = v_z - m * x * rho + a * (two * x * x * rho2 - rho) +
        b * two * x * y * rho2 + d * two * x * z * rho2;
  return v_mean * x * g.ratio + v_along * along + v_across * across -
         v_depth * x * rho;
}

// v_intrinsics is (fx, fy, cx, cy).
template <class T>
SPLAT_FN void ProjectPointVjp(const ProjectOptions& o, const Camera<T>& k,
                              const T p[3], const T v_mean2d[2], const T v_j[6],
                              T v_p[3], T v_intrinsics[4]) {
  v_p[0] = T(0), v_p[1] = T(0), v_p[2] = T(0);
  v_intrinsics[2] = v_mean2d[0], v_intrinsics[3] = v_mean2d[1];
  if (o.camera_model == kOrtho) {
    v_p[0] = v_mean2d[0] * k.fx;
    v_p[1] = v_mean2d[1] * k.fy;
    v_intrinsics[0] = v_mean2d[0] * p[0] + v_j[0];
    v_intrinsics[1] = v_mean2d[1] * p[1] + v_j[4];
  } else if (o.camera_model == kFisheye) {
    const T rr = p[0] * p[0] + p[1] * p[1], z = p[2];
    const FisheyeRatio<T> g = Fisheye(rr, z);
    const T rho = T(1) / (rr + z * z);
    v_intrinsics[0] =
        FisheyeAxisVjp(g, k.fx, p[0], p[1], z, rho, v_mean2d[0], v_j[0], v_j[1],
                       v_j[2], v_p[0], v_p[1], v_p[2]);
    v_intrinsics[1] =
        FisheyeAxisVjp(g, k.fy, p[1], p[0], z, rho, v_mean2d[1], v_j[4], v_j[3],
                       v_j[5], v_p[1], v_p[0], v_p[2]);
  } else {
    const T invz = T(1) / p[2];
    T v_invz = T(0);
    PinholeAxisVjp(k.fx, k.cx, p[0], invz, o.width, v_mean2d[0], v_j[0],
                   v_j[2], v_p[0], v_invz, v_intrinsics[0], v_intrinsics[2]);
    PinholeAxisVjp(k.fy, k.cy, p[1], invz, o.height, v_mean2d[1], v_j[4],
                   v_j[5], v_p[1], v_invz, v_intrinsics[1], v_intrinsics[3]);
    v_p[2] = T(0) - v_invz * invz * invz;
  }
}

}  // namespace splat
}  // namespace chibijax
