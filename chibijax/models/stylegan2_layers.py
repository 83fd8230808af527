"""The layers of StyleGAN2 (Karras et al. 2020a): `models.stylegan2`.

Every layer's weights are N(0, 1) and scaled when used (equalised learning
rates, Karras et al. 2018); resolutions change through [1, 3, 3, 1] filters,
`ops.blur`. Biased layers end in a leaky ReLU times sqrt(2), which keeps the
variance. Convolutions compute in the dtype of their input.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from chibijax.models.layers import leaky_relu
from chibijax.ops import blur, convolution

# Keeps the variance through a leaky ReLU, nearly.
_GAIN = math.sqrt(2)
# Where activations and colours of low precision are cut off.
_CLAMP = 256.0


def normalized(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
  """Scales each row to a mean square of 1."""
  return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-8)


def modulated_conv(
  x: Float[Array, "b h w i"],
  kernel: Float[Array, "k k i o"],
  styles: Float[Array, "b i"],
  *,
  demodulate: bool = True,
  up: bool = False,
) -> Float[Array, "b h2 w2 o"]:
  """Convolves each picture with its own scaling of the kernel's inputs.

  Scaling the input and the output of one convolution of the whole batch is the
  same as scaling its kernel for each picture (Karras et al. 2020a, section
  2.2), and much faster on CPUs and TPUs than a group for each picture.

  Args:
    x: maps.
    kernel: 3x3, or 1x1 where not `up`.
    styles: factor of each input channel.
    demodulate: scale each picture's filters to a norm of 1, so that outputs of
      independent inputs of variance 1 have variance 1.
    up: double the resolution: a transposed convolution, then [1, 3, 3, 1].

  Returns:
    [B, H, W, O], or of twice the sides.
  """
  shape = (x.shape[0], 1, 1, -1)
  scaled = x * styles.astype(x.dtype).reshape(shape)
  filters = kernel.astype(x.dtype)
  if up:
    # A row and a column of zeros in front: the transposed convolution cuts its
    # first ones off, and this way it is those of the zeros.
    front = jnp.pad(scaled, ((0, 0), (1, 0), (1, 0), (0, 0)))
    y = blur.binomial(
      convolution.conv_transpose(front, filters), (0, 1), gain=2.0
    )
  else:
    y = convolution.conv(scaled, filters, padding=kernel.shape[0] // 2)
  if demodulate:
    squares = jnp.square(kernel).sum((0, 1))
    norms = jnp.matmul(jnp.square(styles), squares, precision="highest")
    y = y * jax.lax.rsqrt(norms + 1e-8).astype(y.dtype).reshape(shape)
  return y


def minibatch_deviation(
  x: Float[Array, "b h w c"], group: int = 4
) -> Float[Array, "b h w c1"]:
  """Appends a channel: how much pictures of a group differ (Karras 2018).

  Args:
    x: maps; groups are of neighbouring rows.
    group: rows of a group; the largest common divisor with B is taken.

  Returns:
    [B, H, W, C + 1].
  """
  rows, h, w, c = x.shape
  group = math.gcd(rows, group)
  grouped = x.reshape(rows // group, group, h * w * c)
  centred = grouped - grouped.mean(1, keepdims=True)
  deviation = jnp.sqrt(jnp.square(centred).mean(1) + 1e-8).mean(-1)
  one = jnp.broadcast_to(
    deviation.reshape(-1, 1, 1, 1, 1), (rows // group, group, h, w, 1)
  )
  return jnp.concatenate([x, one.reshape(rows, h, w, 1)], -1)


class Dense(nn.Module):
  """A linear layer with an equalised learning rate.

  Attributes:
    features: outputs.
    rate: factor of the learning rate.
    bias: its first value; None for no bias.
    activate: end in the leaky ReLU.
  """

  features: int
  rate: float = 1.0
  bias: float | None = 0.0
  activate: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
    """Maps [B, I] to [B, features]."""
    shape = (x.shape[-1], self.features)
    kernel = self.param("kernel", normal(1 / self.rate), shape)
    y = x @ (kernel * (self.rate / math.sqrt(shape[0])))
    if self.bias is not None:
      first = nn.initializers.constant(self.bias / self.rate)
      bias = self.param("bias", first, (self.features,)) * self.rate
      y = y + bias.reshape(1, -1)
    return _GAIN * leaky_relu(y) if self.activate else y


class Conv(nn.Module):
  """A convolution of the discriminator, perhaps one that halves the sides.

  Attributes:
    features: outputs.
    side: of the kernel, 1 or 3.
    down: filter and keep every second pixel.
    linear: neither bias nor activation.
    clamp: cut activations off.
  """

  features: int
  side: int = 3
  down: bool = False
  linear: bool = False
  clamp: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
    """Maps [B, H, W, I] to [B, H2, W2, features]."""
    shape = (self.side, self.side, x.shape[-1], self.features)
    kernel = self.param("kernel", normal(1.0), shape)
    kernel = (kernel / math.sqrt(math.prod(shape[:3]))).astype(x.dtype)
    if not self.down:
      y = convolution.conv(x, kernel, padding=self.side // 2)
    elif self.side == 1:
      y = convolution.conv(blur.binomial(x, (1, 1), stride=2), kernel)
    else:
      y = convolution.conv(blur.binomial(x, (2, 2)), kernel, stride=2)
    if self.linear:
      return y
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return _activated(y, bias, self.clamp)


class StyledConv(nn.Module):
  """A modulated convolution with noise, bias and activation.

  Attributes:
    features: outputs.
    up: double the resolution.
    clamp: cut activations off.
  """

  features: int
  up: bool = False
  clamp: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w i"],
    w: Float[Array, "b s"],
    noise: Float[Array, "_ h2 w2 1"],
  ) -> Float[Array, "b h2 w2 o"]:
    """Maps [B, H, W, I] and styles [B, S] to [B, H2, W2, features]."""
    shape = (3, 3, x.shape[-1], self.features)
    kernel = self.param("kernel", normal(1.0), shape)
    styles = Dense(x.shape[-1], bias=1.0, name="style")(w)
    kernel = kernel / math.sqrt(math.prod(shape[:3]))
    y = modulated_conv(x, kernel, styles, up=self.up)
    strength = self.param("noise", nn.initializers.zeros, (1,))
    noise = noise * strength.reshape(1, 1, 1, 1)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return _activated(y + noise.astype(y.dtype), bias, self.clamp)


def noises(
  sides: Sequence[int], keys: Key[Array, " b"] | None
) -> list[Float[Array, "_ h w 1"]]:
  """Normal draws for each picture, or without keys the same for all.

  Args:
    sides: of the map of each layer, in pixels.
    keys: one for each picture, or None.

  Returns:
    One array for each layer, of B pictures or of 1.
  """
  if keys is None:
    draws = [
      np.random.default_rng(place).standard_normal((1, side, side, 1))
      for place, side in enumerate(sides)
    ]
    return [jnp.asarray(x, jnp.float32) for x in draws]
  ends = np.cumsum([side * side for side in sides])

  # All at once and flat, because that compiles fast.
  def draw(key: PRNGKeyArray) -> Float[Array, " n"]:
    return jax.random.normal(key, (int(ends[-1]),))

  parts = jnp.split(jax.vmap(draw)(keys), ends[:-1], axis=1)
  return [x.reshape(len(x), side, side, 1) for x, side in zip(parts, sides)]


class ToRgb(nn.Module):
  """A modulated 1x1 convolution to colours, not demodulated."""

  clamp: bool = False

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w i"], w: Float[Array, "b s"]
  ) -> Float[Array, "b h w 3"]:
    """Maps [B, H, W, I] and styles [B, S] to colours, float32."""
    kernel = self.param("kernel", normal(1.0), (1, 1, x.shape[-1], 3))
    styles = Dense(x.shape[-1], bias=1.0, name="style")(w)
    styles = styles / math.sqrt(x.shape[-1])
    y = modulated_conv(x, kernel, styles, demodulate=False)
    bias = self.param("bias", nn.initializers.zeros, (3,))
    y = y.astype(jnp.float32) + bias.reshape(1, 1, 1, 3)
    return jnp.clip(y, -_CLAMP, _CLAMP) if self.clamp else y


def _activated(
  y: Float[Array, "b h w c"], bias: Float[Array, " c"], clamp: bool
) -> Float[Array, "b h w c"]:
  y = y + bias.astype(y.dtype).reshape(1, 1, 1, -1)
  y = leaky_relu(y) * jnp.asarray(_GAIN, y.dtype)
  limit = _CLAMP * _GAIN
  return jnp.clip(y, -limit, limit) if clamp else y


def normal(deviation: float) -> nn.initializers.Initializer:
  """Draws from N(0, deviation^2), flat because that compiles fast."""

  def init(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    draws = jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    return deviation * draws

  return init
