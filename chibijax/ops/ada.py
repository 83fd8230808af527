"""The augmentations of ADA (Karras et al. 2020b, section 2.2 and appendix B).

Each change is made with probability p to each picture alone, from its own key,
so that a batch may be split over devices; at p = 0 nothing changes, to the bit.
Because each is as likely to be left out (p below about 0.8), a generator cannot
hide its own flaws behind them: they do not leak. All are differentiable in the
pictures.

Blits (mirror, quarter turns, whole pixels), then geometry (size, turns,
stretch, fractions of pixels), then colours. Blits and geometry become one
affine map, looked up bilinearly with mirrored borders; the paper's wavelet
filter before and after it is left out.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from chibijax.ops import resample

# Draws of one picture, of each kind: whether, how (uniform), how (normal).
_CHOICES = 13
_LUMA = 1 / math.sqrt(3)


def ada(
  keys: Key[Array, " b"],
  images: Float[Array, "b h w 3"],
  p: Float[Array, ""],
) -> Float[Array, "b h w 3"]:
  """Changes pictures at random.

  Args:
    keys: one for each picture.
    images: pictures in [-1, 1]; the results may leave that range.
    p: probability of each change.

  Returns:
    The changed pictures.

  Raises:
    ValueError: if the pictures are not square.
  """
  if images.shape[1] != images.shape[2]:
    raise ValueError(f"ada needs square pictures, got {images.shape}.")

  def one(key: Key[Array, ""], x: Array) -> Array:
    # One draw for all: each compiles for long on CPUs.
    draws = jax.random.uniform(key, (3, _CHOICES))
    apply, uniform = draws[0] < p, draws[1]
    normal = jnp.sqrt(2.0) * jax.lax.erf_inv(2 * (draws[2] * 0.9999999) - 1)
    # Two turns around the stretch: together as likely as one change.
    turns = draws[0, 11:] < 1 - jnp.sqrt(jnp.maximum(1 - p, 0))
    x = _moved(x, _geometry(x.shape[0], apply, turns, uniform, normal))
    return _colored(x, _colors(apply, uniform, normal))

  return jax.vmap(one)(keys, images)


def _geometry(
  side: int, apply: Array, turns: Array, uniform: Array, normal: Array
) -> Float[Array, "3 3"]:
  """Where a point of the result, from the centre, is in the picture."""

  def scale(x: Array, y: Array) -> Array:
    return jnp.diag(jnp.stack([x, y, jnp.ones(())]))

  def turn(angle: Array) -> Array:
    c, s, o = jnp.cos(angle), jnp.sin(angle), jnp.zeros(())
    rows = [[c, -s, o], [s, c, o], [o, o, o + 1]]
    return jnp.stack([jnp.stack(row) for row in rows])

  def shift(by: Array) -> Array:
    return jnp.eye(3).at[:2, 2].set(by)

  one = jnp.ones(())
  mirror = jnp.where(apply[0] & (uniform[0] < 0.5), -1.0, one)
  quarters = jnp.where(apply[1], jnp.floor(4 * uniform[1]), 0.0)
  # Exact, so that blits stay blits.
  cosine = jnp.array([1.0, 0.0, -1.0, 0.0])[quarters.astype(int)]
  sine = jnp.array([0.0, 1.0, 0.0, -1.0])[quarters.astype(int)]
  quarter = jnp.eye(3)
  quarter = quarter.at[0, 0].set(cosine).at[1, 1].set(cosine)
  quarter = quarter.at[0, 1].set(-sine).at[1, 0].set(sine)
  pixels = jnp.round((uniform[2:4] * 2 - 1) * 0.125 * side)
  size = jnp.where(apply[3], jnp.exp2(0.2 * normal[0]), 1.0)
  stretch = jnp.where(apply[4], jnp.exp2(0.2 * normal[1]), 1.0)
  angles = jnp.where(turns, (uniform[4:6] * 2 - 1) * jnp.pi, 0.0)
  fraction = jnp.where(apply[5], normal[2:4] * 0.125 * side, 0.0)
  parts = (
    scale(mirror, one),
    quarter,
    shift(jnp.where(apply[2], pixels, 0.0)),
    scale(size, size),
    turn(angles[0]),
    scale(stretch, 1 / stretch),
    turn(angles[1]),
    shift(fraction),
  )
  whole = parts[0]
  for part in parts[1:]:
    whole = _product(whole, part)
  return whole


def _moved(
  x: Float[Array, "h w c"], inverse: Float[Array, "3 3"]
) -> Float[Array, "h w c"]:
  """Looks a picture up where the map, around its centre, says."""
  side = x.shape[0]
  centre = side / 2
  places = jnp.arange(side, dtype=jnp.float32) + 0.5 - centre
  grid = jnp.stack(jnp.meshgrid(places, places), -1)
  points = resample.apply_affine(inverse[:2], grid) + centre
  return resample.bilinear(x, points, border="reflect")


def _colors(apply: Array, uniform: Array, normal: Array) -> Float[Array, "3 4"]:
  """What becomes of a colour: a matrix, and a column that is added."""
  grey = jnp.full((3, 3), 1 / 3)
  eye = jnp.eye(3)
  brightness = jnp.where(apply[6], 0.2 * normal[4], 0.0)
  contrast = jnp.where(apply[7], jnp.exp2(0.5 * normal[5]), 1.0)
  flip = jnp.where(apply[8] & (uniform[8] < 0.5), 2.0, 0.0)
  angle = jnp.where(apply[9], (uniform[9] * 2 - 1) * jnp.pi, 0.0)
  saturation = jnp.where(apply[10], jnp.exp2(normal[6]), 1.0)
  c, s = jnp.cos(angle), jnp.sin(angle)
  # Rodrigues: a turn about the grey axis.
  cross = _LUMA * jnp.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
  hue = c * eye + s * cross + (1 - c) * grey
  vivid = jnp.where(saturation == 1.0, eye, grey + (eye - grey) * saturation)
  matrix = contrast * eye
  for part in (eye - flip * grey, hue, vivid):
    matrix = _product(part, matrix)
  # The brightness comes first of all, so it goes through the rest.
  added = (matrix * (brightness * jnp.ones((1, 3)))).sum(1)
  return jnp.concatenate([matrix, added[:, None]], 1)


def _colored(
  x: Float[Array, "h w 3"], change: Float[Array, "3 4"]
) -> Float[Array, "h w 3"]:
  # Written out: a matrix product may lose precision on accelerators.
  rows = change.reshape(3, 1, 1, 4)
  parts = [
    x[..., 0] * r[..., 0] + x[..., 1] * r[..., 1] + x[..., 2] * r[..., 2]
    + r[..., 3]
    for r in rows
  ]  # fmt: skip
  return jnp.stack(parts, -1)


def _product(a: Array, b: Array) -> Array:
  return jnp.matmul(a, b, precision="highest")
