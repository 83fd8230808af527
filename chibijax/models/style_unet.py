"""The neural renderer: a U-Net that conditions a StyleGAN2 generator.

GAGAvatar (Chu and Harada 2024, section 3.3) turns 32 splatted feature channels
into a picture with the network that GFPGAN (Wang et al. 2021, section 3) uses
to restore faces: an encoder, a style code from its last map, a decoder with
skips whose maps scale and shift those of a style-modulated generator.

A side of s pixels has min(most, capacity / s) channels in the U-Net and `ratio`
times as many in the generator.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.models.initial import conv
from chibijax.models.layers import leaky_relu
from chibijax.models.rrdb import fold
from chibijax.models.style_generator import (
  Generator,
  dense,
  downsample,
  upsample,
)

# How far a residual starts from colours of 0 and 1, whose logit is infinite.
_MARGIN = 0.01


class StyleUnet(nn.Module):
  """Features of a picture to its colours in [0, 1].

  Attributes:
    channels: of the input.
    size: side of the pictures, a power of 2.
    outputs: channels of the result.
    capacity: sets the channels of a side, see above.
    most: the most channels of the U-Net.
    ratio: channels of the generator relative to the U-Net's.
    style: length of the style code.
    mapping: layers of the mapping network.
    fold: the network works on squares of this many pixels as channels, which
      makes it that much smaller; a power of 2, 1 for the paper's.
    residual: the result is a correction, in logits, of the first `outputs`
      channels of the input.
    noise: how strongly noise is injected where a key is given.
    dtype: compute dtype; the result is float32.
  """

  channels: int = 32
  size: int = 512
  outputs: int = 3
  capacity: int = 8192
  most: int = 256
  ratio: int = 2
  style: int = 512
  mapping: int = 8
  fold: int = 1
  residual: bool = False
  noise: float = 1.0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], key: PRNGKeyArray | None = None
  ) -> Float[Array, "b h w o"]:
    """Maps [B, size, size, channels] to [B, size, size, outputs] in [0, 1].

    Args:
      x: features, the first ones usually colours.
      key: for the noise; None for none, which makes the network a function.

    Returns:
      The pictures.

    Raises:
      ValueError: if the input has another shape.
    """
    shape = (self.size, self.size, self.channels)
    if x.shape[1:] != shape:
      raise ValueError(f"StyleUnet needs {shape} pictures, got {x.shape[1:]}.")
    coarse = x[..., : self.outputs].astype(jnp.float32)
    x = x.astype(self.dtype)
    if self.fold > 1:
      x = fold(x, self.fold)
    code, conditions = self._unet(x)
    x = Generator(
      outputs=self.outputs * self.fold**2,
      widths=tuple(self.ratio * self._width(s) for s in self._sides()),
      mapping=self.mapping,
      noise=self.noise,
      dtype=self.dtype,
      name="generator",
    )(code, conditions, key)
    x = unfold(x, self.fold).astype(jnp.float32)
    if self.residual:
      coarse = jnp.clip(coarse, _MARGIN, 1 - _MARGIN)
      x = x + jnp.log(coarse / (1 - coarse))
    return jax.nn.sigmoid(x)

  def _sides(self) -> list[int]:
    """Sides of the maps, from 4 to the largest."""
    largest = self.size // self.fold
    return [2**i for i in range(2, largest.bit_length())]

  def _width(self, side: int) -> int:
    return min(self.most, self.capacity // side)

  def _unet(self, x: Array) -> tuple[Array, list[tuple[Array, Array]]]:
    """The style code, and scale and shift of each side from 8 on."""
    sides, dtype = self._sides(), self.dtype
    x = conv(self._width(sides[-1]), 1, dtype, "first")(x)
    x, skips = leaky_relu(x), []
    for i, side in enumerate(reversed(sides[:-1])):
      x = ResBlock(self._width(side), "down", dtype, name=f"down_{i}")(x)
      skips.append(x)
    x = leaky_relu(conv(self._width(4), 3, dtype, "middle")(x))
    flat = x.reshape(x.shape[0], -1)
    code = dense(self.style, dtype, "style")(flat)
    conditions = []
    for i, side in enumerate(sides[1:]):
      width = self._width(side)
      x = x + skips.pop()
      x = ResBlock(width, "up", dtype, name=f"up_{i}")(x)
      scale, shift = (
        self._condition(x, width, f"{kind}_{i}") for kind in ("scale", "shift")
      )
      conditions.append((scale, shift))
      if self.is_initializing():
        # Owned, never used: the reference's parameters count them and its
        # files hold them.
        conv(3, 1, dtype, f"rgb_{i}")(x)
    return code, conditions

  def _condition(self, x: Array, width: int, name: str) -> Array:
    """Two convolutions that make a spatial scale or shift."""
    y = leaky_relu(conv(width, 3, self.dtype, f"{name}_0")(x))
    return conv(self.ratio * width, 3, self.dtype, f"{name}_1")(y)


class ResBlock(nn.Module):
  """A residual block that halves or doubles the resolution.

  Attributes:
    features: output channels.
    mode: "down" or "up".
    dtype: compute dtype.
  """

  features: int
  mode: str
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 f"]:
    """Maps [B, H, W, C] to [B, H2, W2, features]."""
    y = leaky_relu(conv(x.shape[-1], 3, self.dtype, "conv_1")(x))
    y = downsample(y) if self.mode == "down" else upsample(y)
    y = leaky_relu(conv(self.features, 3, self.dtype, "conv_2")(y))
    skip = conv(self.features, 1, self.dtype, "skip", use_bias=False)
    # A 1x1 convolution is done on the smaller side: it commutes.
    if self.mode == "down":
      return y + skip(downsample(x))
    return y + upsample(skip(x))


def unfold(x: Float[Array, "b h w c"], side: int) -> Float[Array, "b h2 w2 o"]:
  """Undoes `rrdb.fold`: channels become squares of pixels.

  Args:
    x: [B, H, W, C side^2].
    side: of the squares.

  Returns:
    [B, H side, W side, C].
  """
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, c // side**2, side, side).transpose(0, 1, 4, 2, 5, 3)
  return x.reshape(b, h * side, w * side, -1)
