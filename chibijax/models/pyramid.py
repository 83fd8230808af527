"""A small convolutional encoder: a picture to a plane of features and a code.

For training an avatar without a pretrained network. A pyramid of residual
blocks halves the picture down to 8 pixels; the coarsest map gives a code of the
whole picture, and merged back into the finer ones (Lin et al. 2017, feature
pyramid networks) a plane of half the picture's side, to which the picture
itself is appended, so that fine detail need not pass through the pyramid.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.models.dpt import ResidualUnit
from chibijax.models.initial import conv
from chibijax.models.layers import leaky_relu
from chibijax.models.rrdb import fold
from chibijax.models.style_generator import dense, upsample
from chibijax.models.style_unet import ResBlock

# Side of the coarsest map, and its channels on the way to the code.
_SMALLEST, _CODE = 8, 32


class PyramidEncoder(nn.Module):
  """Pictures to features.

  Attributes:
    widths: channels of the maps of 1/2, 1/4, ... of the picture's side; the
      last is repeated down to 8 pixels.
    features: channels of the plane.
    code: length of the code.
    dtype: compute dtype; results are float32.
  """

  widths: tuple[int, ...] = (32, 64, 128, 256)
  features: int = 64
  code: int = 256
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b s s 3"]
  ) -> tuple[Float[Array, "b p p f"], Float[Array, "b g"]]:
    """Maps [B, S, S, 3] to a plane [B, S/2, S/2, features] and [B, code].

    Args:
      x: normalised pictures; the side is 8 times a power of 2, at least 16.

    Returns:
      The plane and the code.

    Raises:
      ValueError: for another side.
    """
    b, side = x.shape[:2]
    steps = (side // _SMALLEST).bit_length() - 1
    if side != _SMALLEST * 2**steps or steps < 1:
      raise ValueError(f"The side must be 16, 32, 64, ... pixels, got {side}.")
    widths = [self.widths[min(i, len(self.widths) - 1)] for i in range(steps)]
    picture = fold(x.astype(self.dtype), 2)
    maps = [leaky_relu(conv(widths[0], 3, self.dtype, "first")(picture))]
    for i, width in enumerate(widths[1:], 1):
      maps.append(
        ResBlock(width, "down", self.dtype, name=f"down_{i}")(maps[-1])
      )
    x = ResidualUnit(dtype=self.dtype, name="deepest")(maps[-1])
    flat = leaky_relu(conv(_CODE, 1, self.dtype, "squeeze")(x)).reshape(b, -1)
    code = dense(self.code, self.dtype, "code")(flat)
    x = conv(self.features, 1, self.dtype, "top")(x)
    for i, finer in reversed(list(enumerate(maps[:-1]))):
      y = conv(self.features, 1, self.dtype, f"lateral_{i}")(finer)
      x = ResidualUnit(dtype=self.dtype, name=f"merge_{i}")(upsample(x) + y)
    x = jnp.concatenate([x, picture], axis=-1)
    plane = conv(self.features, 3, self.dtype, "last")(x)
    return plane.astype(jnp.float32), code.astype(jnp.float32)
