"""Number ranges, brightness and padding of pictures.

Pictures are NHWC sRGB (gamma-coded) and come in three ranges: uint8 [0, 255]
in files and batches, float [-1, 1] in models ("signed"), float [0, 1] in
metrics and post-processing ("unit").
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

# Weights of R, G, B in the luma of ITU-R BT.601, as Pillow's mode "L".
LUMA = (0.299, 0.587, 0.114)


def to_float(x: UInt8[Array, "*shape"]) -> Float[Array, "*shape"]:
  """Maps uint8 [0, 255] to float32 [-1, 1]: x / 127.5 - 1.

  Args:
    x: pictures as bytes.

  Returns:
    float32, -1 for 0 and 1 for 255.
  """
  return x.astype(jnp.float32) / 127.5 - 1.0


def signed(x: Array) -> Array:
  """Bytes, as batches travel, as floats in [-1, 1], which stay as they are."""
  return to_float(x) if x.dtype == jnp.uint8 else x


def to_uint8(x: Float[Array, "*shape"]) -> UInt8[Array, "*shape"]:
  """Maps float [-1, 1] to the nearest byte; the inverse of `to_float`.

  Args:
    x: pictures in [-1, 1]; values outside are clipped.

  Returns:
    uint8 pictures.
  """
  scaled = (x.astype(jnp.float32) + 1.0) * 127.5
  return jnp.round(jnp.clip(scaled, 0.0, 255.0)).astype(jnp.uint8)


def to_unit(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """Maps [-1, 1] to [0, 1], clipped.

  Args:
    x: pictures in [-1, 1].

  Returns:
    Pictures in [0, 1].
  """
  return jnp.clip((x + 1.0) / 2.0, 0.0, 1.0)


def to_signed(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """Maps [0, 1] to [-1, 1].

  Args:
    x: pictures in [0, 1].

  Returns:
    Pictures in [-1, 1].
  """
  return x * 2.0 - 1.0


def luminance(x: Float[Array, "*shape 3"]) -> Float[Array, "*shape"]:
  """Luma of sRGB pictures, .299 R + .587 G + .114 B (ITU-R BT.601).

  Args:
    x: pictures in any affine range; the last axis is R, G, B.

  Returns:
    The luma in the range of `x`, without the last axis.
  """
  # Not a matrix product: those may run in reduced precision on accelerators.
  return LUMA[0] * x[..., 0] + LUMA[1] * x[..., 1] + LUMA[2] * x[..., 2]


def luminance_correlation(
  x: Float[Array, "b h w 3"], y: Float[Array, "b h w 3"]
) -> Float[Array, " b"]:
  """Pearson correlation of the luma of two pictures over their pixels.

  An alarm for colour inversion, a solution unpaired translation falls into:
  values far below zero mean that light has become dark.

  Args:
    x: pictures in any affine range.
    y: pictures of the same shape.

  Returns:
    A value in [-1, 1] for each example; 0 where a picture is uniform.
  """
  u, v = luminance(x), luminance(y)
  u = u - u.mean((1, 2), keepdims=True)
  v = v - v.mean((1, 2), keepdims=True)
  scale = jnp.square(u).mean((1, 2)) * jnp.square(v).mean((1, 2))
  covariance = (u * v).mean((1, 2))
  # Below this product of variances a picture is flat up to rounding.
  return jnp.where(
    scale > 1e-12, covariance / jnp.sqrt(jnp.maximum(scale, 1e-12)), 0.0
  )


def pad_to_multiple(
  x: Float[Array, "b h w c"], multiple: int, min_size: int = 1
) -> tuple[Float[Array, "b h2 w2 c"], tuple[int, int]]:
  """Mirrors pictures about their borders up to a size networks accept.

  Args:
    x: pictures, [B, H, W, C].
    multiple: both sides become multiples of this.
    min_size: both sides become at least this long.

  Returns:
    The padded pictures and (top, left), the pixels added before the first row
    and column: `y[:, top:top + H, left:left + W]` undoes the padding.
  """
  pads = []
  for side in x.shape[1:3]:
    target = -(-max(side, min_size) // multiple) * multiple
    before = (target - side) // 2
    pads.append((before, target - side - before))
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)), mode="reflect")
  return x, (pads[0][0], pads[1][0])
