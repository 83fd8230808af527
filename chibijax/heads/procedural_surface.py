"""The smooth skin of the procedural head, before it has eyes, mouth and ears.

The head is lofted through horizontal-ish rings: each has a point in front, one
at the side and one behind, and superellipse quadrants between them. A point of
the surface has an angle (0 in front, pi behind) and a row, which runs from the
crown (0) to the bottom of the neck (`LAST`). Only the left half (x >= 0) is
made; the right is its mirror image. Metres, the frame of `heads.model`.
"""

import functools

import numpy as np
from jaxtyping import Float
from scipy import interpolate

# Millimetres: front y, z; side x, y, z; back y, z; exponent of the front.
_ROWS = np.array(
  [
    [125, -10, 0, 125, -10, 125, -10, 2.0],
    [120, 27, 40, 118.5, -14, 119, -50, 2.0],
    [101, 54, 64.5, 95, -16, 98, -86, 2.15],
    [70, 66, 76, 61, -17, 61, -108, 2.25],
    [39, 69, 77, 28, -14, 26, -111, 2.35],
    [17, 64.5, 73.5, 6, -9, -4, -101, 2.35],
    [-7, 65, 70, -16, -6, -28, -86, 2.3],
    [-29, 68.5, 65.5, -37, -6, -48, -75, 2.2],
    [-48, 69.5, 60, -54, -9, -64, -69, 2.1],
    [-65, 66, 53.5, -66, -14, -77, -66, 2.0],
    [-82, 67.5, 47, -75, -20, -89, -65, 1.9],
    [-97, 58.5, 43, -85, -26, -102, -65, 1.85],
    [-100, 37, 41.5, -97, -30, -116, -66, 1.9],
    [-106, 13, 41.5, -112, -33, -132, -69, 2.0],
    [-134, 3, 43.5, -140, -36, -154, -74, 2.0],
    [-180, 5, 56, -180, -40, -180, -84, 2.0],
  ]
)
LAST = len(_ROWS) - 1
# y, height above the face and half-width of the nose; millimetres.
_NOSE = np.array(
  [
    [40, 0, 9],
    [24, 1.5, 8.5],
    [10, 6.5, 8],
    [-4, 12.5, 8.5],
    [-13, 17.5, 9.5],
    [-18.5, 18.8, 10.2],
    [-24, 15.5, 10.2],
    [-29, 6.5, 10],
    [-34, 0, 9],
  ]
)


@functools.cache
def _curves() -> tuple[interpolate.CubicSpline, ...]:
  """Splines of the front-to-back profile, the sides and the exponent."""
  front, side, back = _ROWS[:, :2], _ROWS[:, 2:5], _ROWS[:, 5:7]
  rows = np.arange(-LAST, LAST + 1)
  profile = np.concatenate([back[:0:-1], front]) / 1000
  sides = np.concatenate([side[:0:-1] * [-1, 1, 1], side]) / 1000
  exponent = interpolate.CubicSpline(np.arange(LAST + 1), _ROWS[:, 7])
  return (
    interpolate.CubicSpline(rows, profile),
    interpolate.CubicSpline(rows, sides),
    exponent,
  )


def loft(
  angle: Float[np.ndarray, "*n"], row: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n 3"]:
  """Points of the surface without features."""
  profile, sides, exponent = _curves()
  front, back, side = profile(row), profile(-row), sides(row)
  ahead = np.cos(angle) >= 0
  end = np.where(ahead[..., None], front, back)
  power = np.where(ahead, exponent(row), 2.0)
  sine, cosine = np.abs(np.sin(angle)), np.abs(np.cos(angle))
  radius = (sine**power + cosine**power) ** (-1 / power)
  x = side[..., 0] * radius * sine * np.sign(np.sin(angle) + 1e-12)
  z = side[..., 2] + (end[..., 1] - side[..., 2]) * radius * cosine
  y = side[..., 1] + (end[..., 0] - side[..., 1]) * cosine**2
  return np.stack([x, y, z], -1)


def bump(
  points: Float[np.ndarray, "*n d"],
  center: tuple[int | float, ...],
  sigma: tuple[int | float, ...],
) -> Float[np.ndarray, "*n"]:
  """A Gaussian bell of height 1 in the first coordinates; millimetres."""
  k = len(center)
  offsets = (points[..., :k] * 1000 - np.array(center)) / np.array(sigma)
  return np.exp(-0.5 * (offsets**2).sum(-1))


def smooth(
  values: np.ndarray,
  low: int | float | np.ndarray,
  high: int | float | np.ndarray,
) -> np.ndarray:
  """Smoothstep from 0 at `low` to 1 at `high` (which may be lower)."""
  t = np.clip((values - low) / (high - low), 0, 1)
  return t * t * (3 - 2 * t)


def features(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
  """Nose, sockets, brow ridge, cheekbones and chin added to the loft."""
  p = points.copy()
  at = np.stack([np.abs(p[..., 0]), p[..., 1], p[..., 2]], -1)
  y = at[..., 1] * 1000
  height = interpolate.PchipInterpolator(_NOSE[::-1, 0], _NOSE[::-1, 1])
  width = interpolate.PchipInterpolator(_NOSE[::-1, 0], _NOSE[::-1, 2])
  inside = np.clip(y, -34, 42)
  across = at[..., 0] * 1000 / width(inside)
  nose = height(inside) * np.exp(-(np.abs(across) ** 2.2))
  relief = (
    nose
    + 6.0 * bump(at, (13, -23.5), (4.6, 4.8))
    - 2.5 * bump(at, (6.5, -28.5), (2.6, 2.2))
    - 1.2 * bump(at, (20.5, -21), (3, 6))
    - 4.5 * bump(at, (33, 17), (16, 10))
    - 6.0 * bump(at, (15.5, 14), (5, 8))
    + 2.0 * bump(at, (27, 37), (17, 5))
    + 1.0 * bump(at, (0, 36), (13, 6))
    + 3.0 * bump(at, (46, -12), (13, 12))
    - 1.0 * bump(at, (0, -37), (3, 4))
    + 1.5 * bump(at, (9, -84), (9, 8))
    - 1.2 * bump(at, (31, -43), (6, 12))
  )
  ahead = smooth(at[..., 2], 0.0, 0.03)
  p[..., 2] += relief / 1000 * ahead
  # Cheekbones and temples push sideways; the tip of the nose hangs.
  side = 2.0 * bump(at, (60, -8, 25), (14, 12, 22))
  side -= 1.5 * bump(at, (66, 32, 30), (12, 14, 18))
  p[..., 0] += side / 1000 * np.sign(p[..., 0])
  p[..., 1] -= ahead * nose / 1000 * 0.32 * bump(at, (0, -25), (12, 6))
  return p


def skin(
  angle: Float[np.ndarray, "*n"], row: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n 3"]:
  """Points of the surface with its features."""
  return features(loft(angle, row))


def locate(
  targets: Float[np.ndarray, "n 2"], axes: tuple[int, int]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
  """Angles and rows where two coordinates of the loft have given values.

  Args:
    targets: wanted coordinates, metres.
    axes: which: (0, 1) looks from the front, (2, 1) from the side.
  """
  low, high = (0.0, 1.35) if axes[0] == 0 else (0.6, 2.4)
  grid = np.meshgrid(
    np.linspace(low, high, 60), np.linspace(1.5, 12, 100), indexing="ij"
  )
  known = loft(*grid)[..., axes].reshape(-1, 2)
  squared = ((targets[:, None] - known) ** 2).sum(-1)
  start = squared.argmin(1)
  angle, row = (g.ravel()[start] for g in grid)
  step = 1e-4
  for _ in range(6):
    here = loft(angle, row)[..., axes]
    by_angle = (loft(angle + step, row)[..., axes] - here) / step
    by_row = (loft(angle, row + step)[..., axes] - here) / step
    error = targets - here
    det = by_angle[:, 0] * by_row[:, 1] - by_angle[:, 1] * by_row[:, 0]
    turn = error[:, 0] * by_row[:, 1] - error[:, 1] * by_row[:, 0]
    move = by_angle[:, 0] * error[:, 1] - by_angle[:, 1] * error[:, 0]
    angle, row = angle + turn / det, row + move / det
  return angle, row


@functools.cache
def _conformal() -> interpolate.CubicSpline:
  """Log radius, by row, of a flat map that keeps angles about right."""
  rows = np.linspace(0.02, LAST, 1500)
  angles = np.linspace(0, np.pi, 61)
  points = loft(*np.meshgrid(angles, rows, indexing="xy"))
  around = np.linalg.norm(np.diff(points, axis=1), axis=-1).sum(1) / np.pi
  along = np.linalg.norm(np.diff(points, axis=0), axis=-1).mean(1)
  middle = (around[1:] + around[:-1]) / 2
  log = np.concatenate([[0.0], np.cumsum(along / middle)])
  return interpolate.CubicSpline(rows, log - log[-1])


def flatten(
  angle: Float[np.ndarray, "*n"], row: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n 2"]:
  """A flat map of the half head for triangulating: a half disk of radius 1."""
  radius = np.where(
    row < 0.02, 0.0, np.exp(_conformal()(np.maximum(row, 0.02)))
  )
  return np.stack([radius * np.sin(angle), radius * np.cos(angle)], -1)
