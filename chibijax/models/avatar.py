"""The networks of GAGAvatar: a photo to Gaussians that a head model moves.

Chu and Harada 2024 (NeurIPS), section 3: an encoder makes a plane of features
and one code of the whole picture; the dual lifting branch puts two Gaussians
on every point of the plane, before and behind it (equation 1); the expression
branch puts one on every vertex of a head model; the splatted features go
through `StyleUnet`. Positions are the task's business: what is made here does
not depend on them.

Opacities are in [0, 1], scales in world units, quaternions wxyz of length 1,
`lift` in (0, 1) world units along the plane's normal. Of the colours the first
three are RGB in [0, 1], the rest features without a range.

`legacy=True` repeats four slips of the released code, for its weights: see
`AvatarEncoder`, `LiftingBranch`, `ExpressionBranch`; the fourth, noise in the
renderer, is a key given to `StyleUnet`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chibijax.models import initial, vit
from chibijax.models.avatar_config import AvatarConfig
from chibijax.models.dpt import DptHead
from chibijax.models.features.parts import IMAGENET_MEAN, IMAGENET_STD
from chibijax.models.gaussian_branches import (
  DIRECTION_CODE,
  ExpressionBranch,
  LiftingBranch,
  direction_code,
)
from chibijax.models.pyramid import PyramidEncoder
from chibijax.models.style_unet import StyleUnet

__all__ = [
  "DIRECTION_CODE",
  "AvatarConfig",
  "AvatarEncoder",
  "ExpressionBranch",
  "LiftingBranch",
  "NeuralRenderer",
  "build",
  "direction_code",
  "init",
  "parameter_groups",
]

NeuralRenderer = StyleUnet


class AvatarEncoder(nn.Module):
  """A photo to a plane of features and one code.

  The code is DINOv2's class token. With `legacy` it is the token of the patch
  in the top left corner, as in the released code (its first slip).

  Attributes:
    config: sizes.
  """

  config: AvatarConfig

  @nn.compact
  def __call__(
    self, image: Float[Array, "b s s 3"]
  ) -> tuple[Float[Array, "b p p f"], Float[Array, "b g"]]:
    """Maps [B, S, S, 3] to [B, plane, plane, features] and [B, global_width].

    Args:
      image: square photos in [0, 1], background black, of any side.

    Returns:
      The features and the code, float32. No gradient flows into DINOv2.
    """
    config = self.config
    dtype = jnp.dtype(config.encoder_dtype)
    x = _normalized(image, config.encoder_size)
    if config.encoder == "pyramid":
      return PyramidEncoder(
        config.widths, config.features, config.code, dtype, name="pyramid"
      )(x)
    backbone = vit.dinov2(
      config.encoder,
      registers=config.registers,
      blocks=(-4, -3, -2, -1),
      dtype=dtype,
      name="backbone",
    )
    return self._read(jax.lax.stop_gradient(backbone(x)), x)

  def _read(
    self, tokens: tuple[Array, ...], x: Float[Array, "b h w 3"]
  ) -> tuple[Array, Array]:
    """Features and code of DINOv2's tokens."""
    config = self.config
    first, side = 1 + config.registers, config.encoder_size // 14
    levels = tuple(
      t[:, first:].reshape(t.shape[0], side, side, -1) for t in tokens
    )
    head = DptHead(
      config.widths,
      hidden=config.features,
      features=config.features,
      dtype=jnp.dtype(config.encoder_dtype),
      name="dpt",
    )
    return head(levels, x), tokens[-1][:, first if config.legacy else 0]


def build(config: AvatarConfig, vertices: int) -> dict[str, nn.Module]:
  """Makes the four networks.

  Args:
    config: sizes.
    vertices: of the head model (5,023 for FLAME).

  Returns:
    "encoder" (AvatarEncoder), "lifting" (LiftingBranch), "expression"
    (ExpressionBranch) and "renderer" (StyleUnet).
  """
  branch = dict(
    channels=config.channels,
    largest=config.largest,
    legacy=config.legacy,
    dtype=jnp.dtype(config.branch_dtype),
  )
  return {
    "encoder": AvatarEncoder(config),
    "lifting": LiftingBranch(hidden=config.lifting, **branch),
    "expression": ExpressionBranch(
      vertices, base=config.base, heads=config.heads, **branch
    ),
    "renderer": StyleUnet(
      channels=config.channels,
      size=config.size,
      capacity=config.capacity,
      most=config.most,
      ratio=config.ratio,
      style=config.style,
      mapping=config.mapping,
      fold=config.fold,
      residual=config.residual,
      dtype=jnp.dtype(config.renderer_dtype),
    ),
  }


def init(config: AvatarConfig, vertices: int, key: Array) -> dict[str, Any]:
  """Draws the parameters of the four networks.

  Args:
    config: sizes.
    vertices: of the head model.
    key: typed PRNG key.

  Returns:
    Parameters by the names of `build`.
  """
  nets = build(config, vertices)
  side, plane = config.size, config.plane
  code = jnp.zeros((1, DIRECTION_CODE))
  inputs = {
    "encoder": (jnp.zeros((1, side, side, 3)),),
    "lifting": (jnp.zeros((1, plane, plane, config.features)), code),
    "expression": (jnp.zeros((1, config.global_width)), code),
    "renderer": (jnp.zeros((1, side, side, config.channels)),),
  }

  def draw(key: Array) -> dict[str, Any]:
    keys = jax.random.split(key, len(nets))
    return {
      name: net.init(k, *inputs[name])["params"]
      for (name, net), k in zip(nets.items(), keys, strict=True)
    }

  return initial.together(draw, key)


def parameter_groups(params: dict[str, Any]) -> dict[str, Any]:
  """Which parameters are trained, and how fast.

  Args:
    params: by the names of `build`.

  Returns:
    The same tree with "frozen" (DINOv2), "slow" (a tenth of the learning rate:
    the renderer's style code and mapping network) or "normal" as leaves, for
    `optax.multi_transform`.
  """

  def label(path: tuple[Any, ...], _: Any) -> str:
    names = [str(getattr(part, "key", part)) for part in path]
    if names[:2] == ["encoder", "backbone"]:
      return "frozen"
    if names[0] == "renderer" and (
      names[1] == "style" or any(n.startswith("mapping_") for n in names)
    ):
      return "slow"
    return "normal"

  return jax.tree_util.tree_map_with_path(label, params)


def _normalized(
  image: Float[Array, "b h w 3"], size: int
) -> Float[Array, "b s s 3"]:
  """Photos in [0, 1], resized and in ImageNet's scale."""
  mean, std = (
    np.array(v, np.float32).reshape(1, 1, 1, 3)
    for v in (IMAGENET_MEAN, IMAGENET_STD)
  )
  if image.shape[1:3] != (size, size):
    shape = (image.shape[0], size, size, 3)
    image = jax.image.resize(image, shape, "linear", antialias=True)
  return (image - mean) / std
