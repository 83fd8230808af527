"""Heat maps: where a network looks, in colours over the picture it saw."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from chibijax.ops import image

# From cold to hot, sRGB in [0, 1]: blue, cyan, green, yellow, red. Brightness
# alone would be taken for the picture's.
COLORS = (
  (0.05, 0.05, 0.45),
  (0.00, 0.55, 0.85),
  (0.15, 0.75, 0.35),
  (0.98, 0.85, 0.15),
  (0.85, 0.10, 0.10),
)


def colorize(values: Float[Array, "*shape"]) -> Float[Array, "*shape 3"]:
  """Colours of numbers.

  Args:
    values: numbers; those outside of [0, 1] get the colour of the nearer end.

  Returns:
    sRGB in [0, 1], interpolated between `COLORS`.
  """
  colors = jnp.asarray(COLORS)
  place = jnp.clip(values, 0.0, 1.0) * (len(COLORS) - 1)
  below = jnp.minimum(place.astype(jnp.int32), len(COLORS) - 2)
  share = (place - below)[..., None]
  return colors[below] * (1 - share) + colors[below + 1] * share


def overlay(
  heat: Float[Array, "b h2 w2"],
  pictures: Float[Array, "b h w 3"],
  strength: float = 0.65,
) -> Float[Array, "b h w 3"]:
  """Lays a map over the grey picture, stretched to its own least and most.

  Args:
    heat: values of any range, at any resolution.
    pictures: what they belong to, in [-1, 1].
    strength: the share of the colours, in [0, 1].

  Returns:
    Pictures in [-1, 1]; a map without contrast is all cold.
  """
  low = heat.min((1, 2), keepdims=True)
  span = heat.max((1, 2), keepdims=True) - low
  # A contrast below rounding is none.
  span = jnp.where(span > 1e-6 * jnp.abs(low) + 1e-20, span, jnp.inf)
  heat = jax.image.resize((heat - low) / span, pictures.shape[:3], "linear")
  grey = image.luminance(pictures)[..., None]
  return strength * image.to_signed(colorize(heat)) + (1 - strength) * grey
