"""Halving and doubling the resolution through binomial filters (Zhang 2019).

A stride aliases whatever is finer than its step, and a picture that moves by
one pixel then changes; the filters remove that first. They are applied as
shifted sums, one axis at a time: on CPUs XLA is slow at convolving each
channel by itself, and at the gradient of a padding that repeats pixels, so that
borders are joined to slices. Maps are NHWC.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float


def down(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
  """Halves the resolution through [1, 2, 1] / 4 on each axis.

  Args:
    x: maps with sides of at least 2; mirrored about their border pixels.

  Returns:
    The value at every second pixel, the first included: sides ceil(n / 2).

  Raises:
    ValueError: if a side is shorter than 2.
  """
  if min(x.shape[1:3]) < 2:
    raise ValueError(f"blur.down needs sides of at least 2, got {x.shape}.")
  for axis in (1, 2):
    count = x.shape[axis] // 2
    kept = x.shape[axis] - count
    centre, between = (
      _every(x, axis, start, n, 2) for start, n in ((0, kept), (1, count))
    )
    first, last = (_every(between, axis, i, 1) for i in (0, count - 1))
    left = jnp.concatenate([first, between], axis)
    right = jnp.concatenate([between, last], axis)
    left, right = (_every(y, axis, 0, kept) for y in (left, right))
    x = (left + right) * 0.25 + centre * 0.5
  return x


def binomial(
  x: Float[Array, "b h w c"],
  pads: tuple[int, int],
  *,
  stride: int = 1,
  gain: float = 1.0,
) -> Float[Array, "b h2 w2 c"]:
  """Correlates each channel with [1, 3, 3, 1] / 8 on each axis, zeros outside.

  Args:
    x: maps, [B, H, W, C].
    pads: zeros before and after each axis; sides n + pads - 3 are left.
    stride: 2 keeps every second of them, the first included.
    gain: factor on each axis: 2 where zeros stand between the pixels.

  Returns:
    The filtered maps.
  """
  for axis in (1, 2):
    around = [(0, 0)] * 4
    around[axis] = pads
    padded = jnp.pad(x, around)
    kept = -(-(padded.shape[axis] - 3) // stride)
    a, b, c, d = (
      _every(padded, axis, start, kept, stride) for start in range(4)
    )
    x = (a + d) * (gain / 8) + (b + c) * (gain * 3 / 8)
  return x


def up(
  x: Float[Array, "b h w c"], *, border: Literal["edge", "zero"] = "edge"
) -> Float[Array, "b h2 w2 c"]:
  """Doubles the resolution through [1, 3, 3, 1] / 4 on each axis.

  The same as linear interpolation at the new pixels' centres.

  Args:
    x: maps, [B, H, W, C].
    border: what lies outside: the border pixels ("edge") or zeros.

  Returns:
    [B, 2 H, 2 W, C].
  """
  for axis in (1, 2):
    side = x.shape[axis]
    first, last = (_every(x, axis, i, 1) for i in (0, side - 1))
    if border == "zero":
      first = last = jnp.zeros_like(first)
    before = jnp.concatenate([first, _every(x, axis, 0, side - 1)], axis)
    after = jnp.concatenate([_every(x, axis, 1, side - 1), last], axis)
    pair = jnp.stack(
      [before * 0.25 + x * 0.75, x * 0.75 + after * 0.25], axis + 1
    )
    shape = list(x.shape)
    shape[axis] = 2 * side
    x = pair.reshape(shape)
  return x


def _every(
  x: Array, axis: int, start: int, count: int, stride: int = 1
) -> Array:
  index = [slice(None)] * 4
  index[axis] = slice(start, start + stride * (count - 1) + 1, stride)
  return x[tuple(index)]
