"""Pictures in bands of detail, and what is smooth between given values.

Pictures are float32 [h, w, c] of any range and size. Each level of a pyramid
has half the rows and columns of the one before, rounded up (Burt and Adelson
1983, "The Laplacian pyramid as a compact image code").
"""

import numpy as np
from jaxtyping import Float

# The binomial filter next to Burt and Adelson's a = 0.4.
_KERNEL = np.array([1, 4, 6, 4, 1], np.float32) / 16
# Rounds of relaxation on each level of a membrane.
_ROUNDS = 12
# Membranes are smooth: their finest level has at most so many pixels a side.
_FINEST = 192


def reduce(image: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "h2 w2 c"]:
  """Smooths a picture and takes every other pixel.

  Args:
    image: [h, w, c].

  Returns:
    [ceil(h / 2), ceil(w / 2), c].
  """
  for axis in (0, 1):
    image = _filtered(image, axis)
    image = image[::2] if axis == 0 else image[:, ::2]
  return image


def expand(
  image: Float[np.ndarray, "h w c"], shape: tuple[int, int]
) -> Float[np.ndarray, "h2 w2 c"]:
  """The inverse of `reduce`, but for the detail it lost.

  Args:
    image: [h, w, c].
    shape: height and width of the result, which `reduce` made h and w of.

  Returns:
    [*shape, c].
  """
  for axis, size in enumerate(shape):
    image = _doubled(image, axis, size)
  return image


def blend(
  a: Float[np.ndarray, "h w c"],
  b: Float[np.ndarray, "h w c"],
  share: Float[np.ndarray, "h w 1"],
  levels: int,
) -> Float[np.ndarray, "h w c"]:
  """Mixes two pictures band by band, each over a width of its own.

  Args:
    a: where `share` is 0.
    b: where it is 1.
    share: how much of `b` is used.
    levels: how often the size is halved, >= 0; colours mix over about
      2^(levels + 1) pixels.

  Returns:
    The mixture; it may leave the range of both by what bands overshoot.
  """
  if levels == 0 or min(a.shape[:2]) < 4:
    return a + (b - a) * share
  small_a, small_b, small_share = reduce(a), reduce(b), reduce(share)
  shape = a.shape[:2]
  detail_a = a - expand(small_a, shape)
  detail_b = b - expand(small_b, shape)
  coarse = blend(small_a, small_b, small_share, levels - 1)
  return expand(coarse, shape) + detail_a + (detail_b - detail_a) * share


def membrane(
  values: Float[np.ndarray, "h w c"], weight: Float[np.ndarray, "h w 1"]
) -> Float[np.ndarray, "h w c"]:
  """The smoothest surface through values that are known in some places.

  Laplace's equation where the weight is 0, approximately: from the coarsest
  level to finer ones, each starting from the one before and relaxed a little
  (nested iteration). Where the weight is not 0 the value counts.

  Args:
    values: what is known.
    weight: how well, >= 0; somewhere above 0.

  Returns:
    A surface that is defined everywhere.
  """
  shape = values.shape[:2]
  if max(shape) > _FINEST:
    return expand(_membrane_half(values, weight), shape)
  return _relaxed(values, weight)


def _membrane_half(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
  small = reduce(weight)
  known = reduce(values * weight) / np.maximum(small, 1e-12)
  return membrane(known, small)


def _relaxed(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
  shape = values.shape[:2]
  if max(shape) <= 2:
    total = np.maximum(weight.sum((0, 1)), 1e-12)
    mean = (values * weight).sum((0, 1)) / total
    return np.broadcast_to(mean, values.shape).astype(np.float32)
  small = reduce(weight)
  known = reduce(values * weight) / np.maximum(small, 1e-12)
  surface = expand(_relaxed(known, small), shape)
  # What is known well stays; relative to the best known, as levels dilute it.
  hold = weight / max(float(weight.max()), 1e-12)
  hold = hold / (hold + 0.02)
  for _ in range(_ROUNDS):
    padded = np.pad(surface, ((1, 1), (1, 1), (0, 0)), mode="edge")
    mean = (
      padded[:-2, 1:-1]
      + padded[2:, 1:-1]
      + padded[1:-1, :-2]
      + padded[1:-1, 2:]
    ) / 4
    surface = mean + (values - mean) * hold
  return surface.astype(np.float32)


def box_blur(
  image: Float[np.ndarray, "h w c"], radius: int
) -> Float[np.ndarray, "h w c"]:
  """The mean over squares; the picture is continued by its edge.

  Args:
    image: [h, w, c].
    radius: a square has 2 radius + 1 pixels a side, radius >= 0.

  Returns:
    The same shape.
  """
  width = 2 * radius + 1
  for axis in (0, 1):
    pad = [(0, 0)] * 3
    pad[axis] = radius + 1, radius
    sums = np.cumsum(np.pad(image, pad, mode="edge"), axis, dtype=np.float64)
    high = np.take(sums, np.arange(width, sums.shape[axis]), axis)
    low = np.take(sums, np.arange(sums.shape[axis] - width), axis)
    image = ((high - low) / width).astype(np.float32)
  return image


def _filtered(image: np.ndarray, axis: int) -> np.ndarray:
  pad = [(0, 0)] * 3
  pad[axis] = 2, 2
  padded = np.pad(image, pad, mode="edge")
  size = image.shape[axis]
  result = np.zeros_like(image)
  for k, factor in enumerate(_KERNEL):
    part = padded[k : k + size] if axis == 0 else padded[:, k : k + size]
    result += factor * part
  return result


def _doubled(image: np.ndarray, axis: int, size: int) -> np.ndarray:
  """Twice the pixels along an axis, cut to `size`."""
  pad = [(0, 0)] * 3
  pad[axis] = 1, 1
  padded = np.moveaxis(np.pad(image, pad, mode="edge"), axis, 0)
  even = (padded[:-2] + 6 * padded[1:-1] + padded[2:]) / 8
  odd = (padded[1:-1] + padded[2:]) / 2
  shape = (2 * len(even), *even.shape[1:])
  both = np.stack([even, odd], 1).reshape(shape)[:size]
  return np.moveaxis(both, 0, axis)
