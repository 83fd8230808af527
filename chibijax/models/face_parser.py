"""Networks that read a face: 68 landmarks, and hair, skin and background.

Both see a window of the canonical frame (`chibijax.faces.align`). Plain 3x3
convolutions and instance norms only: the norms make the features independent of
a picture's brightness and contrast, and dense kernels are what CPUs do fast.
Pictures come in [-1, 1]; points go out in units of the window's side.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.models.layers import Conv, ConvNorm
from chibijax.models.resnet import ResidualBlock


@dataclasses.dataclass(frozen=True)
class Window:
  """The part of the canonical frame that a network sees.

  Attributes:
    size: side of the whole frame in pixels.
    margin: what the frame shows around the artist's portrait, on every side,
      in units of the portrait's side.
    corner: left and top of the window in pixels of the frame.
    side: of the window in pixels.
  """

  size: int
  margin: float
  corner: tuple[int, int]
  side: int

  def place(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Pixels of the frame from units of the portrait's side."""
    return (points + self.margin) * (self.size / (1 + 2 * self.margin))


# The face from brows to chin, 28.8 pixels from eye to eye.
LANDMARKS = Window(size=120, margin=-0.1, corner=(12, 24), side=96)
# Hair and shoulders too, 20.5 pixels from eye to eye.
SEGMENT = Window(size=128, margin=0.1, corner=(0, 0), side=128)
# Left eye, right eye, left and right corner of the mouth in units of the
# portrait's side: the points that `chibijax.faces.align` aligns.
ANCHORS = np.array(
  [[0.404, 0.480], [0.596, 0.480], [0.426, 0.676], [0.574, 0.676]]
)
# The artist's mean face (600 frontal ones) in units of the portrait's side.
MEAN_SHAPE = np.array(
  [
    [0.296, 0.462],
    [0.296, 0.519],
    [0.300, 0.576],
    [0.311, 0.633],
    [0.332, 0.687],
    [0.362, 0.735],
    [0.400, 0.772],
    [0.449, 0.798],
    [0.500, 0.807],
    [0.551, 0.798],
    [0.600, 0.772],
    [0.638, 0.735],
    [0.668, 0.687],
    [0.689, 0.633],
    [0.700, 0.576],
    [0.704, 0.519],
    [0.704, 0.462],
    [0.345, 0.438],
    [0.369, 0.415],
    [0.402, 0.409],
    [0.435, 0.419],
    [0.465, 0.426],
    [0.535, 0.426],
    [0.565, 0.419],
    [0.598, 0.409],
    [0.631, 0.415],
    [0.655, 0.438],
    [0.500, 0.485],
    [0.500, 0.518],
    [0.500, 0.551],
    [0.500, 0.584],
    [0.471, 0.608],
    [0.485, 0.615],
    [0.500, 0.618],
    [0.515, 0.615],
    [0.529, 0.608],
    [0.359, 0.478],
    [0.377, 0.467],
    [0.427, 0.467],
    [0.455, 0.486],
    [0.433, 0.489],
    [0.381, 0.489],
    [0.545, 0.486],
    [0.573, 0.467],
    [0.623, 0.467],
    [0.641, 0.478],
    [0.619, 0.489],
    [0.567, 0.489],
    [0.428, 0.677],
    [0.458, 0.668],
    [0.486, 0.664],
    [0.500, 0.666],
    [0.514, 0.664],
    [0.542, 0.668],
    [0.572, 0.677],
    [0.544, 0.699],
    [0.518, 0.710],
    [0.500, 0.712],
    [0.482, 0.710],
    [0.456, 0.699],
    [0.436, 0.676],
    [0.468, 0.678],
    [0.500, 0.681],
    [0.532, 0.678],
    [0.564, 0.676],
    [0.532, 0.689],
    [0.500, 0.691],
    [0.468, 0.689],
  ]
)
CLASSES = 4


class Trunk(nn.Module):
  """Features at a half, a quarter, an eighth and a sixteenth of a picture.

  Attributes:
    widths: channels at each resolution.
    blocks: residual blocks at each resolution.
    dtype: compute dtype.
  """

  widths: tuple[int, ...]
  blocks: tuple[int, ...]
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w 3"]) -> list[Array]:
    """Maps [B, H, W, 3] to the list of features, the finest first."""
    found = []
    for k, (width, blocks) in enumerate(zip(self.widths, self.blocks)):
      down = dict(size=3, stride=2, padding=1, dtype=self.dtype)
      x = ConvNorm(width, **down, name=f"down_{k}")(x)
      for i in range(blocks):
        x = ResidualBlock(dtype=self.dtype, name=f"block_{k}_{i}")(x)
      found.append(x)
    return found


class LandmarkNet(nn.Module):
  """68 points twice over: from the whole face, and where each looks likely.

  The first head is a dense layer over the coarsest features: always a face,
  also where hair or glasses hide it. The second is the mean of a map of
  probabilities for each point (integral regression, Sun et al. 2018): as
  precise as its maps are sharp. Their mean is the result.

  Attributes:
    widths: channels of the trunk.
    blocks: residual blocks of the trunk.
    hidden: width of the dense layer.
    dtype: compute dtype; the points are float32.
  """

  widths: tuple[int, ...] = (24, 48, 96, 128)
  blocks: tuple[int, ...] = (0, 2, 2, 1)
  hidden: int = 256
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w 3"]
  ) -> tuple[Float[Array, "b 68 2"], Float[Array, "b 68 2"]]:
    """Maps [B, H, W, 3] in [-1, 1] to both heads' points, in sides.

    Raises:
      ValueError: if H or W is not a multiple of 16.
    """
    if x.shape[1] % 16 or x.shape[2] % 16:
      raise ValueError(f"sides must be multiples of 16, got {x.shape[1:3]}.")
    trunk = Trunk(self.widths, self.blocks, self.dtype, name="trunk")
    _, fine, middle, coarse = trunk(x)

    y = Conv(32, 1, dtype=self.dtype, name="reduce")(coarse)
    y = jax.nn.relu(y).reshape(len(y), -1).astype(jnp.float32)
    glorot = nn.initializers.lecun_normal()
    y = nn.Dense(self.hidden, kernel_init=glorot, name="dense")(y)
    y = nn.Dense(136, kernel_init=glorot, name="points")(jax.nn.relu(y))
    shape = y.reshape(-1, 68, 2) * 0.1 + jnp.asarray(_mean())[None]

    side = dict(size=1, dtype=self.dtype)
    y = Conv(self.widths[1], **side, name="lateral_0")(coarse)
    y = _double(y) + Conv(self.widths[1], **side, name="lateral_1")(middle)
    y = _double(jax.nn.relu(y)) + fine
    y = ConvNorm(
      self.widths[1] + 16, size=3, padding=1, dtype=self.dtype, name="merge"
    )(y)
    maps = Conv(68, **side, name="maps")(y).astype(jnp.float32) * 10
    return shape, _expected(maps)


def _mean() -> Float[np.ndarray, "68 2"]:
  """The mean shape in units of the landmark window's side."""
  window = LANDMARKS
  found = (window.place(MEAN_SHAPE) - np.array(window.corner)) / window.side
  return found.astype(np.float32)


def _expected(maps: Float[Array, "b h w n"]) -> Float[Array, "b n 2"]:
  """Mean position under the softmax of each map, in sides."""
  height, width = maps.shape[1:3]
  share = jax.nn.softmax(maps.reshape(len(maps), -1, maps.shape[-1]), 1)
  share = share.reshape(maps.shape)
  x = (jnp.arange(width) + 0.5) / width
  y = (jnp.arange(height) + 0.5) / height
  across = jnp.einsum("bhwn,w->bn", share, x)
  down = jnp.einsum("bhwn,h->bn", share, y)
  return jnp.stack([across, down], -1)


def _double(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
  """Repeats every pixel in both directions."""
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
  return x.reshape(b, 2 * h, 2 * w, c)


class SegmentNet(nn.Module):
  """A small U-Net (Ronneberger et al. 2015) for `CLASSES` classes.

  Attributes:
    widths: channels of the trunk.
    blocks: residual blocks of the trunk.
    dtype: compute dtype; the result is float32.
  """

  widths: tuple[int, ...] = (16, 32, 64, 96)
  blocks: tuple[int, ...] = (0, 1, 2, 2)
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b h w 4"]:
    """Maps [B, H, W, 3] in [-1, 1] to logits of the same resolution.

    Raises:
      ValueError: if H or W is not a multiple of 16.
    """
    if x.shape[1] % 16 or x.shape[2] % 16:
      raise ValueError(f"sides must be multiples of 16, got {x.shape[1:3]}.")
    found = Trunk(self.widths, self.blocks, self.dtype, name="trunk")(x)
    y = found.pop()
    for k in reversed(range(len(found))):
      width = self.widths[k]
      side = dict(size=1, dtype=self.dtype)
      y = _double(Conv(width, **side, name=f"narrow_{k}")(y))
      y = jax.nn.relu(y + Conv(width, **side, name=f"lateral_{k}")(found[k]))
      y = ConvNorm(width, size=3, padding=1, dtype=self.dtype, name=f"up_{k}")(
        y
      )
    # At half the resolution four pixels are one with four times the channels:
    # the picture itself draws the edges.
    y = jnp.concatenate([y, _gathered(x).astype(self.dtype)], -1)
    y = Conv(24, size=3, padding=1, dtype=self.dtype, name="edge")(y)
    y = Conv(4 * CLASSES, size=1, dtype=self.dtype, name="classes")(
      jax.nn.relu(y)
    )
    return _spread(y).astype(jnp.float32)


def _gathered(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c4"]:
  """Space to depth: blocks of 2 x 2 pixels as one."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h // 2, w // 2, 4 * c)


def _spread(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c4"]:
  """Depth to space, the inverse of `_gathered`."""
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, 2 * h, 2 * w, c // 4)
