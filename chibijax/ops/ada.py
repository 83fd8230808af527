"""The augmentations of ADA (Karras et al. 2020b, section 2.2 and appendix B).

Each change is made with probability p to each picture alone, from its own key,
so that a batch may be split over devices; at p = 0 nothing changes, to the bit.
Because each is as likely to be left out (p below about 0.8), a generator cannot
hide its own flaws behind them: they do not leak. All are differentiable in the
pictures, any number of times in reverse mode.

The categories, in the order in which they are used:

* blit: mirror, quarter turns, whole pixels. Copies pixels.
* geom: size, turns, stretch, fractions of pixels, in one map with the blits and
  resampled through sym6 (`ops.wavelets.warp`).
* color: brightness, contrast, luma flip, hue, saturation, in one matrix.
* filter: four bands of frequencies, made of sym2 (`ops.wavelets.amplify`).
* noise: of a size drawn for each picture.
* cutout: a rectangle of half the sides, blanked.

Ranges are the paper's, for pictures in [-1, 1].

"bgc" of 16 pictures of 64 px at p = 0.2 takes 23 ms of one thread of a busy CPU
and 29 ms with the gradient; at p = 1, 24 and 40 ms.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from chibijax.ops import wavelets

# Names of what the paper compares; it found "bgc" best for most data.
PIPELINES = {
  "blit": ("blit",),
  "geom": ("geom",),
  "color": ("color",),
  "filter": ("filter",),
  "noise": ("noise",),
  "cutout": ("cutout",),
  "bg": ("blit", "geom"),
  "bgc": ("blit", "geom", "color"),
  "bgcf": ("blit", "geom", "color", "filter"),
  "bgcfn": ("blit", "geom", "color", "filter", "noise"),
  "bgcfnc": ("blit", "geom", "color", "filter", "noise", "cutout"),
}

# Draws of one picture, of each kind: whether, how (uniform), how (normal).
# 0 to 2 blits, 3 to 5 and 11, 12 geometry, 6 to 10 colours, 13 to 16 bands, 17
# noise, 18 cutout.
_CHOICES = 19
_LUMA = 1 / math.sqrt(3)
# What the bands of natural pictures have of their power.
_POWER = np.array([10.0, 1.0, 1.0, 1.0]) / 13


def ada(
  keys: Key[Array, " b"],
  images: Float[Array, "b h w 3"],
  p: Float[Array, ""],
  categories: tuple[str, ...] = PIPELINES["bgc"],
) -> Float[Array, "b h w 3"]:
  """Changes pictures at random.

  Args:
    keys: one for each picture.
    images: pictures in [-1, 1]; the results may leave that range.
    p: probability of each change.
    categories: which changes, see `PIPELINES`; their order does not matter.

  Returns:
    The changed pictures.

  Raises:
    ValueError: if the pictures are not square, or for an unknown category.
  """
  if images.shape[1] != images.shape[2]:
    raise ValueError(f"ada needs square pictures, got {images.shape}.")
  if unknown := set(categories) - set(PIPELINES["bgcfnc"]):
    raise ValueError(
      f"unknown categories {sorted(unknown)}, expected of "
      f"{PIPELINES['bgcfnc']}."
    )

  draws = jax.vmap(_draw, (0, None))(keys, p)
  images = _placed(draws, images, categories)

  def one(key: Key[Array, ""], draws: _Draws, x: Array) -> Array:
    apply, _, uniform, normal = draws
    if "color" in categories:
      x = _colored(x, _colors(apply, uniform, normal))
    if "filter" in categories:
      gains = _gains(apply[13:17], normal[13:17])
      x = jnp.where(apply[13:17].any(), wavelets.amplify(x, gains), x)
    if "noise" in categories:
      size = jnp.where(apply[17], 0.1 * jnp.abs(normal[17]), 0.0)
      noise = jax.random.normal(jax.random.fold_in(key, 1), x.shape)
      x = x + size * noise
    if "cutout" in categories:
      inside = _rectangle(x.shape[0], uniform[17:19])
      x = jnp.where(apply[18] & inside, 0.0, x)
    return x

  return jax.vmap(one)(keys, draws, images)


class _Draws(NamedTuple):
  """What one picture draws: whether, whether to turn, and how much."""

  apply: Bool[Array, "*b 19"]
  turns: Bool[Array, "*b 2"]
  uniform: Float[Array, "*b 19"]
  normal: Float[Array, "*b 19"]


def _draw(key: Key[Array, ""], p: Float[Array, ""]) -> _Draws:
  # One draw for all: each compiles for long on CPUs.
  draws = jax.random.uniform(key, (3, _CHOICES))
  # From the middle of the draws' steps: 0 would be infinitely far out.
  normal = jnp.sqrt(2.0) * jax.lax.erf_inv(2 * (draws[2] + 2.0**-24) - 1)
  # Two turns around the stretch: together as likely as one change.
  turns = draws[0, 11:13] < 1 - jnp.sqrt(jnp.maximum(1 - p, 0))
  return _Draws(draws[0] < p, turns, draws[1], normal)


def _placed(
  draws: _Draws, images: Float[Array, "b h w 3"], categories: tuple[str, ...]
) -> Float[Array, "b h w 3"]:
  """Makes the changes of place."""
  if not {"blit", "geom"} & set(categories):
    return images
  side = images.shape[1]

  def maps(draws: _Draws) -> tuple[Array, Array, Array]:
    blit = jnp.eye(3)
    if "blit" in categories:
      blit = _blit(side, draws.apply, draws.uniform)
    moves, moving = jnp.eye(3), jnp.zeros((), bool)
    if "geom" in categories:
      moves = _geometry(side, *draws)
      moving = draws.turns.any() | draws.apply[3:6].any()
    return blit, _product(blit, moves)[:2], moving

  blits, inverses, moving = jax.vmap(maps)(draws)
  copied = images
  if "blit" in categories:
    copied = jax.vmap(_copied)(images, blits)
  if "geom" not in categories:
    return copied
  moved = wavelets.warp(images, inverses, moving)
  return jnp.where(moving[:, None, None, None], moved, copied)


def _blit(side: int, apply: Array, uniform: Array) -> Float[Array, "3 3"]:
  """Where a point of the result, from the centre, is in the picture."""
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
  shift = _shift(jnp.where(apply[2], pixels, 0.0))
  return _product(_product(_scale(mirror, one), quarter), shift)


def _geometry(
  side: int, apply: Array, turns: Array, uniform: Array, normal: Array
) -> Float[Array, "3 3"]:
  """Where a point of the moved picture is in the blitted one."""
  size = jnp.where(apply[3], jnp.exp2(0.2 * normal[0]), 1.0)
  stretch = jnp.where(apply[4], jnp.exp2(0.2 * normal[1]), 1.0)
  angles = jnp.where(turns, (uniform[4:6] * 2 - 1) * jnp.pi, 0.0)
  fraction = jnp.where(apply[5], normal[2:4] * 0.125 * side, 0.0)
  # Size and stretch are log-normal, so as likely as their inverses.
  whole = _scale(size, size)
  for part in (
    _turn(angles[0]),
    _scale(stretch, 1 / stretch),
    _turn(angles[1]),
    _shift(fraction),
  ):
    whole = _product(whole, part)
  return whole


def _scale(x: Array, y: Array) -> Array:
  return jnp.diag(jnp.stack([x, y, jnp.ones(())]))


def _turn(angle: Array) -> Array:
  c, s, o = jnp.cos(angle), jnp.sin(angle), jnp.zeros(())
  rows = [[c, -s, o], [s, c, o], [o, o, o + 1]]
  return jnp.stack([jnp.stack(row) for row in rows])


def _shift(by: Array) -> Array:
  return jnp.eye(3).at[:2, 2].set(by)


def _copied(
  x: Float[Array, "h w c"], blit: Float[Array, "3 3"]
) -> Float[Array, "h w c"]:
  """Copies the pixels of a blitted picture."""
  side = x.shape[0]
  centre = (side - 1) / 2
  places = jnp.arange(side, dtype=jnp.float32) - centre
  columns, rows = (
    r[0] * places[None] + r[1] * places[:, None] + r[2] + centre
    for r in blit[:2]
  )
  i, j = (
    wavelets.mirrored(jnp.round(at).astype(jnp.int32), side)
    for at in (rows, columns)
  )
  return x[i, j]


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


def _gains(
  apply: Bool[Array, "4"], normal: Float[Array, "4"]
) -> Float[Array, "4"]:
  """What the bands are multiplied by.

  One band after the other; each time all are scaled, so that a picture with the
  power of natural ones would keep it.
  """
  each = jnp.where(apply, jnp.exp2(normal), 1.0)
  changed = jnp.where(jnp.eye(wavelets.BANDS, dtype=bool), each[:, None], 1.0)
  power = (jnp.square(changed) * _POWER[None].astype(np.float32)).sum(1)
  return (changed / jnp.sqrt(power)[:, None]).prod(0)


def _rectangle(
  side: int, centre: Float[Array, "2"]
) -> Bool[Array, "{side} {side} 1"]:
  """A rectangle of half the sides; its centre in shares of them, (x, y)."""
  at = (jnp.arange(side) + 0.5) / side
  x, y = (jnp.abs(at - centre[i]) < 0.25 for i in (0, 1))
  return (y[:, None] & x[None])[..., None]


def _product(a: Array, b: Array) -> Array:
  return jnp.matmul(a, b, precision="highest")
