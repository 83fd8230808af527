"""Vision transformers as DINOv2 builds them.

Dosovitskiy et al. 2021 (pre-norm blocks, learnt positions) with the details of
Oquab et al. 2024 (DINOv2): patches of 14 px, LayerScale, exact GELU, norms with
eps 1e-6; and registers, Darcet et al. 2024. Tokens stand in the order class,
registers, patches row by row. Pictures are NHWC, ImageNet-normalised.

Parameters: `patch_kernel` [p, p, 3, C], `patch_bias`, `class_token` [C],
`registers` [R, C], `positions` [1 + G^2, C] (the class's first), `block_I` and
`norm`.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.errors import UserError
from chibijax.models import initial

# Width, depth and heads of the published models.
SIZES = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
# The published ones learnt 37x37 positions: pictures of 518 px.
GRID = 37
# DINOv2 without registers enlarges by (h + 0.1) / 37 and not by h / 37, which
# moves every sample a little: a workaround that the weights have got used to.
_OFFSET = 0.1


def dinov2(
  size: str = "base",
  *,
  registers: int = 0,
  **options: Any,
) -> "VisionTransformer":
  """One of the published networks, without its weights.

  Args:
    size: "small", "base" or "large".
    registers: 0 or, for the models with registers, 4.
    **options: further attributes, such as `blocks` or `dtype`.

  Returns:
    The module.

  Raises:
    UserError: for another size.
  """
  if size not in SIZES:
    raise UserError(
      f"There is no DINOv2 network {size!r}; expected one of "
      f"{', '.join(SIZES)}."
    )
  width, depth, heads = SIZES[size]
  options = dict(registers=registers, grid=GRID) | options
  return VisionTransformer(width, depth, heads, **options)


class VisionTransformer(nn.Module):
  """A vision transformer that returns the tokens after some of its blocks.

  Attributes:
    width: channels C of a token.
    depth: number of blocks.
    heads: of the attention; they divide `width`.
    patch: side of a patch, in pixels.
    registers: extra tokens that belong to no patch; see `fit_positions` for
      what else depends on them.
    grid: patches along a side for which positions are learnt.
    blocks: the blocks whose tokens are returned, counted from 0; negative ones
      from the end.
    dtype: compute dtype of the blocks; their sum and the norms are float32.
  """

  width: int
  depth: int
  heads: int
  patch: int = 14
  registers: int = 0
  grid: int = GRID
  blocks: tuple[int, ...] = (-1,)
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w 3"]
  ) -> tuple[Float[Array, "b tokens c"], ...]:
    """Maps [B, H, W, 3] to tokens [B, 1 + registers + patches, width].

    Args:
      x: ImageNet-normalised pictures, sides multiples of `patch`.

    Returns:
      For each of `blocks` the tokens after it, through the last norm, float32.

    Raises:
      ValueError: if the sides are no multiples of `patch`, or there is no such
        block.
    """
    height, width = x.shape[1:3]
    if height % self.patch or width % self.patch:
      raise ValueError(
        f"The sides must be multiples of {self.patch}, got {height}x{width}."
      )
    wanted = [i % self.depth for i in self.blocks if abs(i) <= self.depth]
    if len(wanted) != len(self.blocks) or self.depth in self.blocks:
      raise ValueError(f"{self.blocks} are not among {self.depth} blocks.")
    rows, columns = height // self.patch, width // self.patch
    x = self._tokens(x.astype(jnp.float32), rows, columns)
    norm = _norm("norm")
    found = {}
    for i in range(max(wanted) + 1):
      x = Block(self.heads, dtype=self.dtype, name=f"block_{i}")(x)
      if i in wanted:
        found[i] = norm(x)
    if self.is_initializing():
      for i in range(max(wanted) + 1, self.depth):
        Block(self.heads, dtype=self.dtype, name=f"block_{i}")(x)
    return tuple(found[i] for i in wanted)

  def _tokens(
    self, x: Float[Array, "b h w 3"], rows: int, columns: int
  ) -> Float[Array, "b tokens c"]:
    """Patches, positions, class and registers."""
    b, p, c = x.shape[0], self.patch, self.width
    kernel = self.param("patch_kernel", initial.token, (p, p, 3, c))
    bias = self.param("patch_bias", nn.initializers.zeros, (c,))
    positions = self.param("positions", initial.token, (1 + self.grid**2, c))
    first = self.param("class_token", nn.initializers.zeros, (c,))
    # Patches do not overlap, so their convolution is one matrix product.
    x = x.reshape(b, rows, p, columns, p, 3).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(b, rows * columns, p * p * 3).astype(self.dtype)
    x = x @ kernel.reshape(p * p * 3, c).astype(self.dtype)
    x = x.astype(jnp.float32) + bias.reshape(1, 1, c)
    fitted = fit_positions(
      positions, (rows, columns), registers=self.registers > 0
    )
    x = x + fitted[None, 1:]
    extra = [jnp.broadcast_to(first + fitted[0], (b, 1, c))]
    if self.registers:
      # Registers have no position.
      shape = (self.registers, c)
      tokens = self.param("registers", nn.initializers.zeros, shape)
      extra.append(jnp.broadcast_to(tokens[None], (b, *shape)))
    return jnp.concatenate([*extra, x], axis=1)


class Block(nn.Module):
  """x + LayerScale(attention(norm x)), then the same with an MLP.

  Attributes:
    heads: of the attention.
    ratio: hidden width of the MLP relative to the tokens'.
    dtype: compute dtype; the sum is float32.
  """

  heads: int
  ratio: int = 4
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
    """Maps tokens [B, N, C] to the same shape."""
    b, n, c = x.shape
    y = _norm("norm_1")(x).astype(self.dtype)
    parts = self._dense(3 * c, "qkv")(y).reshape(b, n, 3, self.heads, -1)
    y = attend(*(parts[:, :, i] for i in range(3)))
    y = self._dense(c, "proj")(y.reshape(b, n, c))
    x = x + self._scaled(y, "scale_1")
    y = _norm("norm_2")(x).astype(self.dtype)
    y = jax.nn.gelu(self._dense(self.ratio * c, "fc_1")(y), approximate=False)
    return x + self._scaled(self._dense(c, "fc_2")(y), "scale_2")

  def _dense(self, features: int, name: str) -> nn.Dense:
    return nn.Dense(
      features, dtype=self.dtype, kernel_init=initial.token, name=name
    )

  def _scaled(self, y: Array, name: str) -> Array:
    """LayerScale, Touvron et al. 2021; DINOv2 starts at 1."""
    gamma = self.param(name, nn.initializers.ones, (y.shape[-1],))
    return y.astype(jnp.float32) * gamma.reshape(1, 1, -1)


def attend(
  q: Float[Array, "b n heads d"],
  k: Float[Array, "b m heads d"],
  v: Float[Array, "b m heads d"],
) -> Float[Array, "b n heads d"]:
  """softmax(q k^T / sqrt d) v for each head; the softmax is float32.

  Args:
    q: queries.
    k: keys.
    v: values.

  Returns:
    The attended values, in the dtype of `v`.
  """
  scores = jnp.einsum(
    "bnhd,bmhd->bhnm",
    q / math.sqrt(q.shape[-1]),
    k,
    preferred_element_type=jnp.float32,
  )
  weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
  return jnp.einsum("bhnm,bmhd->bnhd", weights, v)


def fit_positions(
  positions: Float[Array, "tokens c"],
  grid: tuple[int, int],
  *,
  registers: bool = False,
) -> Float[Array, "fitted c"]:
  """Interpolates learnt positions for another number of patches.

  As DINOv2 does in PyTorch. Models without registers: bicubic with a = -0.75,
  not antialiased, source coordinate (i + 0.5) G / (g + 0.1) - 0.5, borders
  repeated. Models with registers: antialiased (a = -0.5, weights normalised
  within the border), coordinate (i + 0.5) G / g - 0.5.

  Args:
    positions: the class's and those of G x G patches, [1 + G^2, C].
    grid: rows and columns of patches wanted.
    registers: the model has registers.

  Returns:
    [1 + rows columns, C]; the input itself where nothing changes.
  """
  count, c = positions.shape
  side = math.isqrt(count - 1)
  if grid == (side, side):
    return positions
  rows, columns = (
    jnp.asarray(_cubic_weights(side, n, antialias=registers)) for n in grid
  )
  patches = positions[1:].reshape(side, side, c)
  patches = jnp.einsum("yh,hwc->ywc", rows, patches, precision="highest")
  patches = jnp.einsum("xw,ywc->yxc", columns, patches, precision="highest")
  return jnp.concatenate([positions[:1], patches.reshape(-1, c)])


def _norm(name: str) -> Callable[[Array], Array]:
  return nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, name=name)


def _cubic_weights(
  source: int, target: int, *, antialias: bool
) -> Float[np.ndarray, "target src"]:
  """The matrix of Keys' cubic convolution, as `fit_positions` says."""
  matrix = np.zeros((target, source))
  if not antialias:
    at = (np.arange(target) + 0.5) * source / (target + _OFFSET) - 0.5
    for k in range(-1, 3):
      near = np.floor(at) + k
      index = np.clip(near, 0, source - 1).astype(int)
      matrix[np.arange(target), index] += _keys(at - near, -0.75)
    return matrix.astype(np.float32)
  step = source / target
  wide = max(step, 1.0)
  for i in range(target):
    centre = (i + 0.5) * step
    first = max(int(centre - 2 * wide + 0.5), 0)
    last = min(int(centre + 2 * wide + 0.5), source)
    taps = np.arange(first, last)
    weights = _keys((taps + 0.5 - centre) / wide, -0.5)
    matrix[i, taps] = weights / weights.sum()
  return matrix.astype(np.float32)


def _keys(t: np.ndarray, a: float) -> np.ndarray:
  """Keys' cubic kernel with parameter a."""
  t = np.abs(t)
  inner = ((a + 2) * t - (a + 3)) * t * t + 1
  outer = a * (((t - 5) * t + 8) * t - 4)
  return np.where(t <= 1, inner, np.where(t < 2, outer, 0.0))
