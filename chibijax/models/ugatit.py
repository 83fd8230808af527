"""The networks of U-GAT-IT (Kim et al. 2020), light and full.

Both have an auxiliary classifier: what tells the domain of the pooled features
(their mean and their largest values) also says which channels matter, and the
maps weighted by it are where the network looks (CAM, class activation maps).

Generator: c7s1-64, d128, d256, R256 x 4 with reflection padding and instance
norm, the classifier, R256 x 4 with AdaLIN, whose scale and shift come from two
dense layers, and two nearest-neighbour doublings with ILN. In full these layers
read the whole map (278,959,808 parameters at 256 px, and no other size), in
the light form its mean (10,589,888, any size).

Discriminators: a local one of 3 strided layers (3,290,560 parameters) and a
global one of 5 (53,130,176). Their kernels are to be normalised spectrally
before they are applied, all but the classifier's 1x1 (`PLAIN`).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PyTree

from chibijax.models.layers import (
  Activation,
  Conv,
  Initializer,
  init_kernel,
  leaky_relu,
)
from chibijax.models.resnet import check_sides
from chibijax.ops import normalization

# Layers of a discriminator that have no spectral norm.
PLAIN = ("mix",)


class Translated(NamedTuple):
  """What the generator makes.

  Attributes:
    images: pictures in [-1, 1].
    logits: the classifier's, of mean and of maximum: above 0 for pictures
      from the other domain, below 0 for those of the target's.
    heat: where it looks, at a quarter of the resolution, not negative.
  """

  images: Float[Array, "b h w c"]
  logits: Float[Array, "b 2"]
  heat: Float[Array, "b h4 w4"]


class Judged(NamedTuple):
  """What a discriminator makes.

  Attributes:
    scores: of overlapping patches.
    logits: of its classifier, of mean and of maximum.
  """

  scores: Float[Array, "b h w 1"]
  logits: Float[Array, "b 2"]


class ClassActivation(nn.Module):
  """The auxiliary classifier and the maps that it weighs.

  Attributes:
    activation: follows the 1x1 convolution.
    init_kernel: draws the kernels.
    dtype: compute dtype; the logits are float32.
  """

  activation: Activation
  init_kernel: Initializer = init_kernel
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"]
  ) -> tuple[Float[Array, "b h w c"], Float[Array, "b 2"]]:
    """Weighs feature maps; returns them, mixed, and the logits."""
    features = x.astype(jnp.float32)
    logits, weighed = [], []
    for name, pooled in (
      ("gap", features.mean((1, 2))),
      ("gmp", features.max((1, 2))),
    ):
      # One weight a channel, for the decision and for the maps.
      weight = self.param(name, self.init_kernel, (x.shape[-1], 1))
      logits.append((pooled * weight.reshape(1, -1)).sum(-1))
      weighed.append(x * weight.reshape(1, 1, 1, -1).astype(x.dtype))
    x = Conv(
      x.shape[-1],
      1,
      init_kernel=self.init_kernel,
      dtype=self.dtype,
      name="mix",
    )(jnp.concatenate(weighed, -1))
    return self.activation(x), jnp.stack(logits, -1)


class AdaLin(nn.Module):
  """Instance and layer norm, blended; scale and shift are given.

  Attributes:
    dtype: compute dtype; statistics are float32.
  """

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w c"],
    gamma: Float[Array, "b c"],
    beta: Float[Array, "b c"],
  ) -> Float[Array, "b h w c"]:
    """Maps [B, H, W, C] to the same shape (eq. 1)."""
    rho = self.param("rho", nn.initializers.constant(0.9), (x.shape[-1],))
    x = normalization.instance_layer_norm(x, rho).astype(self.dtype)
    gamma, beta = (p[:, None, None].astype(self.dtype) for p in (gamma, beta))
    return x * gamma + beta


class Iln(nn.Module):
  """Instance and layer norm, blended, with a learned scale and shift.

  Attributes:
    dtype: compute dtype; statistics are float32.
  """

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Maps [B, H, W, C] to the same shape."""
    shape = (x.shape[-1],)
    rho = self.param("rho", nn.initializers.zeros, shape)
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    x = normalization.instance_layer_norm(x, rho).astype(self.dtype)
    scale, bias = (
      p.reshape(1, 1, 1, -1).astype(self.dtype) for p in (scale, bias)
    )
    return x * scale + bias


class Residual(nn.Module):
  """x + norm(conv(relu(norm(conv(x))))), without biases.

  Attributes:
    adaptive: normalise by AdaLIN; else by instance norm.
    init_kernel: draws the kernels.
    dtype: compute dtype.
  """

  adaptive: bool = False
  init_kernel: Initializer = init_kernel
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], *style: Float[Array, "b c"]
  ) -> Float[Array, "b h w c"]:
    """Maps [B, H, W, C] to the same shape; `style` is (gamma, beta)."""
    y = x
    for i in range(2):
      y = Conv(
        x.shape[-1],
        3,
        padding=1,
        reflect=True,
        use_bias=False,
        init_kernel=self.init_kernel,
        dtype=self.dtype,
        name=f"conv_{i}",
      )(y)
      if self.adaptive:
        y = AdaLin(self.dtype, name=f"norm_{i}")(y, *style)
      else:
        y = normalization.instance_norm(y)
      y = y if i else jax.nn.relu(y)
    return x + y


class Generator(nn.Module):
  """Maps pictures in [-1, 1] to pictures of the same size in [-1, 1].

  Attributes:
    width: channels of the first layer (64 in the paper).
    blocks: residual blocks before, and again after the classifier (4).
    size: 0 for the light form; for the full one the side of its pictures.
    channels: channels of the result.
    init_kernel: draws the kernels.
    dtype: compute dtype; the last tanh and the results are float32.
    remat: recompute the residual blocks in the backward pass.
  """

  width: int = 64
  blocks: int = 4
  size: int = 0
  channels: int = 3
  init_kernel: Initializer = init_kernel
  dtype: DTypeLike = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Translated:
    """Translates pictures [B, H, W, C].

    Raises:
      ValueError: if H or W is below 8 or not a multiple of 4 or, in full, not
        the `size`.
    """
    check_sides(x)
    if self.size and x.shape[1:3] != (self.size, self.size):
      raise ValueError(
        f"The full generator needs pictures of {self.size}x{self.size}, got "
        f"{x.shape[1]}x{x.shape[2]}."
      )
    shape = dict(init_kernel=self.init_kernel, dtype=self.dtype)
    block = nn.remat(Residual) if self.remat else Residual
    x = self._norm(self._conv(x, self.width, "stem", size=7))
    for i in range(2):
      x = self._conv(x, 2 ** (i + 1) * self.width, f"down_{i}", stride=2)
      x = self._norm(x)
    for i in range(self.blocks):
      x = block(**shape, name=f"block_{i}")(x)
    x, logits = ClassActivation(jax.nn.relu, **shape, name="cam")(x)
    heat = x.astype(jnp.float32).sum(-1)
    style = self._style(x)
    for i in range(self.blocks):
      x = block(adaptive=True, **shape, name=f"adalin_{i}")(x, *style)
    for i in range(2):
      x = self._conv(_doubled(x), 2 ** (1 - i) * self.width, f"up_{i}")
      x = jax.nn.relu(Iln(self.dtype, name=f"norm_up_{i}")(x))
    x = self._conv(x, self.channels, "head", size=7)
    return Translated(jnp.tanh(x.astype(jnp.float32)), logits, heat)

  def _conv(
    self, x: Array, features: int, name: str, size: int = 3, stride: int = 1
  ) -> Array:
    return Conv(
      features,
      size,
      stride=stride,
      padding=size // 2,
      reflect=True,
      use_bias=False,
      init_kernel=self.init_kernel,
      dtype=self.dtype,
      name=name,
    )(x)

  def _norm(self, x: Array) -> Array:
    return jax.nn.relu(normalization.instance_norm(x))

  def _style(self, x: Array) -> tuple[Array, Array]:
    """AdaLIN's scale and shift, [B, C] each."""

    def dense(x: Array, name: str) -> Array:
      return nn.Dense(
        4 * self.width,
        use_bias=False,
        kernel_init=lambda key, shape, _: self.init_kernel(key, shape),
        dtype=self.dtype,
        name=name,
      )(x)

    if self.size:
      x = x.reshape(x.shape[0], -1)
    else:
      x = x.astype(jnp.float32).mean((1, 2))
    for i in range(2):
      x = jax.nn.relu(dense(x, f"style_{i}"))
    return dense(x, "gamma"), dense(x, "beta")


class Discriminator(nn.Module):
  """Scores overlapping patches, with a classifier of its own.

  Attributes:
    width: channels of the first layer (64 in the paper).
    layers: strided layers: 3 locally, 5 globally.
    init_kernel: draws the kernels.
    dtype: compute dtype; the results are float32.
  """

  width: int = 64
  layers: int = 3
  init_kernel: Initializer = init_kernel
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Judged:
    """Judges pictures [B, H, W, C] in [-1, 1].

    Each strided layer halves, the last two convolutions take one pixel each.

    Raises:
      ValueError: if the picture is too small for a single score.
    """
    least = 3 * 2**self.layers
    if min(x.shape[1:3]) < least:
      raise ValueError(
        f"A picture of {x.shape[1]}x{x.shape[2]} pixels is too small for a "
        f"discriminator of {self.layers} strided layers; it needs at least "
        f"{least} on both sides."
      )
    shape = dict(init_kernel=self.init_kernel, dtype=self.dtype)
    border = dict(size=4, padding=1, reflect=True, **shape)
    for i in range(self.layers + 1):
      stride = 2 if i < self.layers else 1
      x = Conv(self.width * 2**i, stride=stride, **border, name=f"conv_{i}")(x)
      x = leaky_relu(x)
    x, logits = ClassActivation(leaky_relu, **shape, name="cam")(x)
    x = Conv(1, use_bias=False, **border, name="head")(x)
    return Judged(x.astype(jnp.float32), logits)


class Discriminators(nn.Module):
  """The local and the global discriminator of one domain.

  Attributes:
    width: channels of their first layers (64 in the paper).
    local_layers: strided layers of the one (3).
    global_layers: strided layers of the other (5).
    init_kernel: draws the kernels.
    dtype: compute dtype; the results are float32.
  """

  width: int = 64
  local_layers: int = 3
  global_layers: int = 5
  init_kernel: Initializer = init_kernel
  dtype: DTypeLike = jnp.float32

  @property
  def layers(self) -> int:
    """Strided layers of the deeper one, which decides the least size."""
    return max(self.local_layers, self.global_layers)

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> tuple[Judged, Judged]:
    """Judges pictures [B, H, W, C] in [-1, 1], locally and globally."""
    shape = dict(init_kernel=self.init_kernel, dtype=self.dtype)
    counts = {"local": self.local_layers, "global": self.global_layers}
    return tuple(
      Discriminator(self.width, layers, **shape, name=name)(x)
      for name, layers in counts.items()
    )


def clip_rho(params: PyTree) -> PyTree:
  """Brings every norm's rho back into [0, 1], as after each step.

  Args:
    params: parameters of one generator, or of several by name.

  Returns:
    The same tree.
  """

  def clip(path: tuple, value: Array) -> Array:
    inside = path[-1] == jax.tree_util.DictKey("rho")
    return jnp.clip(value, 0.0, 1.0) if inside else value

  return jax.tree_util.tree_map_with_path(clip, params)


def _doubled(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
  """Repeats each pixel on both axes."""
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
  return x.reshape(b, 2 * h, 2 * w, c)
