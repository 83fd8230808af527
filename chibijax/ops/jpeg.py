"""What JPEG does to a picture, without the file: colour, DCT, quantisation.

ITU-T T.81 with the example tables of its annex K, scaled by the quality as the
Independent JPEG Group's library does, and chroma at half the resolution. The
entropy coding that follows loses nothing and is left out. Values are rounded
as in a file, so no gradient passes.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from chibijax.ops import blur

BLOCK = 16  # Two blocks of 8 luma pixels for each of chroma.
_LUMA = np.array(
  [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
  ],
  np.float32,
)
_CHROMA = np.full((8, 8), 99, np.float32)
_CHROMA[:4, :4] = [
  [17, 18, 24, 47],
  [18, 21, 26, 66],
  [24, 26, 56, 99],
  [47, 66, 99, 99],
]
# BT.601: R, G, B in [0, 255] to Y, Cb, Cr around 128.
_TO_YCC = np.array(
  [
    [0.299, 0.587, 0.114],
    [-0.168736, -0.331264, 0.5],
    [0.5, -0.418688, -0.081312],
  ],
  np.float32,
)


def compress(
  x: Float[Array, "h w 3"], quality: Float[Array, ""]
) -> Float[Array, "h w 3"]:
  """Compresses a picture and decompresses it.

  Args:
    x: sRGB in [0, 1]; sides multiples of 16.
    quality: 1 (coarse) to 100.

  Returns:
    The picture as it would be read back, in [0, 1] and 256 levels.

  Raises:
    ValueError: for other sides.
  """
  height, width, _ = x.shape
  if height % BLOCK or width % BLOCK:
    raise ValueError(
      f"JPEG needs sides that are multiples of {BLOCK}, got {height}x{width}."
    )
  scale = jnp.where(quality < 50, 5000.0 / quality, 200.0 - 2.0 * quality)
  levels = jnp.round(255.0 * jnp.clip(x, 0.0, 1.0))
  ycc = _mix(levels, _TO_YCC)
  luma = _quantise(ycc[..., 0] - 128.0, _LUMA, scale) + 128.0
  channels = [luma]
  for i in (1, 2):
    half = ycc[..., i].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    half = _quantise(half, _CHROMA, scale)
    # Linear interpolation, as libjpeg's decoder has it.
    channels.append(blur.up(half[None, ..., None])[0, ..., 0])
  rgb = _mix(jnp.stack(channels, -1), np.linalg.inv(_TO_YCC))
  return jnp.clip(jnp.round(rgb), 0.0, 255.0) / 255.0


def _mix(
  x: Float[Array, "h w 3"], matrix: Float32[np.ndarray, "3 3"]
) -> Float[Array, "h w 3"]:
  return jnp.einsum("hwi,oi->hwo", x, jnp.asarray(matrix), precision="highest")


def dct() -> Float32[np.ndarray, "8 8"]:
  """The orthonormal DCT-II (T.81, A.3.3), [frequency, pixel]."""
  k, n = np.arange(8)[:, None], np.arange(8)[None, :]
  matrix = np.cos(np.pi * (2 * n + 1) * k / 16) / 2
  matrix[0] /= np.sqrt(2)
  return matrix.astype(np.float32)


def _quantise(
  x: Float[Array, "h w"],
  table: Float32[np.ndarray, "8 8"],
  scale: Float[Array, ""],
) -> Float[Array, "h w"]:
  """Rounds the DCT of 8x8 blocks to multiples of the table."""
  height, width = x.shape
  steps = jnp.clip(jnp.floor((table * scale + 50.0) / 100.0), 1.0, 255.0)
  cosines = jnp.asarray(dct())
  blocks = x.reshape(height // 8, 8, width // 8, 8)
  found = jnp.einsum(
    "um,imjn,vn->iujv", cosines, blocks, cosines, precision="highest"
  )
  steps = steps[None, :, None, :]
  found = jnp.round(found / steps) * steps
  back = jnp.einsum(
    "um,iujv,vn->imjn", cosines, found, cosines, precision="highest"
  )
  return back.reshape(height, width)
