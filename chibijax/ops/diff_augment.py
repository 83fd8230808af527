"""DiffAugment: changes that a discriminator sees on real and generated alike.

Zhao et al. 2020. Each is differentiable in the pictures and drawn for each
picture from its own key, so that a batch may be split over devices.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

POLICIES = ("color", "translation", "cutout")


def diff_augment(
  keys: Key[Array, " b"],
  images: Float[Array, "b h w c"],
  policies: tuple[str, ...] = POLICIES,
) -> Float[Array, "b h w c"]:
  """Changes colours, moves by up to an eighth, blanks a square of half a side.

  Args:
    keys: one for each picture.
    images: pictures in [-1, 1]; the results may leave that range.
    policies: which of `POLICIES`.

  Returns:
    The changed pictures; what moves in, or is blanked, is 0 (grey).

  Raises:
    ValueError: for an unknown policy.
  """
  if unknown := set(policies) - set(POLICIES):
    raise ValueError(f"unknown policies {unknown}, expected of {POLICIES}.")

  def one(key: Key[Array, ""], x: Array) -> Array:
    draws = jax.random.uniform(key, (7,))
    if "color" in policies:
      x = _color(x, draws[0], draws[1], draws[2])
    if "translation" in policies:
      x = _translate(x, draws[3], draws[4])
    if "cutout" in policies:
      x = _cutout(x, draws[5], draws[6])
    return x

  return jax.vmap(one)(keys, images)


def _color(
  x: Array, brightness: Array, saturation: Array, contrast: Array
) -> Array:
  """Brightness +-1/2, saturation x 0..2, contrast x 1/2..3/2, in that order."""
  x = x + (brightness - 0.5)
  grey = x.mean(-1, keepdims=True)
  x = grey + (x - grey) * (2 * saturation)
  mean = x.mean(keepdims=True)
  return mean + (x - mean) * (contrast + 0.5)


def _translate(x: Array, down: Array, across: Array) -> Array:
  """Moves a picture by whole pixels, zeros behind it."""
  starts = []
  reach = [round(n / 8) for n in x.shape[:2]]
  for far, draw in zip(reach, (down, across)):
    starts.append(jnp.floor(draw * (2 * far + 1)).astype(jnp.int32))
  padded = jnp.pad(x, [(r, r) for r in reach] + [(0, 0)])
  return jax.lax.dynamic_slice(padded, (*starts, jnp.int32(0)), x.shape)


def _cutout(x: Array, down: Array, across: Array) -> Array:
  """Blanks a square whose centre lies anywhere in the picture."""
  inside = []
  for side, draw in zip(x.shape[:2], (down, across)):
    distance = jnp.arange(side) - jnp.floor(draw * side)
    inside.append((distance >= -(side // 4)) & (distance < side // 4))
  blank = inside[0][:, None, None] & inside[1][None, :, None]
  return jnp.where(blank, 0.0, x)
