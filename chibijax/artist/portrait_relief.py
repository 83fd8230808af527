"""Relief of a head: its height field, the source of all shading.

Heights are in face units towards the camera (see `portrait_canvas`).
"""

import numpy as np
from jaxtyping import Float32

from chibijax.artist.portrait_canvas import Grid
from chibijax.artist.portrait_filter import product
from chibijax.artist.portrait_geometry import Face


def head_height(face: Face, g: Grid) -> Float32[np.ndarray, "h w"]:
  """Height field of the bald head, 0 at the silhouette.

  The skull is a superellipse in every row, on a midline profile; the features
  are a sum of separable Gaussians, evaluated as one matrix product.
  """
  v = g.v[:, 0]
  half = np.interp(v, face.rows, face.half_width, left=0.02, right=0.02)
  half = half.astype(np.float32)
  # Below the chin the surface turns under, with a rounded edge.
  q = np.minimum(np.abs(g.u) / np.maximum(half, 0.02)[:, None], 1)
  # The exponent 2.25 by roots: a power costs ten times as much.
  across = np.sqrt(1 - q * q * np.sqrt(np.sqrt(q)))
  top, bottom = face.rows[0], face.chin
  profile = np.interp(
    v,
    [top, -1.50, -1.2, -0.8, -0.35, 0.2, 0.7, 1.15, bottom - 0.2, bottom],
    [0.10, 0.48, 0.78, 0.96, 1.02, 1.0, 0.96, 0.90, 0.80, 0.55],
  )
  # Kinks of the profile would show as bands in the shading.
  profile = _smooth(profile, 0.09 / g.pixel).astype(np.float32)
  z = across * profile[:, None]
  bumps = np.array(_bumps(face), np.float32)
  du = (g.u - bumps[:, 0:1]) / bumps[:, 2:3]
  dv = (v[None] - bumps[:, 1:2]) / bumps[:, 3:4]
  rows = np.exp(-0.5 * dv * dv) * bumps[:, 4:5]
  z += product(rows.T, np.exp(-0.5 * du * du))
  return z + _nose(face, g)


def _nose(face: Face, g: Grid) -> np.ndarray:
  """Ridge, tip and wings, cut off sharply below the base."""
  wing, base, out = face.nose
  v = g.v[:, 0]
  ridge = np.interp(
    v,
    [-0.25, 0.02, 0.3, base - 0.14, base - 0.03, base + 0.06],
    [0.0, 0.10, 0.22, out, out * 0.86, 0.0],
  )
  spread = np.interp(
    v, [-0.3, 0.0, 0.35, base - 0.1], [0.13, 0.085, 0.105, wing * 0.62]
  )
  spread = _smooth(spread, 0.08 / g.pixel)
  soft = _smooth(ridge, 0.07 / g.pixel)
  # The upper ridge runs smoothly; only the base is cut off sharply.
  ridge = np.where(v < base - 0.16, soft, _smooth(ridge, 0.03 / g.pixel))
  across = g.u / spread[:, None].astype(np.float32)
  return ridge[:, None].astype(np.float32) * np.exp(-0.5 * across * across)


def _smooth(x: np.ndarray, sigma: float) -> np.ndarray:
  radius = max(1, int(np.ceil(2.5 * sigma)))
  k = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 0.3)) ** 2)
  return np.convolve(np.pad(x, radius, mode="edge"), k / k.sum(), mode="valid")


def _bumps(face: Face) -> list[tuple[float, float, float, float, float]]:
  """Gaussians (u, v, sigma u, sigma v, height) of the face's features."""
  e, m, old = face.expression, face.mouth, face.aged
  eye_u, eye_v = face.eyes[1]
  wing, base, _ = face.nose
  smile = max(e.smile, 0.0)
  paired = [
    (eye_u, eye_v - 0.06, 0.24, 0.15, -0.17 - 0.03 * face.masculine),
    (eye_u - 0.20, eye_v + 0.02, 0.08, 0.12, -0.10),
    (eye_u, eye_v, 0.13, 0.085, 0.10),
    (eye_u, -0.33, 0.27, 0.085, 0.035 + 0.05 * face.masculine),
    (eye_u + 0.02, 0.22, 0.20, 0.07, -0.03 - 0.05 * old),
    (0.60, 0.40 - 0.08 * smile, 0.24, 0.19, 0.09 + 0.07 * smile),
    (0.66, 0.95, 0.20, 0.25, -0.05 - 0.03 * old + 0.09 * face.childlike),
    (0.95, -0.40, 0.14, 0.25, -0.05),
    (wing * 0.80, base - 0.07, 0.075, 0.075, 0.13),
    (wing + 0.10, base - 0.03, 0.05, 0.10, -0.06 - 0.05 * smile),
    (0.345 * e.width + 0.07, m - 0.07 * e.smile, 0.06, 0.09, -0.07),
    (0.345 * e.width + 0.20, m + 0.05, 0.10, 0.16, 0.05 * smile),
  ]
  single = [
    (0.0, -0.95, 0.50, 0.35, 0.05),
    (0.0, m - 0.065, 0.20, 0.055, 0.085 + 0.08 * e.pucker),
    (0.0, m + 0.07 + 0.65 * e.gap, 0.18, 0.055, 0.085 + 0.08 * e.pucker),
    (0.0, m - 0.17, 0.035, 0.07, -0.035),
    (0.0, m + 0.235 + 0.6 * e.gap, 0.20, 0.055, -0.075),
    (0.0, face.chin - 0.17, 0.17, 0.12, 0.10 + 0.03 * face.masculine),
    (0.0, -0.28, 0.08, 0.09, -0.02),
  ]
  return single + paired + [(-p[0], *p[1:]) for p in paired]
