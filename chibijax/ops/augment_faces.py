"""Augmentation of drawn portraits, so that networks also see photographs.

What a step of training does with labelled portraits after `ops.face_views`: it
changes everything about the picture that a label does not depend on: what is
behind, colours of hair, skin and clothes, light, texture, focus, compression,
and things in front.

All functions treat one example; use `jax.vmap` with a key for each, so that a
batch may be split over devices without changing a value. Pictures are float
[H, W, C] in [0, 1]; labels are 0 background, 1 hair, 2 skin, 3 the rest of the
person.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from chibijax.ops import image as image_ops
from chibijax.ops import jpeg, resample

Picture = Float[Array, "h w 3"]

LABELS = ("background", "hair", "skin", "rest")


def fog(
  key: Key[Array, ""], height: int, width: int, cells: int, channels: int
) -> Float[Array, "h w c"]:
  """Smooth random fields of mean 0 and about unit variance.

  Args:
    key: one key.
    height: of the result.
    width: of the result.
    cells: nodes on each axis, between which values are linear.
    channels: number of fields.

  Returns:
    The fields.
  """
  nodes = jax.random.normal(key, (cells, cells, channels)) * 1.4
  rows, columns = (resample.node_weights(n, cells) for n in (height, width))
  return jnp.einsum("hi,ijc,wj->hwc", rows, nodes, columns)


def _texture(key: Key[Array, ""], height: int, width: int) -> Picture:
  """A picture of nothing: coloured fields of several sizes."""
  keys = jax.random.split(key, 6)
  base = jax.random.uniform(keys[0], (1, 1, 3))
  sizes = jnp.exp(jax.random.normal(keys[1], (4,)) - 2.5)
  found = base
  for k, cells in enumerate((3, 7, 17, 40)):
    grey = fog(keys[2 + k], height, width, cells, 4)
    found = found + sizes[k] * (grey[..., 3:] + 0.5 * grey[..., :3])
  return jnp.clip(found, 0, 1)


def change_parts(
  key: Key[Array, ""],
  picture: Picture,
  label: Float[Array, "h w 4"],
  other: Picture,
) -> Picture:
  """Changes what is behind, and the colours of the parts apart from each other.

  Args:
    key: one key.
    picture: what is seen.
    label: shares of `LABELS`, which add up to 1.
    other: another picture, which may come behind.

  Returns:
    The changed picture.
  """
  height, width, _ = picture.shape
  keys = jax.random.split(key, 5)
  choice = jax.random.uniform(keys[0])
  texture = _texture(keys[1], height, width)
  behind = jnp.where(
    choice < 0.45, picture, jnp.where(choice < 0.8, texture, other)
  )
  gain = 0.22 * jax.random.normal(keys[2], (4, 1))
  gain = gain + 0.10 * jax.random.normal(keys[3], (4, 3))
  gain = gain * (jax.random.uniform(keys[4]) < 0.7)
  # Sums of few terms: XLA:CPU is slow on matrix products this narrow.
  gains = sum(label[..., k : k + 1] * gain[None, k : k + 1] for k in range(4))
  colored = picture * jnp.exp(gains)
  return colored + label[..., :1] * (behind - colored)


def occlude(
  key: Key[Array, ""], picture: Picture, other: Picture
) -> tuple[Picture, Float[Array, "h w 1"]]:
  """Puts up to two things in front: ellipses and bars of any colour.

  Args:
    key: one key.
    picture: what is seen.
    other: another picture, which some of the things show.

  Returns:
    The picture and the things' shares of its pixels.
  """
  height, width, _ = picture.shape
  grid = jnp.stack(
    jnp.meshgrid(jnp.linspace(0, 1, width), jnp.linspace(0, 1, height)), -1
  )
  covered = jnp.zeros((height, width, 1))
  for each in jax.random.split(key, 2):
    u = jax.random.uniform(each, (10,))
    angle = u[2] * jnp.pi
    axis = jnp.array([jnp.cos(angle), jnp.sin(angle)])
    across = jnp.stack([axis, jnp.array([-axis[1], axis[0]])])
    radii = 0.03 + 0.20 * u[3:5] ** 2
    x, y = grid[..., 0] - u[0], grid[..., 1] - u[1]
    at = [jnp.abs(x * a[0] + y * a[1]) / r for a, r in zip(across, radii)]
    round_ = jnp.sqrt(at[0] ** 2 + at[1] ** 2 + 1e-9)
    reach = jnp.where(u[5] < 0.5, round_, jnp.maximum(*at))
    share = jnp.clip((1 - reach) * 8, 0, 1)[..., None] * (u[6] < 0.22)
    color = jnp.where(u[5] < 0.3, other, u[7:].reshape(1, 1, 3))
    picture = picture + share * (color - picture)
    covered = jnp.maximum(covered, share)
  return picture, covered


def relight(key: Key[Array, ""], picture: Picture) -> Picture:
  """Light that is uneven, tones, white balance, colour or none of it.

  Args:
    key: one key.
    picture: what is seen.

  Returns:
    The changed picture.
  """
  height, width, _ = picture.shape
  keys = jax.random.split(key, 8)
  u = jax.random.uniform(keys[0], (6,))
  # Some photographs are plain, some are odd in every way.
  n = jax.random.normal(keys[1], (8,)) * (0.2 + 0.8 * u[4])
  light = fog(keys[2], height, width, 3, 1) * 0.35 * u[0]
  grain = fog(keys[3], height, width, 24, 1) * 0.10 * u[1] ** 2
  fine = fog(keys[4], height, width, 60, 1) * 0.10 * u[2] ** 2
  picture = picture * jnp.exp(light + grain + fine)
  gamma = jnp.exp(0.30 * n[0] + 0.06 * n[1:4]).reshape(1, 1, 3)
  picture = jnp.clip(picture, 1e-4, 1) ** gamma
  grey = image_ops.luminance(picture)[..., None]
  color = jnp.where(u[3] < 0.12, 0.0, jnp.exp(0.4 * n[4]))
  picture = grey + color * (picture - grey)
  middle = picture.mean()
  contrast = jnp.exp(0.25 * n[5])
  picture = middle + contrast * (picture - middle) + 0.08 * n[6]
  tint = 0.05 * u[4] * jax.random.normal(keys[5], (1, 1, 3))
  # The two balances of a photograph's colour: blue to yellow is the wider.
  warm = jnp.array([0.06, 0.0, -0.06]).reshape(1, 1, 3) * n[7]
  picture = picture * (1 + tint + warm)
  mix = jnp.eye(3) + 0.08 * u[4] * jax.random.normal(keys[6], (3, 3))
  mixed = sum(picture[..., k : k + 1] * mix[None, k : k + 1] for k in range(3))
  return jnp.clip(mixed, 0, 1)


def _filter(picture: Picture, down: Array, across: Array) -> Picture:
  """Filters columns and rows by matrices."""
  return jnp.einsum("hi,ijc,wj->hwc", down, picture, across)


def _gaussian(size: int, width: Array) -> Float[Array, "size size"]:
  """The matrix that blurs a row by a standard deviation in pixels."""
  at = np.arange(size)
  square = np.square(at[:, None] - at[None]).astype(np.float32)
  weights = jnp.exp(-0.5 * square / width**2)
  return weights / weights.sum(1, keepdims=True)


def photograph(key: Key[Array, ""], picture: Picture) -> Picture:
  """Focus and motion, sharpening, noise and the marks of compression.

  Args:
    key: one key.
    picture: what is seen; both sides multiples of 8.

  Returns:
    The changed picture, in [0, 1].
  """
  keys = jax.random.split(key, 3)
  u = jax.random.uniform(keys[0], (8,))
  widths = 0.25 + 1.5 * u[:2] ** 3
  height, width, _ = picture.shape
  focus = _gaussian(height, widths[0]), _gaussian(width, widths[1])
  blurred = _filter(picture, *focus)
  # Sharpening is the difference to a blurred picture, added once more.
  smooth = _filter(
    blurred, *(_gaussian(n, jnp.float32(0.8)) for n in (height, width))
  )
  sharp = jnp.where(u[2] < 0.6, 1.6 * u[3] * u[3], 0.0)
  picture = jnp.clip(blurred + sharp * (blurred - smooth), 0, 1)
  noise = jax.random.normal(keys[1], picture.shape)
  grey = u[7] * noise[..., :1] + (1 - u[7]) * noise
  picture = picture + 0.06 * u[4] ** 4 * grey
  step = jnp.where(u[5] < 0.4, 0.01 + 0.15 * u[6] ** 2, 0.002)
  return jnp.clip(_compress(picture, step), 0, 1)


def _compress(picture: Picture, step: Float[Array, ""]) -> Picture:
  """Rounds the cosine coefficients of blocks of 8, the finer the coarser."""
  height, width, _ = picture.shape
  k, cosines = np.arange(8), jpeg.dct()
  coarse = (1 + (k[:, None] + k[None]) / 3).astype(np.float32)
  blocks = picture.reshape(height // 8, 8, width // 8, 8, 3)
  found = jnp.einsum("ai,hiwjc,bj->hwcab", cosines, blocks, cosines)
  steps = (step * coarse).reshape(1, 1, 1, 8, 8)
  found = jnp.round(found / steps) * steps
  blocks = jnp.einsum("ai,hwcab,bj->hiwjc", cosines, found, cosines)
  return blocks.reshape(height, width, 3)


def one_hot(label: UInt8[Array, "h w"]) -> Float[Array, "h w 4"]:
  """Shares of `LABELS` from numbers."""
  return (label[..., None] == jnp.arange(4).reshape(1, 1, 4)).astype(
    jnp.float32
  )
