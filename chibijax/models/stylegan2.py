"""StyleGAN2's networks (Karras et al. 2020a), as trained with ADA (2020b).

A mapping network takes a latent to a style w; each convolution of the synthesis
network scales its input channels by what it makes of w. The layers are in
`models.stylegan2_layers`.

At 1024 pixels with `channels(1024)`: 30,370,060 parameters in the generator and
29,012,513 in the discriminator; at 256, 30,034,338 and 28,864,129.

The `low` highest resolutions compute in `dtype`, their activations cut off at
256; everything else is float32. Labels, where there are any, are embedded:
beside the latent in the mapping, as a projection in the discriminator (Miyato
and Koyama 2018).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from chibijax.models.stylegan2_layers import (
  Conv,
  Dense,
  StyledConv,
  ToRgb,
  minibatch_deviation,
  noises,
  normal,
  normalized,
)
from chibijax.ops import blur

# The side of the generator's first picture and the discriminator's last.
BASE = 4


def channels(
  size: int, *, base: int = 32_768, most: int = 512
) -> tuple[int, ...]:
  """Channels at each resolution from 4x4 upwards, base / side at most `most`.

  Args:
    size: side of the pictures, 4 times a power of two.
    base: channels times side; 16,384 is what ADA uses below 512 pixels.
    most: the limit at low resolutions.

  Returns:
    One number for each resolution.
  """
  sides = [BASE << i for i in range((size // BASE).bit_length())]
  return tuple(min(base // side, most) for side in sides)


class Mapping(nn.Module):
  """Latents, and labels, to styles.

  Attributes:
    width: numbers of a style.
    depth: layers.
    embedding: numbers that the labels are embedded in; 0 takes no labels.
    rate: factor of the learning rate.
  """

  width: int = 512
  depth: int = 8
  embedding: int = 0
  rate: float = 0.01

  @nn.compact
  def __call__(
    self, z: Float[Array, "b n"], labels: Float[Array, "b k"] | None = None
  ) -> Float[Array, "b w"]:
    """Maps latents [B, N] and labels [B, K] to styles [B, width]."""
    x = normalized(z)
    if self.embedding:
      embedded = Dense(self.embedding, name="embedding")(labels)
      x = jnp.concatenate([x, normalized(embedded)], -1)
    for i in range(self.depth):
      x = Dense(self.width, self.rate, activate=True, name=f"dense_{i}")(x)
    return x


class Synthesis(nn.Module):
  """Styles to pictures, which are sums over the resolutions.

  Attributes:
    widths: see `Generator`, as for `low` and `dtype`.
  """

  widths: tuple[int, ...]
  low: int = 4
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    styles: Float[Array, "b l w"],
    keys: Key[Array, " b"] | None = None,
  ) -> Float[Array, "b h w2 3"]:
    """Maps styles [B, 2 len(widths), W] to pictures around [-1, 1]."""
    shape = (1, BASE, BASE, self.widths[0])
    x = self.param("constant", normal(1.0), shape)
    x = jnp.broadcast_to(x, (styles.shape[0], *shape[1:]))
    image, place = None, 0
    # One convolution at the first resolution, two at each other.
    sides = [BASE << (i // 2) for i in range(1, 2 * len(self.widths))]
    drawn = noises(sides, keys)
    for i, width in enumerate(self.widths):
      low = _is_low(self.dtype, len(self.widths) - i, self.low)
      x = x.astype(self.dtype if low else jnp.float32)
      for up in (True, False) if i else (False,):
        layer = StyledConv(width, up, low, name=f"conv_{place}")
        x = layer(x, styles[:, place], drawn[place])
        place += 1
      rgb = ToRgb(low, name=f"rgb_{i}")(x, styles[:, place])
      image = rgb if image is None else blur.up(image, border="zero") + rgb
    return image


class Generator(nn.Module):
  """Latents to styles to pictures.

  Attributes:
    widths: channels of each resolution, from 4x4 upwards.
    style: numbers of a style.
    depth: layers of the mapping.
    embedding: numbers that the labels are embedded in; 0 takes no labels.
    low: how many of the highest resolutions compute in `dtype`.
    dtype: their dtype; the picture is float32.
  """

  widths: tuple[int, ...]
  style: int = 512
  depth: int = 8
  embedding: int = 0
  low: int = 4
  dtype: DTypeLike = jnp.float32

  def setup(self) -> None:
    """Makes the two networks."""
    self.mapping = Mapping(self.style, self.depth, self.embedding)
    self.synthesis = Synthesis(self.widths, self.low, self.dtype)

  @property
  def size(self) -> int:
    """Side of the pictures, in pixels."""
    return BASE * 2 ** (len(self.widths) - 1)

  @property
  def layers(self) -> int:
    """How many styles a picture takes: one per convolution, and one more."""
    return 2 * len(self.widths)

  def __call__(
    self, z: Float[Array, "b n"], labels: Float[Array, "b k"] | None = None
  ) -> Float[Array, "b h w 3"]:
    """Maps latents [B, N] to pictures around [-1, 1], with constant noise."""
    return self.synthesize(self.repeat(self.map(z, labels)))

  def map(
    self, z: Float[Array, "b n"], labels: Float[Array, "b k"] | None = None
  ) -> Float[Array, "b w"]:
    """Maps latents [B, N] and labels [B, K] to styles [B, style]."""
    return self.mapping(z, labels)

  @nn.nowrap
  def repeat(self, w: Float[Array, "b w"]) -> Float[Array, "b l w"]:
    """The same style for every layer, [B, layers, style]."""
    return jnp.broadcast_to(w[:, None], (w.shape[0], self.layers, w.shape[-1]))

  def synthesize(
    self,
    styles: Float[Array, "b l w"],
    keys: Key[Array, " b"] | None = None,
  ) -> Float[Array, "b h w2 3"]:
    """Maps styles [B, layers, style] to pictures.

    Args:
      styles: one for each layer, from 4x4 upwards.
      keys: draw each picture's noise; None is the same noise for all.

    Returns:
      Pictures around [-1, 1].
    """
    return self.synthesis(styles, keys)


class Discriminator(nn.Module):
  """Pictures to one score each, through residual blocks.

  Attributes:
    widths: channels of each resolution, from 4x4 upwards as the generator's.
    group: pictures of a group of `minibatch_deviation`.
    embedding: numbers that the labels are embedded in; 0 takes no labels.
    low: how many of the highest resolutions compute in `dtype`.
    dtype: their dtype; the scores are float32.
    axis: the data axis of a mapped step, over which groups are made.
  """

  widths: tuple[int, ...]
  group: int = 4
  embedding: int = 0
  low: int = 4
  dtype: DTypeLike = jnp.float32
  axis: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w 3"],
    labels: Float[Array, "b k"] | None = None,
  ) -> Float[Array, " b"]:
    """Maps pictures [B, H, W, 3] and labels [B, K] to scores [B]."""
    for i in range(len(self.widths) - 1, 0, -1):
      low = _is_low(self.dtype, len(self.widths) - i, self.low)
      x = x.astype(self.dtype if low else jnp.float32)
      if i == len(self.widths) - 1:
        x = Conv(self.widths[i], 1, clamp=low, name="rgb")(x)
      y = Conv(self.widths[i], clamp=low, name=f"conv_{i}_0")(x)
      width = self.widths[i - 1]
      y = Conv(width, down=True, clamp=low, name=f"conv_{i}_1")(y)
      x = Conv(width, 1, down=True, linear=True, name=f"skip_{i}")(x)
      x = (x + y) * math.sqrt(0.5)
    x = self._with_deviation(x.astype(jnp.float32))
    x = Conv(self.widths[0], name="conv_0")(x)
    x = x.reshape(len(x), -1)
    x = Dense(self.widths[0], activate=True, name="dense")(x)
    x = Dense(self.embedding or 1, name="head")(x)
    if not self.embedding:
      return x[:, 0]
    embedded = Dense(self.embedding, name="embedding")(labels)
    return (x * embedded).sum(-1) / math.sqrt(self.embedding)

  def _with_deviation(
    self, x: Float[Array, "b h w c"]
  ) -> Float[Array, "b h w c1"]:
    # Parameters are drawn outside of the mapped step.
    if self.axis is None or self.is_initializing():
      return minibatch_deviation(x, self.group)
    # Groups may span shards, as they do where the whole batch is one array.
    whole = jax.lax.all_gather(x, self.axis, axis=0, tiled=True)
    first = jax.lax.axis_index(self.axis) * len(x)
    found = minibatch_deviation(whole, self.group)
    return jax.lax.dynamic_slice_in_dim(found, first, len(x))


def _is_low(dtype: DTypeLike, from_top: int, low: int) -> bool:
  """Whether the resolution `from_top`, 1 for the highest, is low precision."""
  return from_top <= low and jnp.dtype(dtype) != jnp.float32
