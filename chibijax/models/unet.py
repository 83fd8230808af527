"""The U-Net generator of pix2pix.

Isola et al. 2017, section 6.1.1, as their code has it: each level halves the
picture by a 4x4 convolution and comes back by a transposed one, and what was
seen on the way down is joined to what comes up. LeakyReLU 0.2 down, ReLU up,
normalisation except at the first and the innermost convolution, dropout in the
levels below the fourth. Depth 8 at 64 channels (the U-Net-256) has 54,413,955
parameters.

With fewer levels it takes smaller pictures: sides must be multiples of
2**depth. The last transposed convolution makes four pixels from each place of
the last but one resolution, which at 256 pixels nobody sees and at 64 is noise:
`refine` puts one more layer behind it, which sees all of them.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from chibijax.models.layers import AffineNorm, Conv, leaky_relu

# Channels stop growing at this multiple of the first level's, and dropout
# begins below the level that reaches it.
_MAX_GROWTH, _FULL = 8, 3


class UnetGenerator(nn.Module):
  """Maps pictures in [-1, 1] to pictures of the same size in [-1, 1].

  Attributes:
    width: channels of the first level (64 in the paper).
    depth: levels, at least 2 (8 for 256 pixels).
    channels: channels of the result.
    dropout: share of the inner levels' values that training sets to 0.
    refine: come up to `width` channels, and from these to the picture by a 3x3
      convolution (the paper has the picture at once).
    statistics: of the norms: "batch" (the paper) or "picture"; the same for a
      batch of one.
    axis_name: the mapped axis that a batch is spread over under `pmap`.
    dtype: compute dtype; the last tanh and the result are float32.
  """

  width: int = 64
  depth: int = 8
  channels: int = 3
  dropout: float = 0.5
  refine: bool = False
  statistics: str = "batch"
  axis_name: str | None = None
  dtype: DTypeLike = jnp.float32

  @property
  def multiple(self) -> int:
    """What both sides of a picture must be multiples of."""
    return 2**self.depth

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], keys: Key[Array, " b"] | None = None
  ) -> Float[Array, "b h w {self.channels}"]:
    """Maps [B, H, W, C] in [-1, 1] to [B, H, W, channels] in [-1, 1].

    Args:
      x: pictures.
      keys: one typed key per picture to draw its dropout from; None for none.

    Raises:
      ValueError: if the depth or a side of the pictures does not suit.
    """
    if self.depth < 2:
      raise ValueError(f"depth is {self.depth}, expected at least 2.")
    if any(side % self.multiple or not side for side in x.shape[1:3]):
      raise ValueError(
        f"A U-Net of depth {self.depth} needs sides that are multiples of "
        f"{self.multiple} pixels, got {x.shape[1]}x{x.shape[2]}."
      )
    last = self.depth - 1
    widths = [self.width * min(2**i, _MAX_GROWTH) for i in range(self.depth)]
    conv = dict(size=4, use_bias=False, dtype=self.dtype)

    skips = []
    for i in range(self.depth):
      x = leaky_relu(x) if i else x
      x = Conv(widths[i], stride=2, padding=1, **conv, name=f"down_{i}")(x)
      if 0 < i < last:
        x = self._norm(f"down_norm_{i}")(x)
      skips.append(x)
    skips.pop()
    for i in range(last, 0, -1):
      x = jax.nn.relu(x)
      x = Conv(widths[i - 1], transpose=True, **conv, name=f"up_{i}")(x)
      x = self._norm(f"up_norm_{i}")(x)
      if _FULL < i < last and keys is not None and self.dropout:
        x = _drop(x, keys, i, self.dropout)
      x = jnp.concatenate([skips.pop(), x], -1)
    x = jax.nn.relu(x)
    if self.refine:
      x = Conv(self.width, transpose=True, **conv, name="up_0")(x)
      x = jax.nn.relu(self._norm("up_norm_0")(x))
      head = dict(size=3, padding=1, dtype=self.dtype)
    else:
      head = conv | dict(transpose=True, use_bias=True)
    x = Conv(self.channels, **head, name="head")(x)
    return jnp.tanh(x.astype(jnp.float32))

  def _norm(self, name: str) -> AffineNorm:
    return AffineNorm(self.statistics, self.axis_name, self.dtype, name=name)


def _drop(
  x: Float[Array, "b h w c"], keys: Key[Array, " b"], level: int, rate: float
) -> Float[Array, "b h w c"]:
  """Sets values to 0 at random and scales the others up to the same mean."""

  def keep(key: Key[Array, ""]) -> Array:
    key = jax.random.fold_in(key, level)
    return jax.random.bernoulli(key, 1 - rate, x.shape[1:])

  return jnp.where(jax.vmap(keep)(keys), x / (1 - rate), 0)
