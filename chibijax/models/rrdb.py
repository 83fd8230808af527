"""RRDB, the super-resolution network of ESRGAN and Real-ESRGAN.

Wang et al. 2018, section 3.1: blocks of three dense blocks of five 3x3
convolutions each, all residuals scaled by 0.2, no normalisation; then the
picture is enlarged by nearest neighbours and convolutions. With 64 channels,
growth 32 and 23 blocks it has 16,697,987 parameters at scale 4.

Real-ESRGAN's scale 2 keeps the network and hands it the picture folded, so that
2x2 pixels become channels (12 in place of 3): 16,703,171 parameters.

The published networks work on [0, 1]; pictures here are [-1, 1], and the
network converts.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from chibijax.models.adain import enlarge
from chibijax.models.layers import Conv, leaky_relu

SCALES = (2, 4)
_RESIDUAL = 0.2
# Our names of the layers around the blocks, in the three ways of publishing:
# Real-ESRGAN, ESRGAN's later code, ESRGAN's first files.
_OUTSIDE = {
  "first": ("conv_first", "conv_first", "model.0"),
  "body": ("conv_body", "trunk_conv", "model.1.sub.{blocks}"),
  "up_0": ("conv_up1", "upconv1", "model.3"),
  "up_1": ("conv_up2", "upconv2", "model.6"),
  "fine": ("conv_hr", "HRconv", "model.8"),
  "last": ("conv_last", "conv_last", "model.10"),
}
_INSIDE = (
  "body.{block}.rdb{dense}.conv{conv}",
  "RRDB_trunk.{block}.RDB{dense}.conv{conv}",
  "model.1.sub.{block}.RDB{dense}.conv{conv}.0",
)
# Where a checkpoint of a training keeps the state dict; averaged ones first.
_WRAPPERS = ("params_ema", "params", "state_dict")


def init_dense(
  key: PRNGKeyArray, shape: tuple[int, ...]
) -> Float[Array, "..."]:
  """Draws a kernel of a dense block: He's normal distribution times 0.1.

  Args:
    key: typed PRNG key.
    shape: HWIO.

  Returns:
    The kernel.
  """
  return 0.1 * _normal(key, shape, 2.0)


def init_plain(
  key: PRNGKeyArray, shape: tuple[int, ...]
) -> Float[Array, "..."]:
  """Draws a kernel with variance 1 / (3 fan in), as PyTorch's default has.

  Args:
    key: typed PRNG key.
    shape: HWIO.

  Returns:
    The kernel.
  """
  return _normal(key, shape, 1 / 3)


def _normal(
  key: PRNGKeyArray, shape: tuple[int, ...], gain: float
) -> Float[Array, "..."]:
  # Drawn flat, see `layers.init_kernel`.
  x = jax.random.normal(key, (math.prod(shape),)).reshape(shape)
  return x * math.sqrt(gain / math.prod(shape[:-1]))


def fold(x: Float[Array, "b h w c"], side: int) -> Float[Array, "b h2 w2 c2"]:
  """Makes channels of squares of pixels: PyTorch's `pixel_unshuffle`.

  Args:
    x: pictures, [B, H, W, C], sides multiples of `side`.
    side: of the squares.

  Returns:
    [B, H / side, W / side, C side^2]; channel c's pixels lie together.
  """
  b, h, w, c = x.shape
  x = x.reshape(b, h // side, side, w // side, side, c)
  x = x.transpose(0, 1, 3, 5, 2, 4)
  return x.reshape(b, h // side, w // side, c * side * side)


class Block(nn.Module):
  """A residual of three residual dense blocks (Wang et al. 2018, figure 4).

  Attributes:
    growth: channels that each convolution of a dense block adds.
    dtype: compute dtype.
  """

  growth: int = 32
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Maps [B, H, W, C] to the same shape."""
    y = x
    for i in range(3):
      seen = y
      for j in range(5):
        z = Conv(
          self.growth if j < 4 else x.shape[-1],
          size=3,
          padding=1,
          init_kernel=init_dense,
          dtype=self.dtype,
          name=f"dense_{i}_{j}",
        )(seen)
        if j < 4:
          seen = jnp.concatenate([seen, leaky_relu(z)], -1)
      y = y + _RESIDUAL * z
    return x + _RESIDUAL * y


class Rrdb(nn.Module):
  """Enlarges pictures in [-1, 1].

  Attributes:
    scale: 2 or 4.
    width: channels (64 in the paper).
    growth: of the dense blocks (32 in the paper).
    blocks: how many (23 in the paper).
    dtype: compute dtype; the result is float32.
    remat: recompute the blocks in the backward pass, to save memory.
  """

  scale: int = 4
  width: int = 64
  growth: int = 32
  blocks: int = 23
  dtype: DTypeLike = jnp.float32
  remat: bool = False

  @property
  def title(self) -> str:
    """What a person calls it."""
    return f"RRDB-{self.blocks}"

  @nn.compact
  def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b h2 w2 3"]:
    """Maps [B, H, W, 3] to [B, scale H, scale W, 3].

    Args:
      x: pictures in [-1, 1]; for scale 2 with even sides.

    Returns:
      Pictures around [-1, 1]; they are not clipped.

    Raises:
      ValueError: for another scale, or odd sides at scale 2.
    """
    if self.scale not in SCALES:
      raise ValueError(f"scale is {self.scale}, expected 2 or 4.")
    folded = 4 // self.scale
    if x.shape[1] % folded or x.shape[2] % folded:
      raise ValueError(
        f"Scale 2 needs even sides, got {x.shape[1]}x{x.shape[2]}."
      )
    shape = dict(size=3, padding=1, init_kernel=init_plain, dtype=self.dtype)
    x = (x + 1) / 2
    if folded > 1:
      x = fold(x, folded)
    x = first = Conv(self.width, **shape, name="first")(x)
    block = nn.remat(Block) if self.remat else Block
    for i in range(self.blocks):
      x = block(self.growth, self.dtype, name=f"block_{i}")(x)
    x = first + Conv(self.width, **shape, name="body")(x)
    for i in range(2):
      x = leaky_relu(Conv(self.width, **shape, name=f"up_{i}")(enlarge(x)))
    x = leaky_relu(Conv(self.width, **shape, name="fine")(x))
    x = Conv(3, **shape, name="last")(x)
    return 2 * x.astype(jnp.float32) - 1


def from_published(
  weights: Mapping[str, Shaped[np.ndarray, "..."]],
) -> tuple[Rrdb, dict[str, Any]]:
  """Makes the network of a published file.

  Args:
    weights: arrays by name, in one of the three namings (see `_OUTSIDE`);
      a prefix such as "params_ema." is skipped.

  Returns:
    The network, its size read from the arrays, and its parameters.

  Raises:
    ValueError: if the arrays are not those of such a network.
  """
  arrays = unwrapped(weights)
  style = next(
    (i for i in range(3) if f"{_OUTSIDE['up_0'][i]}.weight" in arrays), None
  )
  if style is None:
    raise ValueError("the names are not those of an RRDB network")
  pattern = re.escape(_INSIDE[style]).replace(r"\{block\}", r"(\d+)")
  pattern = pattern.replace(r"\{dense\}", "1").replace(r"\{conv\}", "1")
  found = [re.fullmatch(pattern + r"\.weight", name) for name in arrays]
  blocks = len([match for match in found if match])
  left = dict(arrays)

  def take(name: str) -> dict[str, Array]:
    try:
      kernel, bias = left.pop(f"{name}.weight"), left.pop(f"{name}.bias")
    except KeyError as error:
      raise ValueError(f"{error.args[0]} is missing") from error
    if kernel.ndim != 4 or kernel.shape[2:] != (3, 3):
      raise ValueError(f"{name} has the shape {kernel.shape}")
    return {
      "kernel": jnp.asarray(kernel.transpose(2, 3, 1, 0), jnp.float32),
      "bias": jnp.asarray(bias, jnp.float32),
    }

  params: dict[str, Any] = {
    ours: take(theirs[style].format(blocks=blocks))
    for ours, theirs in _OUTSIDE.items()
  }
  for i in range(blocks):
    params[f"block_{i}"] = {
      f"dense_{j}_{k}": take(
        _INSIDE[style].format(block=i, dense=j + 1, conv=k + 1)
      )
      for j in range(3)
      for k in range(5)
    }
  if left:
    raise ValueError(f"{next(iter(left))} belongs to no layer")
  return _checked(params, blocks), params


def _checked(params: dict[str, Any], blocks: int) -> Rrdb:
  """The network of these parameters, if there is one."""
  channels, width = params["first"]["kernel"].shape[2:]
  scale = {3: 4, 12: 2}.get(channels)
  if scale is None or not blocks:
    raise ValueError(f"{channels} channels go in, {blocks} blocks")
  growth = params["block_0"]["dense_0_0"]["kernel"].shape[3]
  net = Rrdb(scale, width, growth, blocks)
  blank = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
  expected = jax.eval_shape(net.init, jax.random.key(0), blank)["params"]
  have, want = (
    {jax.tree_util.keystr(p): x.shape for p, x in leaves}
    for leaves in map(jax.tree_util.tree_leaves_with_path, (params, expected))
  )
  if have != want:
    name = next(n for n in want if have.get(n) != want[n])
    raise ValueError(
      f"{name} has the shape {have.get(name)}, expected {want[name]}"
    )
  return net


def unwrapped(
  weights: Mapping[str, Shaped[np.ndarray, "..."]],
) -> dict[str, Shaped[np.ndarray, "..."]]:
  """A network's arrays without what a training's checkpoint puts around them.

  Args:
    weights: of a file.

  Returns:
    The averaged ones, else the others, without the prefix.
  """
  for wrapper in _WRAPPERS:
    prefix = f"{wrapper}."
    inner = {
      name.removeprefix(prefix): array
      for name, array in weights.items()
      if name.startswith(prefix)
    }
    if inner:
      return inner
  return dict(weights)
