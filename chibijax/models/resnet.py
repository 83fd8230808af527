"""The residual generator of CycleGAN.

Johnson et al. 2016 with the changes of Zhu et al. 2017 (section 7.2):
c7s1-64, d128, d256, R256 x blocks, u128, u64, c7s1-3. Reflection padding in
the 7x7 and the residual convolutions, zeros in the strided ones, instance norm
without affine parameters, ReLU, and tanh at the end. With 64 channels and 9
blocks it has 11,378,179 parameters.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.models.layers import Conv, ConvNorm

# Pictures need both sides to be multiples of this (two halvings) ...
MULTIPLE = 4
# ... and this long at least: reflection by 3 pixels here, by 1 at a quarter.
MIN_SIZE = 8


class ResidualBlock(nn.Module):
  """x + norm(conv(relu(norm(conv(x))))), 3x3 with reflection padding.

  Attributes:
    dtype: compute dtype.
  """

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Maps [B, H, W, C] to the same shape."""
    shape = dict(
      features=x.shape[-1], size=3, padding=1, reflect=True, dtype=self.dtype
    )
    y = ConvNorm(**shape, name="conv_0")(x)
    y = ConvNorm(**shape, activation=None, name="conv_1")(y)
    return x + y


class ResnetGenerator(nn.Module):
  """Maps pictures in [-1, 1] to pictures of the same size in [-1, 1].

  Attributes:
    width: channels of the first layer (64 in the paper).
    blocks: residual blocks (9 in the paper; 6 at 128 pixels or less).
    channels: channels of the result.
    dtype: compute dtype; the last tanh and the result are float32.
    remat: recompute the residual blocks in the backward pass, which saves
      most of the activations' memory for about a third more time.
  """

  width: int = 64
  blocks: int = 9
  channels: int = 3
  dtype: DTypeLike = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"]
  ) -> Float[Array, "b h w {self.channels}"]:
    """Maps [B, H, W, C] in [-1, 1] to [B, H, W, channels] in [-1, 1].

    Raises:
      ValueError: if H or W is below 8 or not a multiple of 4.
    """
    height, width = x.shape[1:3]
    if height % MULTIPLE or width % MULTIPLE or min(height, width) < MIN_SIZE:
      raise ValueError(
        f"The generator needs sides that are multiples of {MULTIPLE} and at "
        f"least {MIN_SIZE} pixels, got {height}x{width}."
      )
    w, dtype = self.width, self.dtype
    border = dict(size=7, padding=3, reflect=True, dtype=dtype)
    down = dict(size=3, stride=2, padding=1, dtype=dtype)
    up = dict(size=3, transpose=True, dtype=dtype)
    block = nn.remat(ResidualBlock) if self.remat else ResidualBlock

    x = ConvNorm(w, **border, name="stem")(x)
    x = ConvNorm(2 * w, **down, name="down_0")(x)
    x = ConvNorm(4 * w, **down, name="down_1")(x)
    for i in range(self.blocks):
      x = block(dtype=dtype, name=f"block_{i}")(x)
    x = ConvNorm(2 * w, **up, name="up_0")(x)
    x = ConvNorm(w, **up, name="up_1")(x)
    x = Conv(self.channels, **border, name="head")(x)
    return jnp.tanh(x.astype(jnp.float32))
