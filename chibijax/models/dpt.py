"""The dense prediction head that makes a plane of features from ViT tokens.

Ranftl et al. 2021 (DPT), with GAGAvatar's changes (Chu and Harada 2024,
section 3.1): four blocks' patch tokens become maps of 4, 2, 1 and 1/2 times
the patch grid, each with the picture itself appended, and four fusion blocks
merge them from coarse to fine into a map of 8 times the grid.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.models.initial import conv, fan_in
from chibijax.models.layers import Conv

# Sides of the four maps relative to the grid of patches.
_ENLARGE = (4, 2, 1)


class DptHead(nn.Module):
  """Four levels of patch tokens and the picture to one map of features.

  Attributes:
    widths: channels of the four levels, fine to coarse.
    hidden: channels of the fusion blocks.
    features: channels of the result.
    dtype: compute dtype.
  """

  widths: tuple[int, int, int, int] = (256, 512, 1024, 1024)
  hidden: int = 256
  features: int = 256
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    levels: tuple[Float[Array, "b rows columns c"], ...],
    picture: Float[Array, "b h w 3"],
  ) -> Float[Array, "b h8 w8 f"]:
    """Maps four [B, R, C, width] to [B, 8 R, 8 C, features], float32.

    Args:
      levels: patch tokens of four blocks, from the first to the last.
      picture: what the tokens were made from, ImageNet-normalised; no gradient
        flows into it.

    Returns:
      The features.
    """
    if len(levels) != 4:
      raise ValueError(f"DptHead needs four levels, got {len(levels)}.")
    picture = jax.lax.stop_gradient(picture)
    maps = [
      self._level(i, level.astype(self.dtype), picture)
      for i, level in enumerate(levels)
    ]
    path = None
    for i in range(4):
      # The last block doubles, the others reach the next finer map.
      h, w = (
        maps[2 - i].shape[1:3] if i < 3 else (2 * n for n in path.shape[1:3])
      )
      skip = None if i == 0 else maps[3 - i]
      path = maps[3] if i == 0 else path
      path = Fusion(dtype=self.dtype, name=f"fusion_{i}")(path, skip, (h, w))
    return conv(self.features, 3, self.dtype, "last")(path).astype(jnp.float32)

  def _level(
    self,
    i: int,
    x: Float[Array, "b rows columns c"],
    picture: Float[Array, "b h w 3"],
  ) -> Float[Array, "b h2 w2 hidden"]:
    """Projects, resizes and adds the picture to one level."""
    width, dtype = self.widths[i], self.dtype
    x = Conv(
      width, 1, init_kernel=fan_in(1 / 3), dtype=dtype, name=f"project_{i}"
    )(x)
    if i < 2:
      x = Enlarge(_ENLARGE[i], dtype=dtype, name=f"resize_{i}")(x)
    elif i == 3:
      x = Conv(
        width,
        3,
        stride=2,
        padding=1,
        init_kernel=fan_in(1 / 3),
        dtype=dtype,
        name="resize_3",
      )(x)
    small = jax.image.resize(
      picture, (picture.shape[0], *x.shape[1:3], 3), "linear", antialias=True
    )
    x = jnp.concatenate([small.astype(dtype), x], axis=-1)
    return conv(self.hidden, 3, dtype, f"merge_{i}", use_bias=False)(x)


class Fusion(nn.Module):
  """Adds a finer map, refines, enlarges: RefineNet's block as DPT has it.

  The first block has nothing to add, but owns the unit that would refine it:
  the reference's parameters count it and its files hold it.

  Attributes:
    dtype: compute dtype.
  """

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w c"],
    skip: Float[Array, "b h w c"] | None,
    size: tuple[int, int],
  ) -> Float[Array, "b h2 w2 c"]:
    """Maps [B, H, W, C] to [B, *size, C]."""
    if skip is not None:
      x = x + ResidualUnit(dtype=self.dtype, name="unit_1")(skip)
    elif self.is_initializing():
      ResidualUnit(dtype=self.dtype, name="unit_1")(x[:, :1, :1])
    x = ResidualUnit(dtype=self.dtype, name="unit_2")(x)
    # A 1x1 convolution and an interpolation can change places (the weights
    # sum to 1); it costs a quarter here.
    x = Conv(
      x.shape[-1], 1, init_kernel=fan_in(1 / 3), dtype=self.dtype, name="out"
    )(x)
    return resize_corners(x, size)


class ResidualUnit(nn.Module):
  """x + conv(relu(conv(relu x))).

  Attributes:
    dtype: compute dtype.
  """

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Maps [B, H, W, C] to the same shape."""
    y = conv(x.shape[-1], 3, self.dtype, "conv_1")(jax.nn.relu(x))
    return x + conv(x.shape[-1], 3, self.dtype, "conv_2")(jax.nn.relu(y))


class Enlarge(nn.Module):
  """A transposed convolution whose windows do not overlap.

  PyTorch's `ConvTranspose2d(c, c, k, stride=k)`; `kernel[i, j, a, b]` is its
  `weight[a, b, i, j]`.

  Attributes:
    factor: side of the kernel, and by how much the map grows.
    dtype: compute dtype.
  """

  factor: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Maps [B, H, W, C] to [B, factor H, factor W, C]."""
    b, h, w, c = x.shape
    k = self.factor
    kernel = self.param("kernel", fan_in(1 / 3), (k, k, c, c))
    bias = self.param("bias", nn.initializers.zeros, (c,))
    flat = kernel.transpose(2, 0, 1, 3).reshape(c, k * k * c)
    x = x.astype(self.dtype) @ flat.astype(self.dtype)
    x = x.reshape(b, h, w, k, k, c).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(b, h * k, w * k, c)
    return x + bias.astype(self.dtype).reshape(1, 1, 1, c)


def resize_corners(
  x: Float[Array, "b h w c"], size: tuple[int, int]
) -> Float[Array, "b h2 w2 c"]:
  """Interpolates linearly with the corner pixels kept in the corners.

  PyTorch's bilinear `interpolate` with `align_corners=True`.

  Args:
    x: maps.
    size: height and width of the result.

  Returns:
    The resized maps, in the dtype of `x`.
  """
  rows, columns = (
    jnp.asarray(_corner_weights(n, m), x.dtype)
    for n, m in zip(x.shape[1:3], size, strict=True)
  )
  x = jnp.einsum("yh,bhwc->bywc", rows, x, precision="highest")
  return jnp.einsum("xw,bywc->byxc", columns, x, precision="highest")


def _corner_weights(source: int, target: int) -> np.ndarray:
  at = np.arange(target) * ((source - 1) / max(target - 1, 1))
  distance = np.abs(at[:, None] - np.arange(source)[None])
  return np.maximum(1 - distance, 0).astype(np.float32)
