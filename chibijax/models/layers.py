"""Convolution layers over `chibijax.ops`, which decides how they are computed.

Kernels are HWIO, drawn from N(0, 0.02) as in DCGAN and CycleGAN; biases start
at zero. A layer computes in its `dtype`, parameters stay float32.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.ops import convolution, normalization

Activation = Callable[[Array], Array]
Initializer = Callable[[PRNGKeyArray, tuple[int, ...]], Array]


def init_kernel(
  key: PRNGKeyArray, shape: tuple[int, ...]
) -> Float[Array, "..."]:
  """Draws a kernel from N(0, 0.02), float32.

  The numbers are those of `nn.initializers.normal(0.02)`, but drawn flat: on
  CPUs XLA takes seconds to compile each small four-dimensional draw, tenths
  of a second for a flat one, and a network has dozens.

  Args:
    key: typed PRNG key.
    shape: the kernel's shape, HWIO.

  Returns:
    The kernel.
  """
  return 0.02 * jax.random.normal(key, (math.prod(shape),)).reshape(shape)


def init_xavier(
  key: PRNGKeyArray, shape: tuple[int, ...]
) -> Float[Array, "..."]:
  """Draws a kernel as CUT does: Glorot's normal distribution times 0.02.

  Args:
    key: typed PRNG key.
    shape: the kernel's shape, HWIO, or [I, O] of a dense layer.

  Returns:
    The kernel; variance 2 / (fan in + fan out) times 0.02 squared.
  """
  fans = math.prod(shape[:-2]) * (shape[-2] + shape[-1])
  return init_kernel(key, shape) * math.sqrt(2.0 / fans)


def leaky_relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """LeakyReLU of slope 0.2, the discriminators' activation."""
  return jax.nn.leaky_relu(x, 0.2)


class Conv(nn.Module):
  """Convolution with a bias.

  Attributes:
    features: output channels.
    size: side of the square kernel, in pixels.
    stride: distance between outputs, in pixels.
    padding: pixels added on each side.
    reflect: mirror the picture into the padding instead of zeros.
    transpose: double the resolution by a transposed convolution (3x3 or 4x4,
      stride 2) instead; `stride`, `padding` and `reflect` are then not used.
    use_bias: add a bias; needless before a norm that has its own.
    init_kernel: draws the kernel.
    dtype: compute dtype.
  """

  features: int
  size: int
  stride: int = 1
  padding: int = 0
  reflect: bool = False
  transpose: bool = False
  use_bias: bool = True
  init_kernel: Initializer = init_kernel
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
    """Maps [B, H, W, I] to [B, H2, W2, features] in `dtype`."""
    x = _convolved(self, x)
    if not self.use_bias:
      return x
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return x + bias.astype(self.dtype).reshape(1, 1, 1, -1)


def _convolved(
  layer: "Conv | ConvNorm", x: Float[Array, "b h w i"]
) -> Float[Array, "b h2 w2 o"]:
  """A layer's convolution, without a bias."""
  shape = (layer.size, layer.size, x.shape[-1], layer.features)
  kernel = layer.param("kernel", layer.init_kernel, shape).astype(layer.dtype)
  x = x.astype(layer.dtype)
  if layer.transpose:
    return convolution.conv_transpose(x, kernel)
  return convolution.conv(
    x,
    kernel,
    stride=layer.stride,
    padding=layer.padding,
    reflect=layer.reflect,
  )


class ConvNorm(nn.Module):
  """Convolution, instance normalisation, activation.

  The layer owns a bias, as the reference's convolutions before an instance
  norm do, so that parameter counts and published weights agree. The norm
  subtracts each channel's mean and with it any constant, so in exact
  arithmetic the bias changes neither the output nor a gradient, and its own
  gradient is zero. It is therefore not computed: its gradient here is exactly
  zero and it keeps its value, where the reference's Adam turns the rounding
  noise of that gradient into a random walk without effect.

  Attributes:
    features: output channels.
    size: side of the square kernel, in pixels.
    stride: distance between outputs, in pixels.
    padding: pixels added on each side.
    reflect: mirror the picture into the padding instead of zeros.
    transpose: double the resolution by a transposed convolution (3x3, stride
      2) instead; `stride`, `padding` and `reflect` are then not used.
    activation: applied last; None for none.
    init_kernel: draws the kernel.
    dtype: compute dtype; the norm's statistics are float32.
  """

  features: int
  size: int
  stride: int = 1
  padding: int = 0
  reflect: bool = False
  transpose: bool = False
  activation: Activation | None = jax.nn.relu
  init_kernel: Initializer = init_kernel
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
    """Maps [B, H, W, I] to [B, H2, W2, features] in `dtype`."""
    x = _convolved(self, x)
    self.param("bias", nn.initializers.zeros, (self.features,))
    x = normalization.instance_norm(x)
    return x if self.activation is None else self.activation(x)


class AffineNorm(nn.Module):
  """Batch or instance normalisation, then a scale and a shift per channel.

  Statistics are always those of the pictures at hand; none are remembered.

  Attributes:
    statistics: "batch" or "picture": what mean and variance are taken over.
    axis_name: the mapped axis that a batch is spread over under `pmap`.
    dtype: compute dtype; statistics are float32.
  """

  statistics: str = "batch"
  axis_name: str | None = None
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Maps [B, H, W, C] to the same shape, in `dtype`.

    Raises:
      ValueError: for other statistics.
    """
    shape = (x.shape[-1],)
    scale = self.param("scale", lambda k, s: 1 + init_kernel(k, s), shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    if self.statistics == "batch":
      x = normalization.batch_norm(x, axis_name=self.axis_name)
    elif self.statistics == "picture":
      x = normalization.instance_norm(x)
    else:
      raise ValueError(
        f"statistics is {self.statistics!r}, expected 'batch' or 'picture'."
      )
    scale, bias = (
      p.reshape(1, 1, 1, -1).astype(self.dtype) for p in (scale, bias)
    )
    return x.astype(self.dtype) * scale + bias
