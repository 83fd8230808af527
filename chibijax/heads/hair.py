"""Hair as ribbons around guides (`heads.hair_guides`), and where it grows.

A ribbon is three vertices wide, bulges outwards and is pointed at its end.
Everything is measured on the shaped head, so that hair follows identity and the
chibi axis. Between the clumps the scalp itself is painted. Metres, the frame of
`heads.model`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from chibijax.heads.hair_guides import STYLES, Anatomy, Cut, guides, outside

__all__ = [
  "STYLES", "Anatomy", "Cut", "Strips", "grow", "measure", "scalp_height",
  "swell",
]  # fmt: skip

# Height of the hairline on the template, mm, by the angle from the front.
_AZIMUTH = np.radians([0, 25, 45, 58, 68, 84, 100, 115, 140, 180])
_HAIRLINE = np.array([82, 79, 66, 42, 8, 0, 10, -22, -66, -78])


class Strips(NamedTuple):
  """A mesh of ribbons.

  Attributes:
    vertices: positions.
    normals: outwards, of unit length.
    tangents: along the strands, of unit length.
    strand: across the ribbon (-1 to 1), along it (0 to 1), and a number in
      [0, 1) that is the clump's own.
    faces: vertex indices; both sides are seen.
  """

  vertices: Float[np.ndarray, "V 3"]
  normals: Float[np.ndarray, "V 3"]
  tangents: Float[np.ndarray, "V 3"]
  strand: Float[np.ndarray, "V 3"]
  faces: Int[np.ndarray, "F 3"]


def scalp_height(template: Float[np.ndarray, "V 3"]) -> np.ndarray:
  """Height above the hairline in mm, negative on face and neck."""
  x, y, z = 1000 * template.T
  azimuth = np.arctan2(np.abs(x), z + 10)
  return y - np.interp(azimuth, _AZIMUTH, _HAIRLINE)


def measure(
  template: Float[np.ndarray, "V 3"],
  vertices: Float[np.ndarray, "V 3"],
  landmarks: Float[np.ndarray, "68 3"],
) -> Anatomy:
  """Measures a shaped head without expression or pose.

  Args:
    template: the mean head.
    vertices: the shaped head.
    landmarks: its landmarks, iBUG's order.
  """
  upper = vertices[template[:, 1] > 0.045]
  level = (np.abs(template[:, 1] - 0.035) < 0.008) & (
    np.abs(template[:, 0]) < 0.09
  )
  middle = vertices[level][:, 1].mean()
  low, high = upper.min(axis=0), upper.max(axis=0)
  center = np.array([0.0, middle, (low[2] + high[2]) / 2])
  radii = np.array([high[0], high[1] - middle, (high[2] - low[2]) / 2])
  # The skull bulges out of the ellipsoid through its extremes.
  skull = (upper - center) / radii
  radii *= np.quantile(np.linalg.norm(skull, axis=1), 0.97)
  return Anatomy(
    scalp=scalp_height(template),
    center=center,
    radii=radii,
    brow=float(landmarks[17:27, 1].mean()),
    chin=float(landmarks[8, 1]),
    face=float(np.abs(landmarks[[2, 14], 0]).mean()),
    unit=float(high[0] / 0.075),
  )


def grow(
  cut: Cut,
  anatomy: Anatomy,
  vertices: Float[np.ndarray, "V 3"],
  rng: np.random.Generator,
) -> Strips | None:
  """Makes the hair of a shaped head.

  Args:
    cut: which hair.
    anatomy: of this head.
    vertices: the head.
    rng: decides every clump's own deviation.

  Returns:
    The ribbons; None for a shaved head, whose scalp is only painted.
  """
  if cut.style == "shaved":
    return None
  lines, widths = guides(cut, anatomy, vertices, rng)
  return _ribbons(lines, widths, anatomy, rng)


def swell(
  cut: Cut, anatomy: Anatomy, vertices: Float[np.ndarray, "V 3"]
) -> Float[np.ndarray, "V 3"]:
  """How far the painted scalp rises to lie close under its hair.

  Args:
    cut: which hair.
    anatomy: of this head.
    vertices: the head.

  Returns:
    Displacements, metres; 0 outside the scalp and on a shaved head.
  """
  if cut.style == "shaved":
    return np.zeros_like(vertices)
  amount = np.clip((anatomy.scalp - 4) / 14, 0, 1)
  upper = np.clip((vertices[:, 1] - anatomy.center[1]) / 0.03, 0, 1)
  raised = outside(vertices, anatomy, 0.001) - vertices
  return (raised * (amount * upper)[:, None]).astype(vertices.dtype)


def _ribbons(
  lines: np.ndarray,
  widths: np.ndarray,
  anatomy: Anatomy,
  rng: np.random.Generator,
) -> Strips:
  """Ribbons three vertices wide around lines [N, K, 3]."""
  count, points, _ = lines.shape
  tangent = np.gradient(lines, axis=1)
  tangent /= np.maximum(np.linalg.norm(tangent, axis=2, keepdims=True), 1e-9)
  out = (lines - anatomy.center) / anatomy.radii**2
  low = lines[..., 1] < anatomy.center[1]
  out[..., 1] = np.where(low, 0, out[..., 1])
  out /= np.maximum(np.linalg.norm(out, axis=2, keepdims=True), 1e-9)
  across = np.cross(tangent, out)
  across /= np.maximum(np.linalg.norm(across, axis=2, keepdims=True), 1e-9)
  out = np.cross(across, tangent)
  t = np.linspace(0, 1, points)
  taper = np.minimum(1, 0.75 + 2.2 * t) * np.sqrt(np.maximum(1 - t**3, 0.0))
  half = 0.5 * widths[:, None] * taper
  offset = across[:, :, None] * np.array([-1.0, 0, 1])[:, None]
  bulge = out[:, :, None] * np.array([0.0, 0.45, 0])[:, None]
  vertices = lines[:, :, None] + half[..., None, None] * (offset + bulge)
  normal = out[:, :, None] + 0.75 * offset
  normal /= np.maximum(np.linalg.norm(normal, axis=3, keepdims=True), 1e-9)
  strand = np.empty((count, points, 3, 3))
  strand[..., 0] = [-1, 0, 1]
  strand[..., 1] = t[:, None]
  strand[..., 2] = rng.uniform(0, 1, count)[:, None, None]
  along = np.broadcast_to(tangent[:, :, None], vertices.shape)
  corner = np.arange(count * points * 3).reshape(count, points, 3)
  a, b = corner[:, :-1, :-1].ravel(), corner[:, :-1, 1:].ravel()
  c, d = corner[:, 1:, :-1].ravel(), corner[:, 1:, 1:].ravel()
  faces = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])
  kind = np.float32
  return Strips(
    vertices.reshape(-1, 3).astype(kind),
    normal.reshape(-1, 3).astype(kind),
    along.reshape(-1, 3).astype(kind),
    strand.reshape(-1, 3).astype(kind),
    faces.astype(np.int32),
  )
