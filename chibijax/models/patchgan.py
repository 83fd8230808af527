"""The patch discriminator of pix2pix and CycleGAN.

Isola et al. 2017: C64-C128-C256-C512-1 with 4x4 kernels, zero padding 1 and
LeakyReLU 0.2; strides 2, 2, 2, 1, 1 and instance norm in the middle layers.
Each output sees 70x70 input pixels. 2,764,737 parameters.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.models.layers import Conv, ConvNorm, leaky_relu

# Channels stop growing at this multiple of the first layer's.
_MAX_GROWTH = 8


class PatchDiscriminator(nn.Module):
  """Scores overlapping patches: real or fake, one number for each.

  Attributes:
    width: channels of the first layer (64 in the paper).
    layers: strided layers (3 gives the 70x70 patch).
    dtype: compute dtype; the scores are float32.
  """

  width: int = 64
  layers: int = 3
  dtype: DTypeLike = jnp.float32

  def output_side(self, side: int) -> int:
    """Number of scores along a side of `side` pixels; < 1 if too small."""
    for _ in range(self.layers):
      side //= 2
    return side - 2

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 1"]:
    """Maps [B, H, W, C] in [-1, 1] to [B, H / 8 - 2, W / 8 - 2, 1] scores.

    The sizes are for three layers; each strided layer halves, rounding down.

    Raises:
      ValueError: if the picture is too small for a single score.
    """
    if min(map(self.output_side, x.shape[1:3])) < 1:
      raise ValueError(
        f"A picture of {x.shape[1]}x{x.shape[2]} pixels is too small for a "
        f"discriminator of {self.layers} strided layers; it needs at least "
        f"{3 * 2**self.layers} on both sides."
      )
    shape = dict(size=4, padding=1, dtype=self.dtype)
    x = Conv(self.width, stride=2, **shape, name="conv_0")(x)
    x = leaky_relu(x)
    for i in range(1, self.layers + 1):
      x = ConvNorm(
        self.width * min(2**i, _MAX_GROWTH),
        stride=2 if i < self.layers else 1,
        activation=leaky_relu,
        **shape,
        name=f"conv_{i}",
      )(x)
    return Conv(1, **shape, name="head")(x).astype(jnp.float32)
