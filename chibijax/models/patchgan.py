"""The patch discriminator of pix2pix and CycleGAN.

Isola et al. 2017: C64-C128-C256-C512-1 with 4x4 kernels, zero padding 1 and
LeakyReLU 0.2; strides 2, 2, 2, 1, 1 and instance norm in the middle layers.
Each output sees 70x70 input pixels. 2,764,737 parameters.

pix2pix shows it the photo and the result as six channels and normalises over
the batch (2,768,705 parameters); CUT has it shrink through binomial filters.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.models.layers import (
  AffineNorm,
  Conv,
  ConvNorm,
  Initializer,
  init_kernel,
  leaky_relu,
)
from chibijax.ops import blur

# Channels stop growing at this multiple of the first layer's.
_MAX_GROWTH = 8


class PatchDiscriminator(nn.Module):
  """Scores overlapping patches: real or fake, one number for each.

  Attributes:
    width: channels of the first layer (64 in the paper).
    layers: strided layers (3 gives the 70x70 patch).
    statistics: of the norms: "" for instance norm without parameters, or
      "batch" or "picture" as in `layers.AffineNorm`.
    norm: normalise at all; a discriminator whose slope is penalised (R1) does
      better without.
    antialias: shrink by `ops.blur` in place of strides.
    axis_name: the mapped axis that a batch is spread over under `pmap`.
    init_kernel: draws the kernels.
    dtype: compute dtype; the scores are float32.
  """

  width: int = 64
  layers: int = 3
  statistics: str = ""
  norm: bool = True
  antialias: bool = False
  axis_name: str | None = None
  init_kernel: Initializer = init_kernel
  dtype: DTypeLike = jnp.float32

  def output_side(self, side: int) -> int:
    """Number of scores along a side of `side` pixels; < 1 if too small."""
    for _ in range(self.layers):
      side //= 2
    return side - 2

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 1"]:
    """Maps [B, H, W, C] in [-1, 1] to [B, H / 8 - 2, W / 8 - 2, 1] scores.

    The sizes are for three layers; each strided layer halves, rounding down.

    Raises:
      ValueError: if the picture is too small for a single score.
    """
    if min(map(self.output_side, x.shape[1:3])) < 1:
      raise ValueError(
        f"A picture of {x.shape[1]}x{x.shape[2]} pixels is too small for a "
        f"discriminator of {self.layers} strided layers; it needs at least "
        f"{3 * 2**self.layers} on both sides."
      )
    shape = dict(
      size=4, padding=1, init_kernel=self.init_kernel, dtype=self.dtype
    )
    stride = 1 if self.antialias else 2
    for i in range(self.layers + 1):
      shrink = i < self.layers
      x = self._layer(
        x, i, dict(stride=stride if shrink else 1, **shape, name=f"conv_{i}")
      )
      if shrink and self.antialias:
        x = blur.down(x)
    return Conv(1, **shape, name="head")(x).astype(jnp.float32)

  def _layer(self, x: Array, i: int, shape: dict[str, Any]) -> Array:
    """Convolution, norm (never in the first layer), LeakyReLU."""
    features = self.width * min(2**i, _MAX_GROWTH)
    if i == 0 or not self.norm:
      return leaky_relu(Conv(features, **shape)(x))
    if not self.statistics:
      return ConvNorm(features, activation=leaky_relu, **shape)(x)
    x = Conv(features, use_bias=False, **shape)(x)
    norm = AffineNorm(
      self.statistics, self.axis_name, self.dtype, name=f"norm_{i}"
    )
    return leaky_relu(norm(x))
