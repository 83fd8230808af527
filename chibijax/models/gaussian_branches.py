"""The two branches of GAGAvatar that make Gaussians from features.

Chu and Harada 2024, sections 3.1 and 3.2. Opacities are in [0, 1], scales in
world units, quaternions wxyz of length 1, `lift` in (0, 1) world units along
the plane's normal. Of the colours the first three are RGB in [0, 1], the rest
features without a range.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chibijax.models.initial import conv, fan_in, unit
from chibijax.models.style_generator import dense

# Octaves of the direction code.
_OCTAVES = 4
DIRECTION_CODE = 3 * (2 * _OCTAVES + 1)
# Image columns whose colours the released code squashes instead of RGB.
_COLUMNS = 3


class LiftingBranch(nn.Module):
  """The reconstruction branch: two Gaussians for each point of the plane.

  With `legacy`, the sigmoid that belongs to RGB is applied to all channels of
  the three leftmost columns of the plane (the released code's second slip), and
  quaternions are the network's; else they are its deviation from (1, 0, 0, 0).

  Attributes:
    channels: of a colour.
    hidden: channels of the convolutions.
    largest: the largest scale.
    legacy: see above.
    dtype: compute dtype; results are float32.
  """

  channels: int = 32
  hidden: int = 128
  largest: float = 0.05
  legacy: bool = False
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    plane_features: Float[Array, "b p p f"],
    direction_code: Float[Array, "b d"],
  ) -> dict[str, Float[Array, "..."]]:
    """Maps [B, P, P, F] and [B, 27] to Gaussians [B, 2, P P, ...].

    Args:
      plane_features: from the encoder.
      direction_code: of the plane's normal, see `direction_code`.

    Returns:
      `colors` [B, 2, P P, channels], `opacities` [B, 2, P P], `scales`
      [..., 3], `quats` [..., 4], `lift` [B, 2, P P]; first those that are
      lifted along the normal, then those against it.
    """
    b, p = plane_features.shape[:2]
    code = jnp.broadcast_to(
      direction_code[:, None, None], (b, p, p, direction_code.shape[-1])
    )
    x = jnp.concatenate([plane_features, code], axis=-1).astype(self.dtype)
    sides = [self._side(x, name) for name in ("front", "back")]
    return {k: jnp.stack([s[k] for s in sides], 1) for k in sides[0]}

  def _side(self, x: Array, name: str) -> dict[str, Array]:
    """Four convolutions, and what their channels mean."""
    for i in range(3):
      layer = conv(self.hidden, 3, self.dtype, f"{name}_{i}")
      x = jax.nn.relu(layer(x))
    x = conv(self.channels + 9, 1, self.dtype, f"{name}_3")(x).astype(
      jnp.float32
    )
    colors, rest = x[..., : self.channels], x[..., self.channels :]
    if self.legacy:
      columns = np.arange(x.shape[2]) < _COLUMNS
      squashed = columns.reshape(1, 1, -1, 1)
    else:
      squashed = _is_rgb(self.channels, x.ndim)
    colors = jnp.where(squashed, jax.nn.sigmoid(colors), colors)
    made = {
      "colors": colors,
      "opacities": jax.nn.sigmoid(rest[..., 0]),
      "scales": self.largest * jax.nn.sigmoid(rest[..., 1:4]),
      "quats": _rotations(rest[..., 4:8], legacy=self.legacy),
      "lift": jax.nn.sigmoid(rest[..., 8]),
    }
    b, h, w = x.shape[:3]
    return {k: v.reshape(b, h * w, *v.shape[3:]) for k, v in made.items()}


class ExpressionBranch(nn.Module):
  """One Gaussian for each vertex of the head model.

  With `legacy`, quaternions are normalised over the vertices, each of the four
  numbers by itself (the released code's third slip). Its rasterizer takes them
  as they are, so that with thousands of vertices the Gaussians are all but
  unrotated: splat them with `normalize_quats=False`.

  Attributes:
    vertices: of the head model.
    channels: of a colour.
    base: learnt features per vertex, and hidden width.
    heads: hidden width of the four heads.
    largest: the largest scale.
    legacy: see above.
    dtype: compute dtype; results are float32.
  """

  vertices: int
  channels: int = 32
  base: int = 256
  heads: int = 128
  largest: float = 0.05
  legacy: bool = False
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    global_feature: Float[Array, "b g"],
    direction_code: Float[Array, "b d"],
  ) -> dict[str, Float[Array, "..."]]:
    """Maps [B, G] and [B, 27] to Gaussians [B, V, ...].

    Args:
      global_feature: the encoder's code of the picture.
      direction_code: of the plane's normal, see `direction_code`.

    Returns:
      `colors` [B, V, channels], `opacities` [B, V], `scales` [B, V, 3] and
      `quats` [B, V, 4].
    """
    shape = (self.vertices, self.base)
    base = self.param("base", unit, shape)
    x = _Joined(self.base, self.dtype, name="hidden_0")(
      base[None], global_feature
    )
    for i in range(1, 4):
      x = dense(self.base, self.dtype, f"hidden_{i}")(jax.nn.relu(x))

    def head(name: str, features: int) -> Float[Array, "b v features"]:
      y = _Joined(self.heads, self.dtype, name=f"{name}_0")(x, direction_code)
      y = dense(features, self.dtype, f"{name}_1")(jax.nn.relu(y))
      return y.astype(jnp.float32)

    colors, quats = head("color", self.channels), head("rotation", 4)
    rgb = _is_rgb(self.channels, colors.ndim)
    if self.legacy:
      quats = _unit(quats, axis=1)
    else:
      quats = _rotations(quats, legacy=False)
    return {
      "colors": jnp.where(rgb, jax.nn.sigmoid(colors), colors),
      "opacities": jax.nn.sigmoid(head("opacity", 1)[..., 0]),
      "scales": self.largest * jax.nn.sigmoid(head("scale", 3)),
      "quats": quats,
    }


class _Joined(nn.Module):
  """A dense layer of concat(x, shared), `shared` the same for all rows.

  Attributes:
    features: of the result.
    dtype: compute dtype.
  """

  features: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, x: Float[Array, "b1 v c"], shared: Float[Array, "b s"]
  ) -> Float[Array, "b v f"]:
    """Multiplies the shared part once for each picture, not for each row."""
    c = x.shape[-1]
    shape = (c + shared.shape[-1], self.features)
    kernel = self.param("kernel", fan_in(1 / 3), shape).astype(self.dtype)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    y = shared.astype(self.dtype) @ kernel[c:]
    y = y + bias.astype(self.dtype)[None]
    return x.astype(self.dtype) @ kernel[:c] + y[:, None]


def direction_code(direction: Float[Array, "b 3"]) -> Float[Array, "b d"]:
  """Sines and cosines of a direction in four octaves, and itself.

  The harmonic embedding of PyTorch3D, after Mildenhall et al. 2020, equation 4,
  without their pi.

  Args:
    direction: [B, 3], of length 1.

  Returns:
    [B, 27]: sin(x), sin(2 x), ... sin(8 z), the cosines, x, y, z.
  """
  octaves = np.array([2.0**i for i in range(_OCTAVES)], np.float32)
  angles = direction[:, :, None] * octaves.reshape(1, 1, -1)
  angles = angles.reshape(direction.shape[0], -1)
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles), direction], -1)


def _is_rgb(channels: int, ndim: int) -> np.ndarray:
  return (np.arange(channels) < 3).reshape((1,) * (ndim - 1) + (-1,))


def _rotations(x: Array, *, legacy: bool) -> Array:
  """Unit quaternions; ours start unrotated and are never 0 where units die."""
  if not legacy:
    x = x + np.array([1, 0, 0, 0], np.float32).reshape(
      (1,) * (x.ndim - 1) + (4,)
    )
  return _unit(x)


def _unit(x: Array, axis: int = -1) -> Array:
  """Divides by the length; its gradient is finite at 0, unlike norm's."""
  squared = jnp.sum(jnp.square(x), axis, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(squared, 1e-24))
