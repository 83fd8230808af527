"""DCGAN's networks (Radford et al. 2016), with or without batch norm.

4x4 kernels, stride 2 between resolutions, ReLU in the generator, LeakyReLU 0.2
in the discriminator, batch norm everywhere but at the pictures and the score.
Convolutions have no bias, as a norm follows. With latent 100 and width 64 at
64 pixels: 3,576,704 and 2,765,568 parameters.

Labels, if any, go beside the latent (Mirza and Osindero 2014) and are projected
on what the discriminator has found (Miyato and Koyama 2018).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.models.layers import init_kernel, leaky_relu
from chibijax.ops import convolution

_BASE = 4


class BatchNorm(nn.Module):
  """Normalises channels over the whole batch; scale from N(1, 0.02), shift 0.

  Attributes:
    train: use this batch's statistics and move the running ones by a tenth;
      else use those.
    axis: the data axis under pmap.
    running: keep running statistics; without, only training can be done.
  """

  train: bool
  axis: str | None = None
  running: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Maps [B, H, W, C] to the same shape; statistics are float32."""
    size = x.shape[-1]
    scale = self.param("scale", lambda k, s: 1 + init_kernel(k, s), (size,))
    shift = self.param("bias", nn.initializers.zeros, (size,))
    x = x.astype(jnp.float32)
    if self.train:
      mean, squares = x.mean((0, 1, 2)), jnp.square(x).mean((0, 1, 2))
      # Parameters are drawn outside of the mapped step.
      if self.axis is not None and not self.is_initializing():
        mean, squares = jax.lax.pmean((mean, squares), self.axis)
      variance = squares - jnp.square(mean)
    if self.running:
      kept_mean = self.variable("stats", "mean", jnp.zeros, (size,))
      kept_variance = self.variable("stats", "variance", jnp.ones, (size,))
      if not self.train:
        mean, variance = kept_mean.value, kept_variance.value
      elif not self.is_initializing():
        kept_mean.value = 0.9 * kept_mean.value + 0.1 * mean
        kept_variance.value = 0.9 * kept_variance.value + 0.1 * variance
    factor = scale * jax.lax.rsqrt(variance + 1e-5)
    shape = (1, 1, 1, size)
    return (x - mean.reshape(shape)) * factor.reshape(shape) + shift.reshape(
      shape
    )


class Embedding(nn.Module):
  """Labels to a vector, without a bias.

  Attributes:
    features: numbers of it.
  """

  features: int

  @nn.compact
  def __call__(self, labels: Float[Array, "b k"]) -> Float[Array, "b n"]:
    """Maps labels [B, K] to [B, features]."""
    shape = (labels.shape[-1], self.features)
    init = nn.initializers.normal(shape[0] ** -0.5)
    return labels @ self.param("kernel", init, shape)


class Generator(nn.Module):
  """Latents to pictures.

  Attributes:
    size: side of the pictures, 4 times a power of two.
    width: channels before the last layer; each lower resolution has twice as
      many, at most eight times.
    embedding: numbers that the labels are embedded in; 0 takes no labels.
    dtype: compute dtype; the picture is float32.
    axis: the data axis under pmap.
  """

  size: int = 64
  width: int = 64
  embedding: int = 0
  dtype: DTypeLike = jnp.float32
  axis: str | None = None

  @nn.compact
  def __call__(
    self,
    z: Float[Array, "b n"],
    labels: Float[Array, "b k"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "b h w 3"]:
    """Maps latents [B, N] and labels to pictures in [-1, 1].

    Args:
      z: normal draws.
      labels: [B, K] where they are embedded.
      train: normalise by the batch.

    Returns:
      [B, size, size, 3].
    """
    if self.embedding:
      told = Embedding(self.embedding, name="embedding")(labels)
      z = jnp.concatenate([z, told], -1)
    doublings = (self.size // _BASE).bit_length() - 1
    widths = [self.width * min(2**i, 8) for i in range(doublings)][::-1]
    shape = (_BASE, _BASE, z.shape[-1], widths[0])
    kernel = self.param("stem", init_kernel, shape)
    x = z.astype(self.dtype) @ (
      kernel.astype(self.dtype).transpose(2, 0, 1, 3).reshape(z.shape[-1], -1)
    )
    x = x.reshape(-1, _BASE, _BASE, widths[0])
    for i, width in enumerate([*widths[1:], 3]):
      x = BatchNorm(train, self.axis, name=f"norm_{i}")(x).astype(self.dtype)
      x = jax.nn.relu(x)
      shape = (4, 4, width, x.shape[-1])
      kernel = self.param(f"up_{i}", init_kernel, shape).astype(self.dtype)
      x = _double(x, kernel)
    return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
  """Pictures to one score each.

  Attributes:
    width: channels after the first layer, doubled with each next, at most
      eight times.
    norm: batch norm, which WGAN-GP must not have.
    embedding: numbers that the labels are embedded in; 0 takes no labels.
    dtype: compute dtype; the scores are float32.
    axis: the data axis under pmap.
  """

  width: int = 64
  norm: bool = True
  embedding: int = 0
  dtype: DTypeLike = jnp.float32
  axis: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w c"],
    labels: Float[Array, "b k"] | None = None,
  ) -> Float[Array, " b"]:
    """Maps pictures [B, H, W, C] and labels [B, K] to scores [B]."""
    halvings = (x.shape[1] // _BASE).bit_length() - 1
    x = x.astype(self.dtype)
    for i in range(halvings):
      shape = (4, 4, x.shape[-1], self.width * min(2**i, 8))
      kernel = self.param(f"down_{i}", init_kernel, shape).astype(self.dtype)
      x = convolution.conv(x, kernel, stride=2, padding=1)
      if i and self.norm:
        norm = BatchNorm(True, self.axis, running=False, name=f"norm_{i}")
        x = norm(x).astype(self.dtype)
      x = leaky_relu(x)
    scores = 1 + self.embedding
    shape = (_BASE, _BASE, x.shape[-1], scores)
    kernel = self.param("head", init_kernel, shape).astype(self.dtype)
    x = (x.reshape(len(x), -1) @ kernel.reshape(-1, scores)).astype(jnp.float32)
    if not self.embedding:
      return x[:, 0]
    told = Embedding(self.embedding, name="embedding")(labels)
    return x[:, 0] + (x[:, 1:] * told).sum(-1)


def _double(
  x: Float[Array, "b h w i"], kernel: Float[Array, "4 4 o i"]
) -> Float[Array, "b h2 w2 o"]:
  """PyTorch's ConvTranspose2d(i, o, 4, 2, 1): `_halve`'s input gradient."""
  shape = (x.shape[0], 2 * x.shape[1], 2 * x.shape[2], kernel.shape[2])

  def halve(y: Array) -> Array:
    return convolution.conv(y, kernel, stride=2, padding=1)

  _, pullback = jax.vjp(halve, jnp.zeros(shape, x.dtype))
  return pullback(x)[0]
