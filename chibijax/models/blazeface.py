"""BlazeFace's two networks: a small single-shot detector of faces.

Bazarevsky et al. 2019, "BlazeFace: sub-millisecond neural face detection on
mobile GPUs". The one for front cameras takes 128 x 128 pixels, the one for back
cameras 256 x 256, NHWC sRGB in [-1, 1]. Both give 896 proposals: two for each
cell of a 16 x 16 grid, then six for each cell of an 8 x 8 grid.

Nothing here is trained; the weights come from a file
(`chibijax.faces.blazeface`).
"""

from typing import Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Kind: TypeAlias = Literal["front", "back"]

SIDES = {"front": 128, "back": 256}
# Channels of each block; a negative number halves the grid. The first head
# looks at the trunk, the second at what follows it.
TRUNK = {
  "front": (24, 28, -32, 36, 42, -48, 56, 64, 72, 80, 88),
  "back": (*[24] * 7, -24, *[24] * 7, -48, *[48] * 7, -96, *[96] * 7),
}
REST = {"front": (-96, 96, 96, 96, 96), "back": (-96,)}
# Side of the grid and proposals a cell, of both heads.
GRIDS = ((16, 2), (8, 6))
# Numbers of a proposal: x and y of its middle, width, height, then x and y of
# both eyes, the nose, the mouth and both ears, as the viewer sees them.
NUMBERS = 16


class Depthwise(nn.Module):
  """A 3 x 3 convolution of each channel by itself, zeros around the picture.

  As nine products, not as a convolution in groups of one channel: on the CPU,
  XLA is 5 to 9 times as quick with them, and it compiles three such blocks of
  the front network wrongly (jax 0.10.2; tests/models/test_blazeface.py).

  Attributes:
    halve: take every other pixel, from the first on.
  """

  halve: bool

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Applies the convolution."""
    _, height, width, channels = x.shape
    zeros = nn.initializers.zeros_init()
    kernel = self.param(
      "kernel", nn.initializers.lecun_normal(), (3, 3, 1, channels)
    )
    bias = self.param("bias", zeros, (channels,))
    # Where it halves, it looks beyond the right and the lower edge only.
    step, room = (2, (0, 2)) if self.halve else (1, (1, 1))
    x = jnp.pad(x, ((0, 0), room, room, (0, 0)))
    y = bias[None, None, None]
    for i in range(3):
      for j in range(3):
        seen = x[:, i : i + height : step, j : j + width : step]
        y = y + seen * kernel[i, j, 0][None, None, None]
    return y


class Block(nn.Module):
  """A depthwise and a pointwise convolution beside a shortcut.

  Attributes:
    features: channels of the output, at least those of the input.
    halve: make the grid half as fine.
    shortcut: add the input.
  """

  features: int
  halve: bool = False
  shortcut: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
    """Applies the block; height and width must be even where it halves."""
    channels = x.shape[-1]
    y = Depthwise(self.halve, name="depthwise")(x)
    y = nn.Conv(self.features, (1, 1), name="pointwise")(y)
    if self.shortcut:
      if self.halve:
        x = nn.max_pool(x, (2, 2), (2, 2))
      y += jnp.pad(x, (*[(0, 0)] * 3, (0, self.features - channels)))
    return nn.relu(y)


class BlazeFace(nn.Module):
  """The network for front or back cameras.

  Attributes:
    kind: which.
  """

  kind: Kind = "back"

  @nn.compact
  def __call__(
    self, x: Float[Array, "b s s 3"]
  ) -> tuple[Float[Array, "b 896"], Float[Array, "b 896 16"]]:
    """Proposes faces.

    Args:
      x: pictures of `SIDES[kind]` pixels, sRGB in [-1, 1].

    Returns:
      The logit of a face and the `NUMBERS` of each proposal, in pixels from
      its cell's middle (see `centres`).
    """
    side = SIDES[self.kind]
    if x.shape[1:] != (side, side, 3):
      raise ValueError(f"x must be [B, {side}, {side}, 3], got {x.shape}")
    stem = nn.Conv(24, (5, 5), strides=2, padding=((1, 2), (1, 2)), name="stem")
    x = nn.relu(stem(x))
    for i, width in enumerate(TRUNK[self.kind]):
      x = Block(abs(width), width < 0, name=f"trunk{i}")(x)
    # The back network's last block only.
    shortcut = self.kind == "front"
    y = x
    for i, width in enumerate(REST[self.kind]):
      y = Block(abs(width), width < 0, shortcut, name=f"rest{i}")(y)
    logits, numbers = [], []
    for map_, (grid, count) in zip((x, y), GRIDS):
      score = nn.Conv(count, (1, 1), name=f"score{grid}")(map_)
      place = nn.Conv(count * NUMBERS, (1, 1), name=f"place{grid}")(map_)
      logits.append(score.reshape(len(x), -1))
      numbers.append(place.reshape(len(x), -1, NUMBERS))
    return jnp.concatenate(logits, 1), jnp.concatenate(numbers, 1)


def centres() -> Float[np.ndarray, "896 2"]:
  """The middles (x, y) of the proposals' cells, in units of the picture."""
  found = []
  for grid, count in GRIDS:
    steps = (np.arange(grid) + 0.5) / grid
    y, x = np.meshgrid(steps, steps, indexing="ij")
    found.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), count, 0))
  return np.concatenate(found)


def shapes(kind: Kind) -> dict[str, dict]:
  """The parameters as `jax.ShapeDtypeStruct`s, in `BlazeFace`'s layout."""
  side = SIDES[kind]
  picture = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
  key = jax.ShapeDtypeStruct((2,), jnp.uint32)
  return jax.eval_shape(BlazeFace(kind).init, key, picture)["params"]
