// The shared mathematics in float64 and float32, with C names for ctypes.
#include <cstring>

#include "splat_math.h"

using namespace chibijax::splat;

namespace {

// 11 numbers of a Gaussian, then rotation, translation, fx, fy, cx, cy.
template <class T>
void Read(const T* x, Gaussian<T>* g, Camera<T>* camera) {
  static_assert(sizeof(Gaussian<T>) == 11 * sizeof(T), "packed");
  static_assert(sizeof(Camera<T>) == 16 * sizeof(T), "packed");
  std::memcpy(g, x, sizeof *g);
  std::memcpy(camera, x + 11, sizeof *camera);
}

}  // namespace

extern "C" {

// out: mean2d, conic, opacity, depth, radius.
int project64(const ProjectOptions* options, const double* x, double* out) {
  Gaussian<double> g;
  Camera<double> camera;
  Projected<double> p;
  Read(x, &g, &camera);
  const bool visible = Project(*options, camera, g, &p);
  std::memcpy(out, &p, sizeof p);
  return visible;
}

// v: cotangents of mean2d, conic, opacity, depth; v_x as x.
void project_vjp64(const ProjectOptions* options, const double* x,
                   const double* v, double* v_x) {
  Gaussian<double> g;
  Camera<double> camera;
  ProjectedCotangent<double> cotangent;
  GaussianCotangent<double> out;
  Read(x, &g, &camera);
  std::memcpy(&cotangent, v, sizeof cotangent);
  ProjectVjp(*options, camera, g, cotangent, &out);
  static_assert(sizeof out == 27 * sizeof(double), "packed");
  std::memcpy(v_x, &out, sizeof out);
}

// One pixel at (0, 0) through n Gaussians of 8 numbers (mean2d, conic, opacity,
// depth, colour); out: colour, transmittance, depth.
void composite64(int n, const double* x, double max_alpha, double* out) {
  double t = 1, color = 0, depth = 0;
  for (int i = 0; i < n; ++i, x += 8) {
    const double s = Sigma(x[2] / 2, x[3], x[4] / 2, x[0], x[1]);
    const double alpha = Alpha(x[5], Exp(-s), max_alpha);
    if (s < 0 || alpha < kMinAlpha) continue;
    if (t * (1 - alpha) <= kMinTransmittance) break;
    color += x[7] * alpha * t;
    depth += x[6] * alpha * t;
    t *= 1 - alpha;
  }
  out[0] = color, out[1] = t, out[2] = depth;
}

// v: cotangents of composite64's out; all n Gaussians must be seen.
void composite_vjp64(int n, const double* x, double max_alpha, const double* v,
                     double* v_x) {
  double light[64], t = 1;
  for (int i = 0; i < n; ++i) {
    const double* g = x + 8 * i;
    light[i] = t;
    t *= 1 - Alpha(g[5], Exp(-Sigma(g[2] / 2, g[3], g[4] / 2, g[0], g[1])),
                   max_alpha);
  }
  double behind = t * v[1];
  for (int i = n - 1; i >= 0; --i) {
    const double *g = x + 8 * i, dx = g[0], dy = g[1];
    const double falloff = Exp(-Sigma(g[2] / 2, g[3], g[4] / 2, dx, dy));
    const double alpha = Alpha(g[5], falloff, max_alpha), w = alpha * light[i];
    const double dot = g[7] * v[0] + g[6] * v[2];
    const double s =
        SigmaVjp(g[5], falloff, alpha, max_alpha, light[i], dot, behind);
    behind += w * dot;
    const Moments<double> m{s,           s * dx,      s * dy,
                            s * dx * dx, s * dx * dy, s * dy * dy};
    double* to = v_x + 8 * i;
    MomentsVjp(m, g[2], g[3], g[4], g[5], to, to + 2, to + 5);
    to[6] = w * v[2];
    to[7] = w * v[0];
  }
}

// Of a conic (a, b, c) with its mean at (x, y), how many pixels of a size x
// size picture are seen, and how many of these lie in side x side blocks that
// the ellipse is said to miss (none, it is hoped); hits counts other blocks.
int missed_pixels(const float* conic, float opacity, const float* radius,
                  float x, float y, int size, int side, int* seen, int* hits) {
  const Ellipse<float> e =
      MakeEllipse(conic[0], conic[1], conic[2], opacity, radius);
  int missed = 0;
  *seen = *hits = 0;
  for (int top = 0; top < size; top += side)
    for (int left = 0; left < size; left += side) {
      const bool hit = EllipseMeets(
          e, left + 0.5f - x, left + side - 0.5f - x, top + 0.5f - y,
          top + side - 0.5f - y);
      *hits += hit;
      for (int i = 0; i < side * side; ++i) {
        const float dx = x - (left + i % side + 0.5f);
        const float dy = y - (top + i / side + 0.5f);
        const float s =
            Sigma(conic[0] / 2, conic[1], conic[2] / 2, dx, dy);
        const bool visible =
            s >= 0 && Alpha(opacity, Exp(-s), 0.99f) >= kMinAlpha;
        *seen += visible;
        missed += visible && !hit;
      }
    }
  return missed;
}

}  // extern "C"
