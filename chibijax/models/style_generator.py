"""StyleGAN2's generator as GFPGAN simplified it, conditioned in space.

Karras et al. 2020 in the "clean" form of GFPGAN (Wang et al. 2021): bilinear
instead of filtered upsampling, a leaky ReLU with slope 0.2 in place of the
fused one, plain instead of equalised weights. After the first convolution of
each side a spatial feature transform scales and shifts the maps (Wang et al.
2018, SFT-GAN, equation 4).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.models.initial import fan_in, unit
from chibijax.models.layers import leaky_relu
from chibijax.ops import convolution


class Generator(nn.Module):
  """A style code to a picture, scaled and shifted in space on the way.

  Attributes:
    outputs: channels of the result.
    widths: channels of the sides 4, 8, 16, ...
    mapping: layers of the mapping network.
    noise: how strongly noise is injected where a key is given.
    dtype: compute dtype; the mapping network is float32.
  """

  outputs: int
  widths: tuple[int, ...]
  mapping: int = 8
  noise: float = 1.0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    code: Float[Array, "b s"],
    conditions: list[tuple[Array, Array]],
    key: PRNGKeyArray | None = None,
  ) -> Float[Array, "b h w o"]:
    """Maps a code and conditions of sides 8, 16, ... to [B, H, W, outputs]."""
    w = self._map(code.astype(jnp.float32))
    levels = len(self.widths)
    keys = (
      [None] * (2 * levels)
      if key is None or not self.noise
      else list(jax.random.split(key, 2 * levels))
    )
    shape = (4, 4, self.widths[0])
    x = self.param("constant", unit, shape).astype(self.dtype)
    x = jnp.broadcast_to(x[None], (w.shape[0], *shape))
    x = self._styled(0, 0)(x, w, keys[0])
    y = self._colors(0)(x, w)
    for i, (scale, shift) in enumerate(conditions, 1):
      x = self._styled(i, 0, up=True)(x, w, keys[2 * i])
      # From 1, so that a new network does not start by erasing x.
      x = x * (1 + scale) + shift
      x = self._styled(i, 1)(x, w, keys[2 * i + 1])
      y = upsample(y) + self._colors(i)(x, w)
    return y

  def _map(self, w: Float[Array, "b s"]) -> Float[Array, "b s"]:
    w = w * lax.rsqrt(jnp.mean(jnp.square(w), 1, keepdims=True) + 1e-8)
    for i in range(self.mapping):
      name = f"mapping_{i}"
      w = leaky_relu(dense(w.shape[1], jnp.float32, name, gain=2 / 1.04)(w))
    return w

  def _styled(self, level: int, i: int, *, up: bool = False) -> "StyledConv":
    return StyledConv(
      self.widths[level],
      up=up,
      strength=self.noise,
      dtype=self.dtype,
      name=f"conv_{level}_{i}",
    )

  def _colors(self, level: int) -> "StyledConv":
    return StyledConv(
      self.outputs,
      size=1,
      colors=True,
      dtype=self.dtype,
      name=f"colors_{level}",
    )


class StyledConv(nn.Module):
  """A convolution whose kernel is scaled by the style, for each picture.

  Karras et al. 2020, equations 1 and 3: w'_ijk = s_i w_ijk, divided by the
  root of its sum of squares. The input is scaled by s and the output divided,
  which is the same and needs one convolution for the whole batch.

  Attributes:
    features: output channels.
    size: side of the kernel.
    up: double the resolution first.
    colors: neither demodulate nor inject noise nor activate.
    strength: of the noise.
    dtype: compute dtype; modulations are float32.
  """

  features: int
  size: int = 3
  up: bool = False
  colors: bool = False
  strength: float = 1.0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w c"],
    w: Float[Array, "b s"],
    key: PRNGKeyArray | None = None,
  ) -> Float[Array, "b h2 w2 f"]:
    """Maps [B, H, W, C] to [B, H2, W2, features]."""
    b, c = x.shape[0], x.shape[-1]
    shape = (self.size, self.size, c, self.features)
    kernel = self.param("kernel", fan_in(1.0), shape)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    style = dense(c, jnp.float32, "modulation", gain=1.0, bias=1.0)(w)
    x = x * style.reshape(b, 1, 1, c).astype(x.dtype)
    if self.up:
      x = upsample(x)
    x = convolution.conv(x, kernel.astype(x.dtype), padding=self.size // 2)
    if self.colors:
      return x + bias.reshape(1, 1, 1, -1).astype(x.dtype)
    energy = jnp.sum(jnp.square(kernel), (0, 1))
    norm = jnp.matmul(jnp.square(style), energy, precision="highest")
    gain = math.sqrt(2) * lax.rsqrt(norm + 1e-8)
    x = x * gain.reshape(b, 1, 1, -1).astype(x.dtype)
    weight = self.param("noise", nn.initializers.zeros, ())
    if key is not None:
      drawn = jax.random.normal(key, (*x.shape[:3], 1))
      x = x + (self.strength * weight * drawn).astype(x.dtype)
    return leaky_relu(x + bias.reshape(1, 1, 1, -1).astype(x.dtype))


def downsample(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
  """Averages squares of 2x2 pixels.

  Args:
    x: maps with even sides.

  Returns:
    [B, H / 2, W / 2, C]; PyTorch's bilinear interpolation by 0.5.
  """
  b, h, w, c = x.shape
  return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def upsample(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
  """Doubles both sides by linear interpolation, borders repeated.

  Args:
    x: maps.

  Returns:
    [B, 2 H, 2 W, C]; PyTorch's bilinear interpolation by 2.
  """
  for axis in (1, 2):
    n = x.shape[axis]
    before = jnp.concatenate(
      [
        lax.slice_in_dim(x, 0, 1, axis=axis),
        lax.slice_in_dim(x, 0, n - 1, axis=axis),
      ],
      axis,
    )
    after = jnp.concatenate(
      [
        lax.slice_in_dim(x, 1, n, axis=axis),
        lax.slice_in_dim(x, n - 1, n, axis=axis),
      ],
      axis,
    )
    pair = jnp.stack(
      [0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1
    )
    shape = list(x.shape)
    shape[axis] = 2 * n
    x = pair.reshape(shape)
  return x


def dense(
  features: int,
  dtype: DTypeLike,
  name: str,
  *,
  gain: float = 1 / 3,
  bias: float = 0.0,
) -> nn.Dense:
  """A dense layer whose kernel has variance gain / fan in.

  Args:
    features: of the result.
    dtype: compute dtype.
    name: of the layer.
    gain: see above.
    bias: what the biases start at.

  Returns:
    The module.
  """
  return nn.Dense(
    features,
    dtype=dtype,
    kernel_init=fan_in(gain),
    bias_init=nn.initializers.constant(bias),
    name=name,
  )
