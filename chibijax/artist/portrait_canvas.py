"""Antialiased shapes on NumPy planes, and curves to build them from.

Conventions: points are [N, 2] (u, v) in face units: the origin between the
eyes, u right, v down, one unit is half the width of an average face. `FRAME`
places them in the picture. Pillow fills the polygons: unlike Skia it needs no
system library, and shapes this small are cheap at a fourfold oversampling.
"""

import dataclasses
import functools
import math

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageDraw, ImageFilter

# One face unit as a share of the picture, and where the origin lies in it:
# the framing of an aligned head-and-shoulders portrait.
UNIT = 0.208
CENTER = (0.5, 0.478)

# Lists of them hold different numbers of points, hence the "_".
Points = Float32[np.ndarray, "_ 2"]


@dataclasses.dataclass(frozen=True)
class Grid:
  """Coordinates of pixel centres in face units.

  Attributes:
    size: pixels along a side.
    pixel: the size of a pixel in face units.
    u: [1, size] and v: [size, 1], or [rows, 1] of the lower part of a grid.
    top: the first row.
  """

  size: int
  pixel: float
  u: np.ndarray
  v: np.ndarray
  top: int = 0

  def below(self, v: float) -> "Grid":
    """The rows of the grid below a height."""
    top = int(np.searchsorted(self.v[:, 0], v))
    return dataclasses.replace(self, v=self.v[top:], top=top)


@functools.lru_cache(maxsize=8)
def grid(size: int) -> Grid:
  """The (cached) grid of a square canvas."""
  x = (np.arange(size, dtype=np.float32) + 0.5) / size
  u = (x - CENTER[0]) / UNIT
  v = (x - CENTER[1]) / UNIT
  return Grid(size, 1 / (UNIT * size), u[None], v[:, None])


def to_pixels(points: np.ndarray, size: int) -> np.ndarray:
  """Face units to pixels (pixel centres at +0.5)."""
  return (points * UNIT + np.array(CENTER, np.float32)) * np.float32(size)


@functools.lru_cache(maxsize=128)
def _spline_matrix(count: int, closed: bool, steps: int) -> np.ndarray:
  """Weights [points of the curve, count] of the Catmull-Rom knots."""
  t = np.arange(steps) / steps
  basis = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3]
  basis += [t + 4 * t**2 - 3 * t**3, -(t**2) + t**3]
  spans = count if closed else count - 1
  out = np.zeros((spans, steps, count))
  for span in range(spans):
    for k, weights in enumerate(basis):
      knot = span + k - 1
      # An open curve repeats its ends.
      knot = knot % count if closed else min(max(knot, 0), count - 1)
      out[span, :, knot] += 0.5 * weights
  out = out.reshape(-1, count)
  if not closed:
    out = np.concatenate([out, np.eye(count)[-1:]])
  return out.astype(np.float32)


def spline(
  points: np.ndarray | list,
  *,
  closed: bool = False,
  steps: int = 6,
) -> Points:
  """Catmull-Rom curve through the points, flattened to a polyline."""
  p = np.asarray(points, np.float32)
  return _spline_matrix(len(p), closed, steps) @ p


def mirror(points: np.ndarray | list) -> Points:
  """Reflects points in the face's midline, keeping their order."""
  out = np.array(points, np.float32)
  out[..., 0] *= -1
  return out


def ellipse(u: float, v: float, a: float, b: float, n: int = 28) -> Points:
  """Polygon of an ellipse."""
  # The multiplication leaves float32 from float64 factors.
  return (_circle(n) * (a, b) + (u, v)).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _circle(n: int) -> np.ndarray:
  t = np.linspace(0, 2 * np.pi, n, endpoint=False)
  return np.stack([np.cos(t), np.sin(t)], 1).astype(np.float32)


@functools.lru_cache(maxsize=128)
def _swell(n: int, start: float, end: float) -> np.ndarray:
  t = np.linspace(0, 1, n)
  return np.interp(t, [0, 0.35, 0.65, 1], [start, 1, 1, end]).astype(np.float32)


@functools.lru_cache(maxsize=128)
def _neighbours(count: int) -> tuple[np.ndarray, np.ndarray]:
  at = np.arange(count)
  return np.minimum(at + 1, count - 1), np.maximum(at - 1, 0)


def stroke(
  curve: np.ndarray, width: float, start: float = 1.0, end: float = 1.0
) -> Points:
  """Outline of a tapered stroke along a polyline.

  Args:
    curve: [N, 2] polyline.
    width: full width in the middle.
    start: width at the first point, relative to `width`.
    end: width at the last point, relative to `width`.
  """
  curve = np.asarray(curve, np.float32)
  count = len(curve)
  after, before = _neighbours(count)
  step = curve.take(after, 0)
  step -= curve.take(before, 0)
  x, y = step[:, 0], step[:, 1]
  scale = _swell(count, start, end) * np.float32(0.5 * width)
  scale /= np.sqrt(x * x + y * y) + np.float32(1e-6)
  out = np.concatenate([curve, curve[::-1]])
  x, y = x * scale, y * scale
  out[:count, 0] -= y
  out[:count, 1] += x
  out[count:, 0] += y[::-1]
  out[count:, 1] -= x[::-1]
  return out


class Canvas:
  """Rasterises polygons given in face units on a square canvas."""

  def __init__(self, size: int):
    self.size = size
    self._shift = np.array(CENTER, np.float32) * np.float32(size)

  def coverage(
    self, *polygons: np.ndarray, blur: float = 0.0
  ) -> tuple[tuple[slice, slice], Float32[np.ndarray, "h w"]] | None:
    """Coverage of the union of polygons, on its bounding box only.

    Args:
      *polygons: closed outlines in face units.
      blur: softness of the edge in face units.

    Returns:
      The box (row and column slices) and the coverage 0..1 in it, or None
      where nothing lies in the picture.
    """
    pixels = np.concatenate(polygons) if len(polygons) > 1 else polygons[0]
    pixels = pixels * np.float32(UNIT * self.size) + self._shift
    soft = blur * UNIT * self.size
    margin = 1 + math.ceil(2 * soft)
    low, high = pixels.min(0).tolist(), pixels.max(0).tolist()
    x0, y0 = (max(math.floor(v) - margin, 0) for v in low)
    x1, y1 = (min(math.ceil(v) + margin, self.size) for v in high)
    if x1 <= x0 or y1 <= y0:
      return None
    # Small shapes need finer sampling than large ones.
    area = (x1 - x0) * (y1 - y0)
    fine = 4 if area <= 1024 else 3 if area <= 4096 else 2
    image = Image.new("L", ((x1 - x0) * fine, (y1 - y0) * fine))
    draw = ImageDraw.Draw(image)
    # Pillow's pixel centres are at integers.
    pixels -= (x0 + 0.5 / fine, y0 + 0.5 / fine)
    pixels *= fine
    flat = pixels.ravel().tolist()
    start = 0
    for p in polygons:
      end = start + 2 * len(p)
      draw.polygon(flat[start:end], fill=255)
      start = end
    image = image.reduce(fine)
    # The reduction's box softens as much as a Gaussian of 0.3 pixels.
    if soft > 0.45:
      image = image.filter(ImageFilter.GaussianBlur(soft))
    out = np.frombuffer(image.tobytes(), np.uint8).astype(np.float32)
    out *= np.float32(1 / 255)
    return (slice(y0, y1), slice(x0, x1)), out.reshape(y1 - y0, x1 - x0)

  def mask(
    self, *polygons: np.ndarray, blur: float = 0.0
  ) -> Float32[np.ndarray, "size size"]:
    """Coverage of the union of polygons on the whole canvas."""
    out = np.zeros((self.size, self.size), np.float32)
    part = self.coverage(*polygons, blur=blur)
    if part is not None:
      out[part[0]] = part[1]
    return out


def paint(
  planes: Float32[np.ndarray, "... h w"],
  part: tuple[tuple[slice, slice], np.ndarray] | None,
  value: np.ndarray | list[float] | float,
  opacity: float = 1.0,
) -> None:
  """Blends a value (a colour for [3, H, W] planes) through a coverage."""
  if part is None:
    return
  (rows, columns), cover = part
  target = planes[..., rows, columns]
  if opacity != 1:
    cover = cover * np.float32(opacity)
  value = np.asarray(value, np.float32)
  if value.ndim == 0 and not value:
    target *= 1 - cover
    return
  if value.ndim == 1:
    value = value[:, None, None]
  target += (value - target) * cover
