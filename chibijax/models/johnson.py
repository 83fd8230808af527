"""The feed-forward style network of Johnson et al. 2016.

c9s1-32, d64, d128, R128 x blocks, u64, u32, c9s1-3, with two later findings:
instance norm in place of batch norm (Ulyanov et al. 2016), here with a scale
and a shift, and enlarging by nearest neighbours followed by a convolution in
place of a transposed convolution, which leaves a checkerboard (Odena et al.
2016). Reflection padding everywhere. With 32 channels and 5 blocks it has
1,679,235 parameters, as PyTorch's example `fast_neural_style`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.models.adain import enlarge, init_he
from chibijax.models.layers import AffineNorm, Conv
from chibijax.ops import blur

# Pictures need both sides to be multiples of this (two halvings) ...
MULTIPLE = 4
# ... and this long at least: reflection by 4 pixels at the full size.
MIN_SIZE = 8


class StyleNet(nn.Module):
  """Maps pictures in [-1, 1] to stylised pictures of the same size.

  Attributes:
    width: channels of the first layer (32 in the paper).
    blocks: residual blocks (5 in the paper).
    smooth: enlarge by interpolation instead of repetition.
    dtype: compute dtype; the last tanh and the result are float32.
  """

  width: int = 32
  blocks: int = 5
  smooth: bool = False
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """Maps [B, H, W, 3] to the same shape, in [-1, 1].

    Raises:
      ValueError: if H or W is below 8 or not a multiple of 4.
    """
    height, width = x.shape[1:3]
    if height % MULTIPLE or width % MULTIPLE or min(height, width) < MIN_SIZE:
      raise ValueError(
        f"The style network needs sides that are multiples of {MULTIPLE} and "
        f"at least {MIN_SIZE} pixels, got {height}x{width}."
      )
    w = self.width
    x = jax.nn.relu(self._layer(x, w, 9, "stem"))
    x = jax.nn.relu(self._layer(x, 2 * w, 3, "down_0", stride=2))
    x = jax.nn.relu(self._layer(x, 4 * w, 3, "down_1", stride=2))
    for i in range(self.blocks):
      y = jax.nn.relu(self._layer(x, 4 * w, 3, f"block_{i}_0"))
      x = x + self._layer(y, 4 * w, 3, f"block_{i}_1")
    larger = blur.up if self.smooth else enlarge
    x = jax.nn.relu(self._layer(larger(x), 2 * w, 3, "up_0"))
    x = jax.nn.relu(self._layer(larger(x), w, 3, "up_1"))
    x = Conv(3, 9, padding=4, reflect=True, dtype=self.dtype, name="head")(x)
    return jnp.tanh(x.astype(jnp.float32))

  def _layer(
    self, x: Array, features: int, size: int, name: str, stride: int = 1
  ) -> Array:
    """Convolution and instance norm with a scale and a shift."""
    x = Conv(
      features, size, stride=stride, padding=size // 2, reflect=True,
      init_kernel=init_he, dtype=self.dtype, name=name,
    )(x)  # fmt: skip
    norm = AffineNorm("picture", dtype=self.dtype, name=f"{name}_norm")
    return norm(x)
