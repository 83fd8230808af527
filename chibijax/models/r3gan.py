"""R3GAN's networks (Huang et al. 2024, section 4): no normalisation at all.

A stage is a transition and some residual blocks: 1x1, grouped 3x3, 1x1 without
biases, a bias and a leaky ReLU before the second and the third. The generator
starts from a learned 4x4 basis weighted by the latent; the discriminator
mirrors it and ends in a 4x4 depthwise convolution. Resolutions change by the
binomial filter [1, 2, 1], whose borders see zeros. The last layer of a block
starts at zero and the others are scaled by the depth (Zhang et al. 2019), so a
network starts as a short one.

Labels, where there are any, are embedded: beside the latent in the generator,
as a projection in the discriminator (Miyato and Koyama 2018).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.models.layers import leaky_relu
from chibijax.ops import grouped_convolution

# The side of the generator's first picture and the discriminator's last.
BASE = 4
# Keeps the variance through a leaky ReLU of slope 0.2.
_GAIN = math.sqrt(2 / (1 + 0.2**2))


def upsample(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
  """Doubles the sides: zeros between the pixels, then [1, 2, 1] / 2.

  Odd rows and columns are the pixels themselves, even ones lie half way to the
  one before; before the first there are zeros.

  Args:
    x: pictures.

  Returns:
    Pictures of twice the sides.
  """
  for axis in (1, 2):
    pad = [(0, 0)] * 4
    pad[axis] = (1, 0)
    before = jax.lax.slice_in_dim(jnp.pad(x, pad), 0, x.shape[axis], axis=axis)
    both = jnp.stack([0.5 * (before + x), x], axis + 1)
    shape = list(x.shape)
    shape[axis] *= 2
    x = both.reshape(shape)
  return x


def downsample(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
  """Halves the sides: [1, 2, 1] / 4 around every even row and column.

  Args:
    x: pictures of even sides.

  Returns:
    Pictures of half the sides.
  """
  for axis in (1, 2):
    shape = list(x.shape)
    shape[axis : axis + 1] = [shape[axis] // 2, 2]
    pairs = x.reshape(shape)
    even = jax.lax.index_in_dim(pairs, 0, axis + 1, keepdims=False)
    odd = jax.lax.index_in_dim(pairs, 1, axis + 1, keepdims=False)
    pad = [(0, 0)] * 4
    pad[axis] = (1, 0)
    before = jax.lax.slice_in_dim(
      jnp.pad(odd, pad), 0, odd.shape[axis], axis=axis
    )
    x = 0.25 * (before + odd) + 0.5 * even
  return x


class Linear(nn.Module):
  """Matrix product over the last axis, without a bias: also a 1x1 convolution.

  Attributes:
    features: outputs.
    gain: standard deviation of the outputs of normal inputs, at the start.
    dtype: compute dtype.
  """

  features: int
  gain: float = 1.0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
    """Maps [..., I] to [..., features]."""
    shape = (x.shape[-1], self.features)
    kernel = self.param("kernel", _scaled(self.gain, shape[0]), shape)
    y = x.astype(self.dtype).reshape(-1, shape[0]) @ kernel.astype(self.dtype)
    return y.reshape(*x.shape[:-1], self.features)


class ResidualBlock(nn.Module):
  """x + linear(act(conv(act(linear(x))))).

  Attributes:
    expansion: channels inside, relative to outside.
    group: channels of a group of the 3x3 convolution; 0 for one group.
    gain: of the two first layers; see `_gain`.
    dtype: compute dtype.
  """

  expansion: int
  group: int
  gain: float
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Maps [B, H, W, C] to the same shape."""
    inside = x.shape[-1] * self.expansion
    group = self.group or inside
    y = Linear(inside, self.gain, self.dtype, name="linear_0")(x)
    y = leaky_relu(y + self._bias("bias_0", inside))
    kernel = self.param(
      "kernel",
      _scaled(self.gain, 9 * group),
      (3, 3, group, inside),
    )
    y = grouped_convolution.grouped_conv(y, kernel.astype(self.dtype))
    y = leaky_relu(y + self._bias("bias_1", inside))
    return x + Linear(x.shape[-1], 0.0, self.dtype, name="linear_1")(y)

  def _bias(self, name: str, size: int) -> Float[Array, "1 1 1 c"]:
    bias = self.param(name, nn.initializers.zeros, (size,))
    return bias.astype(self.dtype).reshape(1, 1, 1, -1)


class Generator(nn.Module):
  """Latents to pictures.

  Attributes:
    widths: channels of each stage, from 4x4 upwards; each next doubles the
      side.
    blocks: residual blocks of a stage.
    expansion: of a block.
    group: channels of a group of a block's convolution; divides every width
      times the expansion. 0 for one group, which suits narrow networks on
      CPUs.
    embedding: numbers that the labels are embedded in; 0 takes no labels.
    dtype: compute dtype; the picture is float32.
  """

  widths: tuple[int, ...]
  blocks: int = 2
  expansion: int = 2
  group: int = 16
  embedding: int = 0
  dtype: DTypeLike = jnp.float32

  @property
  def size(self) -> int:
    """Side of the pictures, in pixels."""
    return BASE * 2 ** (len(self.widths) - 1)

  @nn.compact
  def __call__(
    self, z: Float[Array, "b n"], labels: Float[Array, "b k"] | None = None
  ) -> Float[Array, "b h w 3"]:
    """Maps latents [B, N] and labels [B, K] to pictures around [-1, 1]."""
    if self.embedding:
      embedded = Linear(self.embedding, name="embedding")(labels)
      z = jnp.concatenate([z, embedded], -1)
    basis = self.param("basis", _scaled(1.0, 1), (BASE, BASE, self.widths[0]))
    weights = Linear(self.widths[0], name="mixing")(z)
    x = basis[None] * weights[:, None, None]
    x = x.astype(self.dtype)
    gain = _gain(self.blocks * len(self.widths))
    for i, width in enumerate(self.widths):
      if i:
        if width != x.shape[-1]:
          x = Linear(width, dtype=self.dtype, name=f"transition_{i}")(x)
        x = upsample(x)
      for j in range(self.blocks):
        x = ResidualBlock(
          self.expansion, self.group, gain, self.dtype, name=f"block_{i}_{j}"
        )(x)
    return Linear(3, dtype=self.dtype, name="rgb")(x).astype(jnp.float32)


class Discriminator(nn.Module):
  """Pictures to one score each; the mirror of `Generator`.

  Attributes:
    widths: channels of each stage, from 4x4 upwards as the generator's.
    blocks: residual blocks of a stage.
    expansion: of a block.
    group: channels of a group of a block's convolution.
    embedding: numbers that the labels are embedded in; 0 takes no labels.
    dtype: compute dtype; the scores are float32.
  """

  widths: tuple[int, ...]
  blocks: int = 2
  expansion: int = 2
  group: int = 16
  embedding: int = 0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w 3"],
    labels: Float[Array, "b k"] | None = None,
  ) -> Float[Array, " b"]:
    """Maps pictures [B, H, W, 3] and labels [B, K] to scores [B]."""
    widths = self.widths[::-1]
    gain = _gain(self.blocks * len(widths))
    x = Linear(widths[0], dtype=self.dtype, name="rgb")(x)
    for i, width in enumerate(widths):
      if i:
        x = downsample(x)
        if width != x.shape[-1]:
          x = Linear(width, dtype=self.dtype, name=f"transition_{i}")(x)
      for j in range(self.blocks):
        x = ResidualBlock(
          self.expansion, self.group, gain, self.dtype, name=f"block_{i}_{j}"
        )(x)
    shape = (BASE, BASE, widths[-1])
    basis = self.param("basis", _scaled(1.0, BASE * BASE), shape)
    x = (x.astype(jnp.float32) * basis[None]).sum((1, 2))
    x = Linear(self.embedding or 1, name="head")(x)
    if not self.embedding:
      return x[:, 0]
    return (x * Linear(self.embedding, name="embedding")(labels)).sum(-1)


def _gain(blocks: int) -> float:
  """Gain of a block's two first layers in a network of so many blocks.

  Zhang et al. 2019 (Fixup), section 3: depth ** (-1 / (2 m - 2)), m = 3 layers.
  """
  return _GAIN * blocks**-0.25


def _scaled(gain: float, fan_in: int) -> nn.initializers.Initializer:
  """Draws from N(0, gain^2 / fan_in), flat because that compiles fast."""

  def init(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    if not gain:
      return jnp.zeros(shape)
    draws = jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    return gain / math.sqrt(fan_in) * draws

  return init
