"""Affine maps on the host: of points, and of whole photos with Pillow.

A map is a [2, 3] matrix that takes the point p to m[:, :2] p + m[:, 2]; points
are (x, y) in pixels, pixel centres at +0.5. There is nothing to compile,
whatever the photo's size; the differentiable counterparts are in
`chibijax.ops.resample`.
"""

from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

Pixels: TypeAlias = UInt8[np.ndarray, "h w *c"] | Float32[np.ndarray, "h w *c"]


def invert(transform: Float[np.ndarray, "2 3"]) -> Float32[np.ndarray, "2 3"]:
  """The affine map that undoes another.

  Args:
    transform: a map that can be undone.

  Returns:
    Its inverse.
  """
  linear = np.linalg.inv(transform[:, :2].astype(np.float64))
  shift = -linear @ transform[:, 2]
  return np.concatenate([linear, shift[:, None]], 1).astype(np.float32)


def move(
  transform: Float[np.ndarray, "2 3"], points: Float[np.ndarray, "*n 2"]
) -> Float32[np.ndarray, "*n 2"]:
  """Takes points through an affine map.

  Args:
    transform: the map.
    points: (x, y).

  Returns:
    Where they go.
  """
  moved = points @ transform[:, :2].T.astype(np.float64) + transform[:, 2]
  return moved.astype(np.float32)


def warp(
  photo: Pixels,
  transform: Float[np.ndarray, "2 3"],
  shape: tuple[int, int],
  *,
  border: Literal["edge", "reflect"] = "edge",
) -> UInt8[np.ndarray, "h2 w2 *c"] | Float32[np.ndarray, "h2 w2 *c"]:
  """Resamples a photo by an affine map: bicubic, antialiased when it shrinks.

  Args:
    photo: grey [H, W], RGB or RGBA bytes, or float32 of any channels.
    transform: takes points of the photo to points of the result.
    shape: height and width of the result.
    border: what lies outside the photo: its nearest pixel, or its mirror image.

  Returns:
    The resampled picture; floats may leave their range by what bicubic
    interpolation overshoots.
  """
  if photo.dtype != np.uint8 and photo.ndim == 3:
    channels = [
      warp(photo[..., k], transform, shape, border=border)
      for k in range(photo.shape[2])
    ]
    return np.stack(channels, -1)
  height, width = shape
  inverse = invert(transform)
  reached = move(inverse, _corners(height, width))
  scale = min(float(np.sqrt(abs(np.linalg.det(transform[:, :2])))), 1.0)
  # Bicubic looks two pixels around; so many of the shrunk picture are needed.
  extra = int(np.ceil(3 / scale))
  x0, y0 = (np.floor(reached.min(0)).astype(int) - extra).tolist()
  x1, y1 = (np.ceil(reached.max(0)).astype(int) + extra).tolist()
  part = _cut(_cut(photo, y0, y1, 0, border), x0, x1, 1, border)
  region = Image.fromarray(np.ascontiguousarray(part))
  full = np.array(region.size)
  if scale < 1:
    small = [max(round(n * scale), 1) for n in region.size]
    region = region.resize(small, Image.Resampling.BICUBIC, reducing_gap=3.0)
  # From the result to the photo, to the region, to the shrunk region.
  step = np.array(region.size) / full
  linear = inverse[:, :2] * step[:, None]
  shift = (inverse[:, 2] - [x0, y0]) * step
  coefficients = np.concatenate([linear, shift[:, None]], 1).ravel().tolist()
  warped = region.transform(
    (width, height),
    Image.Transform.AFFINE,
    coefficients,
    Image.Resampling.BICUBIC,
  )
  return np.asarray(warped)


def window(
  transform: Float[np.ndarray, "2 3"],
  frame: tuple[int, int],
  photo: tuple[int, int],
) -> tuple[slice, slice]:
  """The rows and columns of a photo that a frame reaches.

  Args:
    transform: from the photo to the frame.
    frame: height and width of the frame.
    photo: height and width of the photo.

  Returns:
    Slices of whole pixels inside the photo; empty ones when the frame lies
    outside.
  """
  reached = move(invert(transform), _corners(*frame))
  limit = np.array(photo[::-1])
  x0, y0 = np.clip(np.floor(reached.min(0)).astype(int), 0, limit).tolist()
  x1, y1 = np.clip(np.ceil(reached.max(0)).astype(int), 0, limit).tolist()
  return slice(y0, y1), slice(x0, x1)


def moved(
  transform: Float[np.ndarray, "2 3"], x: int, y: int
) -> Float32[np.ndarray, "2 3"]:
  """A map whose results have (x, y) for their origin."""
  return (transform - np.array([[0, 0, x], [0, 0, y]])).astype(np.float32)


def covered(
  transform: Float[np.ndarray, "2 3"],
  corner: tuple[int, int],
  shape: tuple[int, int],
  size: tuple[int, int],
) -> Float32[np.ndarray, "h w"]:
  """How much of each pixel of a region the frame covers, about.

  One inside, zero outside, linear over a pixel at the frame's border, so that
  what `warp` repeats beyond the border is not pasted.
  """
  rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
  start = move(transform, np.array(corner, np.float64))
  scale = np.sqrt(abs(np.linalg.det(transform[:, :2])))
  share = np.ones(shape, np.float32)
  for line, offset, limit in zip(transform, start, size):
    # The distance to the nearer of two opposite borders, in pixels of the
    # photo; in place, as a region may have millions of pixels.
    value = np.add.outer(
      np.float32(line[1] * rows + offset - limit / 2),
      np.float32(line[0] * columns),
    )
    np.abs(value, out=value)
    np.subtract(limit / 2, value, out=value)
    value /= scale
    value += 0.5
    share *= np.clip(value, 0, 1, out=value)
  return share


def eased(x: np.ndarray) -> np.ndarray:
  """A share in [0, 1] with a smooth beginning and end, 3 x^2 - 2 x^3."""
  return x * x * (3 - 2 * x)


def _corners(height: int, width: int) -> Float[np.ndarray, "4 2"]:
  return np.array([[0, 0], [width, 0], [0, height], [width, height]], float)


def _cut(
  photo: np.ndarray, start: int, stop: int, axis: int, border: str
) -> np.ndarray:
  """Rows or columns of a photo, also beyond its borders.

  What lies inside is a slice: picking it by indices takes ten times as long.
  """
  size = photo.shape[axis]
  first, last = np.clip((start, stop), 0, size)
  parts = [
    np.take(photo, _inside(np.arange(*ends), size, border), axis)
    if outside
    else (photo[slice(*ends)] if axis == 0 else photo[:, slice(*ends)])
    for ends, outside in (
      ((start, min(stop, first)), True),
      ((first, last), False),
      ((max(start, last), stop), True),
    )
    if ends[0] < ends[1]
  ]
  return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)


def _inside(index: np.ndarray, size: int, border: str) -> np.ndarray:
  """Indices beyond a row of pixels as indices into it."""
  if border == "reflect":
    turn = index % (2 * size)
    return np.minimum(turn, 2 * size - 1 - turn)
  return np.clip(index, 0, size - 1)
