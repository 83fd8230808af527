"""Halving and doubling the resolution through binomial filters (Zhang 2019).

A stride aliases whatever is finer than its step, and a picture that moves by
one pixel then changes; the filters remove that first. They are applied as
shifted sums, one axis at a time: on CPUs XLA is slow at convolving each
channel by itself. Maps are NHWC.
"""

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
    side = x.shape[axis]
    kept = -(-side // 2)
    pads = [(0, 0)] * 4
    pads[axis] = (1, 1)
    padded = jnp.pad(x, pads, mode="reflect")
    left, centre, right = (
      _every_second(padded, axis, start, kept) for start in range(3)
    )
    x = (left + right) * 0.25 + centre * 0.5
  return x


def up(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
  """Doubles the resolution through [1, 3, 3, 1] / 4 on each axis.

  The same as linear interpolation at the new pixels' centres, where the border
  pixels go on outside.

  Args:
    x: maps, [B, H, W, C].

  Returns:
    [B, 2 H, 2 W, C].
  """
  for axis in (1, 2):
    side = x.shape[axis]
    pads = [(0, 0)] * 4
    pads[axis] = (1, 1)
    padded = jnp.pad(x, pads, mode="edge")
    index = [slice(None)] * 4
    index[axis] = slice(0, side)
    before = padded[tuple(index)]
    index[axis] = slice(2, side + 2)
    after = padded[tuple(index)]
    pair = jnp.stack(
      [before * 0.25 + x * 0.75, x * 0.75 + after * 0.25], axis + 1
    )
    shape = list(x.shape)
    shape[axis] = 2 * side
    x = pair.reshape(shape)
  return x


def _every_second(x: Array, axis: int, start: int, count: int) -> Array:
  index = [slice(None)] * 4
  index[axis] = slice(start, start + 2 * count - 1, 2)
  return x[tuple(index)]
