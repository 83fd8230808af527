"""Blurs that a picture's edges survive, and plain ones.

Windows are clipped at the frame: near it, means are over the pixels there are.
Sizes are in pixels unless said otherwise. All functions are differentiable and
can be traced with `jax.jit` and `jax.vmap` (sizes are static).
"""

import functools
import math
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Number: TypeAlias = float | int
Picture: TypeAlias = Float[np.ndarray | Array, "h w c"]

# Radius that windows of `smooth` have on the smaller picture it works on.
_WORKING_RADIUS = 2
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def split_alpha(
  image: Picture,
) -> tuple[Float[Array, "h w 3"], Float[Array, "h w 1"] | None]:
  """Splits RGB from alpha, which is None of a picture with three channels.

  Raises:
    ValueError: if the picture has neither three nor four channels.
  """
  if image.shape[-1] not in (3, 4):
    raise ValueError(f"image must have 3 or 4 channels; got {image.shape}")
  image = jnp.asarray(image, jnp.float32)
  return image[..., :3], (image[..., 3:] if image.shape[-1] == 4 else None)


def box(planes: Float[Array, "h w c"], radius: int) -> Float[Array, "h w c"]:
  """Means over squares of (2 radius + 1)^2 pixels.

  Sums of shifted pictures: for the small radii used here, faster on XLA:CPU
  than cumulative sums, and exact in float32, which those are not.
  """
  if radius == 0:
    return planes
  for axis in (0, 1):
    size = planes.shape[axis]
    count = np.convolve(np.ones(size), np.ones(2 * radius + 1))
    count = jnp.asarray(count[radius : radius + size], jnp.float32)
    total = _correlate(planes, (1.0,) * (2 * radius + 1), axis, edge=False)
    planes = total / jnp.expand_dims(count, (1 - axis, 2))
  return planes


def gaussian(
  planes: Float[Array, "h w c"], sigma: Number
) -> Float[Array, "h w c"]:
  """Gaussian blur; wide ones are made on a smaller picture.

  Args:
    planes: any number of channels.
    sigma: standard deviation in pixels; 0 changes nothing.

  Returns:
    The blurred planes; beyond the frame its outermost pixels go on.
  """
  if sigma <= 0:
    return planes
  height, width, channels = planes.shape
  factor = max(1, min(int(sigma / 2.5), height // 8, width // 8))
  if factor > 1:
    small = gaussian(shrink(planes, factor), sigma / factor)
    return enlarge(small, factor, (height, width, channels))
  radius = max(1, math.ceil(2.5 * sigma))
  taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
  taps = tuple((taps / taps.sum()).tolist())
  for axis in (0, 1):
    planes = _correlate(planes, taps, axis, edge=True)
  return planes


def _correlate(
  planes: Float[Array, "h w c"],
  taps: tuple[float, ...],
  axis: int,
  *,
  edge: bool,
) -> Float[Array, "h w c"]:
  radius, size = len(taps) // 2, planes.shape[axis]
  pads = [(0, 0)] * planes.ndim
  pads[axis] = (radius, radius)
  padded = jnp.pad(planes, pads, mode="edge" if edge else "constant")
  parts = (
    jax.lax.slice_in_dim(padded, k, k + size, axis=axis) * tap
    for k, tap in enumerate(taps)
  )
  return sum(parts, jnp.zeros_like(planes))


def shrink(planes: Float[Array, "h w c"], factor: int) -> Float[Array, "..."]:
  """Means of squares of `factor` pixels; the last ones hold what is left."""
  height, width, channels = planes.shape
  pads = (-height % factor, -width % factor)
  planes = jnp.pad(planes, ((0, pads[0]), (0, pads[1]), (0, 0)), mode="edge")
  rows, columns = planes.shape[0] // factor, planes.shape[1] // factor
  blocks = planes.reshape(rows, factor, columns, factor, channels)
  return blocks.mean((1, 3))


def enlarge(
  planes: Float[Array, "h w c"], factor: int, shape: tuple[int, int, int]
) -> Float[Array, "..."]:
  """Bilinear inverse of `shrink` for a picture of `shape`."""
  rows, columns, channels = planes.shape
  full = (rows * factor, columns * factor, channels)
  found = jax.image.resize(planes, full, "bilinear")
  return found[: shape[0], : shape[1]]


@functools.partial(jax.jit, static_argnames=("radius", "subsample"))
def guided_filter(
  image: Float[Array, "h w c"],
  guide: Float[Array, "h w 3"],
  *,
  radius: int,
  epsilon: Number | Float[Array, ""],
  subsample: int = 1,
) -> Float[Array, "h w c"]:
  """Smooths a picture where a colour guide is smooth (He, Sun, Tang 2010).

  In every window the result is an affine function of the guide's colour, with
  a ridge of `epsilon` on its slopes: variation far below sqrt(epsilon) is
  smoothed, far above it is kept.

  Args:
    image: what is filtered, any channels.
    guide: three channels; often the picture itself.
    radius: of the square windows, pixels.
    epsilon: ridge, in squared units of the guide.
    subsample: the functions are found on a picture smaller by this factor (He
      and Sun 2015, the "fast guided filter"); 1 is the exact filter.

  Returns:
    The filtered picture.
  """
  shape = image.shape
  small_guide, small = guide, image
  if subsample > 1:
    small_guide, small = shrink(guide, subsample), shrink(image, subsample)
  reach = max(1, round(radius / subsample))
  slopes, offset = _affine(small, small_guide, reach, epsilon)
  stacked = jnp.concatenate([*slopes, offset], -1)
  stacked = box(stacked, reach)
  if subsample > 1:
    stacked = enlarge(stacked, subsample, (*shape[:2], stacked.shape[-1]))
  *slopes, offset = jnp.split(stacked, 4, axis=-1)
  return sum(
    (slope * guide[..., k : k + 1] for k, slope in enumerate(slopes)), offset
  )


def _affine(
  image: Float[Array, "h w c"],
  guide: Float[Array, "h w 3"],
  radius: int,
  epsilon: Number | Float[Array, ""],
) -> tuple[list[Float[Array, "h w c"]], Float[Array, "h w c"]]:
  """Slopes for the guide's three channels, and offsets, of each window."""
  channels = image.shape[-1]
  # Variances of values near 1 lose digits; of centred ones they do not.
  level = jax.lax.stop_gradient(guide.mean((0, 1), keepdims=True))
  base = jax.lax.stop_gradient(image.mean((0, 1), keepdims=True))
  g, p = guide - level, image - base
  products = [g[..., i] * g[..., j] for i, j in _PAIRS]
  cross = [g[..., k : k + 1] * p for k in range(3)]
  planes = jnp.concatenate([g, p, jnp.stack(products, -1), *cross], -1)
  means = box(planes, radius)
  mg, mp, mgg, mgp = jnp.split(means, [3, 3 + channels, 9 + channels], axis=-1)
  ridge = jnp.asarray(epsilon, jnp.float32)
  rr, rg, rb, gg, gb, bb = (
    mgg[..., n] - mg[..., i] * mg[..., j] + (ridge if i == j else 0.0)
    for n, (i, j) in enumerate(_PAIRS)
  )
  # The symmetric 3 x 3 matrix is inverted by its cofactors.
  inverse = [
    [gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb],
    [gb * rb - rg * bb, rr * bb - rb * rb, rb * rg - rr * gb],
    [rg * gb - gg * rb, rb * rg - rr * gb, rr * gg - rg * rg],
  ]
  determinant = rr * inverse[0][0] + rg * inverse[0][1] + rb * inverse[0][2]
  covariance = [
    part - mg[..., k : k + 1] * mp
    for k, part in enumerate(jnp.split(mgp, 3, axis=-1))
  ]
  scale = 1 / jnp.maximum(determinant, 1e-20)
  slopes = [
    sum((row[k] * scale)[..., None] * covariance[k] for k in range(3))
    for row in inverse
  ]
  offset = mp + base
  for k, slope in enumerate(slopes):
    offset = offset - slope * (mg + level)[..., k : k + 1]
  return slopes, offset


def smooth(
  image: Picture, *, strength: Number = 0.5, radius: Number = 0.012
) -> Float[Array, "h w c"]:
  """Smooths skin and small texture, keeps outlines.

  The fast guided filter by the picture itself, twice: what the first pass
  flattened no longer guides the second.

  Args:
    image: [0, 1], three or four channels; alpha is kept.
    strength: 0 changes nothing; 0.5 takes pores and noise; 1 leaves areas.
    radius: of the windows, in shares of the longer side.

  Returns:
    The picture.

  Raises:
    ValueError: if `strength` is not in [0, 1] or `radius` not in (0, 0.1].
  """
  if not 0 <= strength <= 1:
    raise ValueError(f"strength must be in [0, 1]; got {strength!r}")
  if not 0 < radius <= 0.1:
    raise ValueError(f"radius must be in (0, 0.1]; got {radius!r}")
  picture, alpha = split_alpha(image)
  if strength == 0:
    return jnp.asarray(image, jnp.float32)
  pixels = max(1, round(radius * max(image.shape[:2])))
  epsilon = jnp.float32((0.16 * strength) ** 2)
  found = _smooth(picture, alpha, epsilon, pixels)
  return found if alpha is None else jnp.concatenate([found, alpha], -1)


@functools.partial(jax.jit, static_argnames=("radius",))
def _smooth(
  picture: Float[Array, "h w 3"],
  alpha: Float[Array, "h w 1"] | None,
  epsilon: Float[Array, ""],
  radius: int,
) -> Float[Array, "h w 3"]:
  subsample = max(1, radius // _WORKING_RADIUS)
  if alpha is not None:
    # Hidden colour must not bleed into what is seen.
    blurred = gaussian(
      jnp.concatenate([picture * alpha, alpha], -1), 2 * radius
    )
    around = blurred[..., :3] / jnp.maximum(blurred[..., 3:], 1e-3)
    filled = picture * alpha + around * (1 - alpha)
  else:
    filled = picture
  found = filled
  for _ in range(2):
    found = guided_filter(
      filled, found, radius=radius, epsilon=epsilon, subsample=subsample
    )
  found = jnp.clip(found, 0, 1)
  return found if alpha is None else jnp.where(alpha > 0, found, picture)
