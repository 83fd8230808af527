"""Array functions of the avatar task that are not in the paper's networks."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from chibijax.ops import resample

# How far the photo's colours are kept from 0 and 1, whose logit is infinite.
_MARGIN = 0.01
# Colours of depth, from far to near.
_PALETTE = (
  (40, 0, 80),
  (50, 70, 150),
  (30, 150, 140),
  (120, 200, 70),
  (255, 235, 60),
)
# World units before and behind the origin that the palette spans.
_DEPTH = 0.8


def at_plane(
  image: Float[Array, "b h w 3"], count: int
) -> Float[Array, "b 1 n 3"]:
  """The photo's colours at the points of the plane, which spans its edges."""
  side = image.shape[1]
  half = side / (count - 1) / 2
  box = jnp.array([[-half, -half, side + half, side + half]])
  boxes = jnp.tile(box, (image.shape[0], 1))
  found = resample.crop(image, boxes, (count, count))
  return found.reshape(image.shape[0], 1, count * count, 3)


def corrected(
  colors: Float[Array, "b 2 n c"], photo: Float[Array, "b 1 n 3"]
) -> Float[Array, "b 2 n c"]:
  """Adds the logits of the photo's colours to those of the first channels."""
  rgb, photo = colors[..., :3], jnp.clip(photo, _MARGIN, 1 - _MARGIN)
  both, neither = rgb * photo, (1 - rgb) * (1 - photo)
  return jnp.concatenate([both / (both + neither), colors[..., 3:]], -1)


def depth_colors(
  depth: Float[Array, "b h w"],
  alpha: Float[Array, "b h w"],
  viewmat: Float[Array, "b 4 4"],
) -> Float[Array, "b h w 3"]:
  """Depths about the world's origin as colours over black.

  Args:
    depth: along the cameras' axes, world units.
    alpha: what is covered of each pixel.
    viewmat: the cameras.

  Returns:
    Pictures in [0, 1]; bright is near.
  """
  nearer = viewmat[:, 2, 3].reshape(-1, 1, 1) - depth
  at = (nearer / _DEPTH + 1) / 2
  stops = jnp.linspace(0, 1, len(_PALETTE))
  colors = jnp.array(_PALETTE, jnp.float32).T / 255
  shown = jnp.stack([jnp.interp(at, stops, c) for c in colors], -1)
  return shown * alpha[..., None]
