"""An autoencoder of pictures: a code of some numbers, and back.

Strided 4x4 convolutions down to 4x4, 3x3 convolutions and nearest neighbours up
again, a residual block at each resolution, leaky ReLU, no normalisation: every
picture is coded by itself.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.models.layers import leaky_relu
from chibijax.ops import convolution

BASE = 4


class Encoder(nn.Module):
  """Pictures to the mean and log variance of their codes.

  Attributes:
    widths: channels at half the pictures' side, a quarter, ..., 4x4.
    latent: numbers of a code.
    dtype: compute dtype; the code is float32.
  """

  widths: tuple[int, ...]
  latent: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w 3"]
  ) -> tuple[Float[Array, "b n"], Float[Array, "b n"]]:
    """Maps pictures [B, H, W, 3] to two arrays [B, latent]."""
    x = x.astype(self.dtype)
    for i, width in enumerate(self.widths):
      x = _Conv(width, 4, 2, dtype=self.dtype, name=f"down_{i}")(x)
      x = _Residual(self.dtype, name=f"block_{i}")(leaky_relu(x))
    x = leaky_relu(x).reshape(x.shape[0], -1)
    code = _Dense(2 * self.latent, self.dtype, name="code")(x)
    mean, log_variance = jnp.split(code.astype(jnp.float32), 2, -1)
    # Beyond these bounds the exponential would not fit.
    return mean, jnp.clip(log_variance, -20.0, 10.0)


class Decoder(nn.Module):
  """Codes to pictures.

  Attributes:
    widths: the encoder's.
    dtype: compute dtype; the picture is float32.
  """

  widths: tuple[int, ...]
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, z: Float[Array, "b n"]) -> Float[Array, "b h w 3"]:
    """Maps codes [B, N] to pictures [B, H, W, 3] in [-1, 1]."""
    widths = self.widths[::-1]
    x = _Dense(BASE * BASE * widths[0], self.dtype, name="code")(z)
    x = x.reshape(-1, BASE, BASE, widths[0])
    for i, width in enumerate([*widths[1:], widths[-1]]):
      x = _Residual(self.dtype, name=f"block_{i}")(x)
      # At a quarter of the pixels; the block that follows smooths.
      x = _Conv(width, 3, 1, dtype=self.dtype, name=f"up_{i}")(leaky_relu(x))
      x = x.repeat(2, 1).repeat(2, 2)
    x = _Residual(self.dtype, name="block_last")(x)
    x = _Conv(3, 3, 1, dtype=self.dtype, name="rgb")(leaky_relu(x))
    return jnp.tanh(x.astype(jnp.float32))


class _Residual(nn.Module):
  """x + conv(act(conv(act(x)))), 3x3; starts as the identity."""

  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    width = x.shape[-1]
    y = _Conv(width, 3, 1, dtype=self.dtype, name="conv_0")(leaky_relu(x))
    y = _Conv(width, 3, 1, 0.0, self.dtype, name="conv_1")(leaky_relu(y))
    return x + y


class _Conv(nn.Module):
  """Convolution with a bias, drawn for leaky ReLU (He et al. 2015)."""

  features: int
  size: int
  stride: int
  gain: float = 1.0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
    shape = (self.size, self.size, x.shape[-1], self.features)
    kernel = self.param("kernel", _draw, shape, self.gain)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    x = convolution.conv(
      x, kernel.astype(self.dtype), stride=self.stride, padding=1
    )
    return x + bias.astype(self.dtype).reshape(1, 1, 1, -1)


class _Dense(nn.Module):
  """Matrix product with a bias."""

  features: int
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
    kernel = self.param("kernel", _draw, (x.shape[-1], self.features), 0.7)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    y = x.astype(self.dtype) @ kernel.astype(self.dtype)
    return y + bias.astype(self.dtype).reshape(1, -1)


def _draw(
  key: PRNGKeyArray, shape: tuple[int, ...], gain: float
) -> Float[Array, "..."]:
  """N(0, 2 gain^2 / fan in), drawn flat because that compiles fast."""
  draws = jax.random.normal(key, (math.prod(shape),)).reshape(shape)
  return gain * math.sqrt(2 / math.prod(shape[:-1])) * draws
