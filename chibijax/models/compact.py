"""Real-ESRGAN's small network, SRVGGNetCompact: a chain of convolutions.

3x3 convolutions at the picture's own size with PReLUs, the last of which makes
each pixel a square of them; what it makes is added to the picture enlarged by
repeating. With 64 channels and 16 inner convolutions it has 621,424 parameters
at scale 4 (realesr-animevideov3), with 32 of them 1,213,296
(realesr-general-x4v3). Ten to thirty times as fast as RRDB-23.

The published networks work on [0, 1]; pictures here are [-1, 1], and the
network converts.
"""

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from chibijax.models.layers import Conv
from chibijax.models.rrdb import unwrapped


class Compact(nn.Module):
  """Enlarges pictures in [-1, 1].

  Attributes:
    scale: the factor.
    width: channels (64 in the published files).
    convs: inner convolutions (16 or 32).
    dtype: compute dtype; the result is float32.
  """

  scale: int = 4
  width: int = 64
  convs: int = 16
  dtype: DTypeLike = jnp.float32

  @property
  def title(self) -> str:
    """What a person calls it."""
    return f"SRVGG-{self.convs}"

  @nn.compact
  def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b h2 w2 3"]:
    """Maps [B, H, W, 3] to [B, scale H, scale W, 3], around [-1, 1]."""
    b, h, w, c = x.shape
    side = self.scale
    shape = dict(size=3, padding=1, dtype=self.dtype)
    y = given = (x + 1) / 2
    for i in range(self.convs + 1):
      y = Conv(self.width, **shape, name=f"conv_{i}")(y)
      slope = self.param(f"slope_{i}", _quarter, (self.width,))
      slope = slope.astype(self.dtype).reshape(1, 1, 1, -1)
      y = jnp.where(y >= 0, y, slope * y)
    y = Conv(c * side**2, **shape, name="last")(y).astype(jnp.float32)
    # PyTorch's pixel_shuffle: a colour's pixels lie together.
    y = y.reshape(b, h, w, c, side, side).transpose(0, 1, 4, 2, 5, 3)
    y = y.reshape(b, h * side, w * side, c)
    return 2 * (y + jnp.repeat(jnp.repeat(given, side, 1), side, 2)) - 1


def is_published(weights: Mapping[str, Shaped[np.ndarray, "..."]]) -> bool:
  """Whether a file's arrays are named as such a network's."""
  arrays = unwrapped(weights)
  return "body.0.weight" in arrays and "body.1.weight" in arrays


def from_published(
  weights: Mapping[str, Shaped[np.ndarray, "..."]],
) -> tuple[Compact, dict[str, Any]]:
  """Makes the network of a published file.

  Args:
    weights: arrays by name; a prefix such as "params." is skipped.

  Returns:
    The network, its size read from the arrays, and its parameters.

  Raises:
    ValueError: if the arrays are not those of such a network.
  """
  left = dict(unwrapped(weights))
  places = [re.fullmatch(r"body\.(\d+)\.weight", name) for name in left]
  last = max((int(place[1]) for place in places if place), default=0)

  def take(name: str, shape: tuple[int, ...]) -> Float[Array, "..."]:
    if (array := left.pop(name, None)) is None:
      raise ValueError(f"{name} is missing")
    if array.shape != shape:
      raise ValueError(f"{name} has the shape {array.shape}, expected {shape}")
    return jnp.asarray(array, jnp.float32)

  def layer(place: int, into: int, out: int) -> dict[str, Array]:
    kernel = take(f"body.{place}.weight", (out, into, 3, 3))
    bias = take(f"body.{place}.bias", (out,))
    return {"kernel": kernel.transpose(2, 3, 1, 0), "bias": bias}

  if last < 2 or last % 2:
    raise ValueError(f"body has {last + 1} layers")
  width, out = (len(left.get(f"body.{n}.weight", ())) for n in (0, last))
  scale = round((out / 3) ** 0.5)
  if not width or scale < 1 or 3 * scale**2 != out:
    raise ValueError(f"{width} channels, {out} at the end")
  params: dict[str, Any] = {"last": layer(last, width, out)}
  for i in range(last // 2):
    params[f"conv_{i}"] = layer(2 * i, width if i else 3, width)
    params[f"slope_{i}"] = take(f"body.{2 * i + 1}.weight", (width,))
  if left:
    raise ValueError(f"{next(iter(left))} belongs to no layer")
  return Compact(scale, width, last // 2 - 1), params


def _quarter(key: Array, shape: tuple[int, ...]) -> Float[Array, "..."]:
  """PyTorch's first slope of a PReLU."""
  del key
  return jnp.full(shape, 0.25)
