"""Features of single patches for CUT's contrastive loss.

Park et al. 2020, section 3: each tap of the generator's encoder has a small
network of two layers of its own, and its results are scaled to length 1. For
the paper's five taps (3, 128, 256, 256, 256 channels) 560,384 parameters.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from chibijax.models.layers import Initializer, init_xavier


class PatchSampler(nn.Module):
  """Takes pixels out of feature maps and projects them to unit vectors.

  Attributes:
    features: length of the result (256 in the paper).
    init_kernel: draws the kernels.
    dtype: compute dtype; the results are float32.
  """

  features: int = 256
  init_kernel: Initializer = init_xavier
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, maps: Sequence[Array], positions: Sequence[Int[Array, " _"]]
  ) -> list[Float[Array, "b _ {self.features}"]]:
    """Projects the pixels at given positions.

    Args:
      maps: [B, H, W, C] of each tap.
      positions: row * W + column of each tap's pixels, the same for all
        pictures.

    Returns:
      [B, P, features] of each tap, of length 1.
    """
    out = []
    for i, (x, where) in enumerate(zip(maps, positions, strict=True)):
      x = x.reshape(x.shape[0], -1, x.shape[-1])[:, where]
      for j in range(2):
        x = nn.Dense(
          self.features,
          kernel_init=lambda key, shape, _: self.init_kernel(key, shape),
          dtype=self.dtype,
          name=f"mlp_{i}_{j}",
        )(jax.nn.relu(x) if j else x)
      x = x.astype(jnp.float32)
      # The floor is under the root: the gradient at zero stays finite.
      length = jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-14)
      out.append(x / (length + 1e-7))
    return out
