"""The residual generator of CycleGAN.

Johnson et al. 2016 with the changes of Zhu et al. 2017 (section 7.2):
c7s1-64, d128, d256, R256 x blocks, u128, u64, c7s1-3. Reflection padding in
the 7x7 and the residual convolutions, zeros in the strided ones, instance norm
without affine parameters, ReLU, and tanh at the end. With 64 channels and 9
blocks it has 11,378,179 parameters.

CUT (Park et al. 2020) changes two things: resolutions change through binomial
filters (`antialias`), and what its encoder sees on the way can be had ("taps").
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.models.layers import Conv, ConvNorm, Initializer, init_kernel
from chibijax.ops import blur, normalization

# Pictures need both sides to be multiples of this (two halvings) ...
MULTIPLE = 4
# ... and this long at least: reflection by 3 pixels here, by 1 at a quarter.
MIN_SIZE = 8


class ResidualBlock(nn.Module):
  """x + norm(conv(relu(norm(conv(x))))), 3x3 with reflection padding.

  Attributes:
    init_kernel: draws the kernels.
    dtype: compute dtype.
  """

  init_kernel: Initializer = init_kernel
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Maps [B, H, W, C] to the same shape."""
    shape = dict(
      features=x.shape[-1],
      size=3,
      padding=1,
      reflect=True,
      init_kernel=self.init_kernel,
      dtype=self.dtype,
    )
    y = ConvNorm(**shape, name="conv_0")(x)
    y = ConvNorm(**shape, activation=None, name="conv_1")(y)
    return x + y


class ResnetGenerator(nn.Module):
  """Maps pictures in [-1, 1] to pictures of the same size in [-1, 1].

  Attributes:
    width: channels of the first layer (64 in the paper).
    blocks: residual blocks (9 in the paper; 6 at 128 pixels or less).
    channels: channels of the result.
    antialias: change the resolution by 3x3 convolutions and the filters of
      `ops.blur` in place of strided and transposed convolutions.
    init_kernel: draws the kernels.
    dtype: compute dtype; the last tanh and the result are float32.
    remat: recompute the residual blocks in the backward pass, which saves
      most of the activations' memory for about a third more time.
  """

  width: int = 64
  blocks: int = 9
  channels: int = 3
  antialias: bool = False
  init_kernel: Initializer = init_kernel
  dtype: DTypeLike = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w c"],
    taps: tuple[str, ...] = (),
    decode: bool = True,
  ) -> Array | tuple[Array | None, list[Array]]:
    """Maps [B, H, W, C] in [-1, 1] to [B, H, W, channels] in [-1, 1].

    Args:
      x: pictures.
      taps: layers whose results are wanted too, in order: "input" (the padded
        pictures), "down_0", "down_1" (with `antialias` before their norm, as
        CUT has it) and "block_I".
      decode: go on to the picture; else stop at the last tap.

    Returns:
      The pictures, or with taps (pictures or None, results of the taps).

    Raises:
      ValueError: if H or W is below 8 or not a multiple of 4, or for a tap
        that is not among the layers or not in their order.
    """
    check_sides(x)
    layers = ("input", "down_0", "down_1")
    layers += tuple(f"block_{i}" for i in range(self.blocks))
    if [name for name in layers if name in taps] != list(taps):
      raise ValueError(f"taps are {taps}, expected some of {layers}, in order.")
    found = []
    border = dict(size=7, padding=3, reflect=True)
    border |= dict(init_kernel=self.init_kernel, dtype=self.dtype)
    block = nn.remat(ResidualBlock) if self.remat else ResidualBlock

    if "input" in taps:
      pads = ((0, 0), (3, 3), (3, 3), (0, 0))
      found.append(jnp.pad(x, pads, mode="reflect"))
    for i, name in enumerate(layers):
      if not decode and len(found) == len(taps):
        return None, found
      if name == "input":
        x = ConvNorm(self.width, **border, name="stem")(x)
        continue
      if name.startswith("down"):
        x, seen = self._down(x, 2**i * self.width, name)
      else:
        x = seen = block(
          init_kernel=self.init_kernel, dtype=self.dtype, name=name
        )(x)
      if name in taps:
        found.append(seen)
    if not decode:
      return None, found
    x = self._up(x, 2 * self.width, "up_0")
    x = self._up(x, self.width, "up_1")
    x = Conv(self.channels, **border, name="head")(x)
    x = jnp.tanh(x.astype(jnp.float32))
    return (x, found) if taps else x

  def _down(self, x: Array, features: int, name: str) -> tuple[Array, Array]:
    """Halves the resolution; also what a tap gets."""
    shape = dict(
      size=3,
      padding=1,
      init_kernel=self.init_kernel,
      dtype=self.dtype,
      name=name,
    )
    if not self.antialias:
      x = ConvNorm(features, stride=2, **shape)(x)
      return x, x
    # Its bias reaches the tap; behind the norm it is without effect.
    seen = Conv(features, **shape)(x)
    return blur.down(jax.nn.relu(normalization.instance_norm(seen))), seen

  def _up(self, x: Array, features: int, name: str) -> Array:
    """Doubles the resolution."""
    shape = dict(
      size=3, init_kernel=self.init_kernel, dtype=self.dtype, name=name
    )
    if self.antialias:
      return ConvNorm(features, padding=1, **shape)(blur.up(x))
    return ConvNorm(features, transpose=True, **shape)(x)


def check_sides(x: Float[Array, "b h w c"]) -> None:
  """Raises where a generator that halves twice cannot take pictures.

  Args:
    x: pictures.

  Raises:
    ValueError: if a side is too short or not a multiple of `MULTIPLE`.
  """
  height, width = x.shape[1:3]
  if height % MULTIPLE or width % MULTIPLE or min(height, width) < MIN_SIZE:
    raise ValueError(
      f"The generator needs sides that are multiples of {MULTIPLE} and at "
      f"least {MIN_SIZE} pixels, got {height}x{width}."
    )
