"""The decoder of AdaIN: an encoder's blocks in reverse.

Huang & Belongie 2017, section 6: 3x3 convolutions with reflection padding and
ReLU, poolings replaced by nearest-neighbour enlargement, no normalisation,
which would make all pictures of a batch or all channels alike again. For VGG
up to relu4_1 it has 3,505,219 parameters.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.models.layers import Conv, init_kernel
from chibijax.ops import blur

# Channels and convolutions of the encoder's blocks, from the picture on; each
# block but the first starts at half the size of the one before.
VGG19_RELU4_1 = ((64, 2), (128, 2), (256, 4), (512, 1))


def init_he(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
  """Draws a kernel of variance 2 / fan in (He et al. 2015): no norm follows.

  Args:
    key: typed PRNG key.
    shape: the kernel's shape, HWIO.

  Returns:
    The kernel.
  """
  # `init_kernel` has a deviation of 0.02, and compiles fast.
  gain = math.sqrt(2 / math.prod(shape[:-1])) / 0.02
  return gain * init_kernel(key, shape)


def enlarge(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
  """Doubles both sides by repeating pixels.

  A convolution can tell the copies apart and draws a grid, above all in short
  trainings; `ops.blur.up` interpolates between pixels instead.

  Args:
    x: feature maps.

  Returns:
    [B, 2 H, 2 W, C].
  """
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
  return x.reshape(b, 2 * h, 2 * w, c)


class Decoder(nn.Module):
  """Maps features to pictures about [-1, 1], without a bound.

  Attributes:
    blocks: (channels, convolutions) of the encoder's blocks, first to last.
    smooth: enlarge by interpolation instead of repetition.
    dtype: compute dtype; the result is float32.
  """

  blocks: tuple[tuple[int, int], ...] = VGG19_RELU4_1
  smooth: bool = False
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 3"]:
    """Maps [B, H, W, C] to [B, s H, s W, 3], s = 2^(blocks - 1)."""
    for i in reversed(range(len(self.blocks))):
      channels, count = self.blocks[i]
      leaving = self.blocks[i - 1][0] if i else 3
      widths = [channels] * (count - 1) + [leaving]
      for j, width in enumerate(widths):
        x = Conv(
          width, 3, padding=1, reflect=True, dtype=self.dtype,
          init_kernel=init_he, name=f"block_{i}_conv_{j}",
        )(x)  # fmt: skip
        if i or j + 1 < count:
          x = jax.nn.relu(x)
      if i:
        x = blur.up(x) if self.smooth else enlarge(x)
    return x.astype(jnp.float32)
