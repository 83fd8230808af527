"""Light and colour of a whole picture: even skin, glow, vignette, grain.

Each takes a picture in [0, 1] (three channels, or four with straight alpha,
which is kept) and a strength in [0, 1], where 0 changes nothing, and returns a
new picture.
"""

import functools
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from chibijax.artist import palette as named
from chibijax.ops.image import LUMA
from chibijax.post.color import oklab_to_srgb, srgb_to_oklab
from chibijax.post.smooth import Picture, gaussian

Result: TypeAlias = Float32[np.ndarray, "h w c"]
Number: TypeAlias = float | int

CORNERS = "#2a1f33"
# What evening leaves of light, of shadow and of differences of hue, at
# strength 1. Light is what makes skin look wet; shadow models the face.
_EVEN = (0.15, 0.6, 0.3)


def begin(image: Picture, strength: Number) -> Result:
  """A copy to work on.

  Raises:
    ValueError: if the picture's channels or the strength are not as above.
  """
  if image.shape[-1] not in (3, 4):
    raise ValueError(f"image must have 3 or 4 channels; got {image.shape}")
  if not 0 <= strength <= 1:
    raise ValueError(f"strength must be in [0, 1]; got {strength!r}")
  return np.array(image, np.float32)


def even(
  image: Picture, mask: Float[np.ndarray, "_ _"], *, strength: Number = 0.6
) -> Result:
  """Evens out skin: less shine and redness, softer shadows, the same tone.

  Args:
    image: see above.
    mask: how much of a pixel is skin, [0, 1].
    strength: see above.

  Returns:
    The picture.

  Raises:
    ValueError: if the mask has another shape, or an argument is out of range.
  """
  result = begin(image, strength)
  if mask.shape != result.shape[:2]:
    raise ValueError(
      f"mask must be {result.shape[:2]} like the image; got {mask.shape}"
    )
  if strength == 0 or float(mask.sum()) < 16:
    return result
  share = jnp.asarray(mask, jnp.float32)
  result[..., :3] = _even(result[..., :3], share, jnp.float32(strength))
  return result


@jax.jit
def _even(
  image: Float[Array, "h w 3"],
  share: Float[Array, "h w"],
  strength: Float[Array, ""],
) -> Float[Array, "h w 3"]:
  lab = srgb_to_oklab(image)
  weight = share[..., None]
  for again in (True, False):
    mean = (weight * lab).sum((0, 1)) / jnp.maximum(weight.sum(), 1e-3)
    if again:
      # Shine and shadow do not count in what the skin's tone is.
      far = jnp.square((lab - mean[None, None]) / 0.08).sum(-1, keepdims=True)
      weight = weight / jnp.square(1 + far)
  # The tone of lit skin is what people call the colour of a face.
  shade = jnp.square(lab[..., 0] - mean[0]) * weight[..., 0]
  spread = jnp.sqrt(shade.sum() / jnp.maximum(weight.sum(), 1e-3) + 1e-9)
  mean = mean + jnp.stack([1.1 * spread, 0.0, 0.0])
  off = lab - mean[None, None]
  light = off[..., :1]
  keep = jnp.where(light > 0, _EVEN[0], _EVEN[1])
  keep = jnp.concatenate([keep, jnp.full_like(off[..., 1:], _EVEN[2])], -1)
  change = (strength * share)[..., None] * (keep - 1) * off
  found = jnp.clip(oklab_to_srgb(lab + change), 0, 1)
  return jnp.where(share[..., None] > 0, found, image)


def vibrance(image: Picture, *, strength: Number = 0.4) -> Result:
  """Brings colours out: pale ones more than strong ones, a little contrast.

  Args:
    image: see above.
    strength: see above.

  Returns:
    The picture.
  """
  result = begin(image, strength)
  if strength:
    rgb = result[..., :3]
    result[..., :3] = _vibrance(rgb, jnp.float32(strength))
  return result


@jax.jit
def _vibrance(
  image: Float[Array, "h w 3"], strength: Float[Array, ""]
) -> Float[Array, "h w 3"]:
  light = sum(w * image[..., k] for k, w in enumerate(LUMA))[..., None]
  chroma = image.max(-1, keepdims=True) - image.min(-1, keepdims=True)
  found = light + (image - light) * (1 + strength * (1 - 0.8 * chroma))
  # A gentle S: 3 t^2 - 2 t^3.
  t = jnp.clip(found, 0, 1)
  return t + 0.35 * strength * (t * t * (3 - 2 * t) - t)


def glow(
  image: Picture, *, strength: Number = 0.4, radius: Number = 0.02
) -> Result:
  """Lets light areas shine into their surroundings (screened blur).

  Args:
    image: see above.
    strength: see above.
    radius: of the blur in shares of the longer side, (0, 0.2].

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is not as described.
  """
  result = begin(image, strength)
  if not 0 < radius <= 0.2:
    raise ValueError(f"radius must be in (0, 0.2]; got {radius!r}")
  if strength:
    sigma = round(radius * max(result.shape[:2]), 1)
    rgb = result[..., :3]
    result[..., :3] = _glow(rgb, jnp.float32(strength), sigma)
  return result


@functools.partial(jax.jit, static_argnames=("sigma",))
def _glow(
  image: Float[Array, "h w 3"], strength: Float[Array, ""], sigma: float
) -> Float[Array, "h w 3"]:
  bright = image * image
  soft = gaussian(bright, sigma)
  screened = 1 - (1 - image) * (1 - 0.45 * soft)
  return image + strength * (screened - image)


def vignette(
  image: Picture, *, strength: Number = 0.3, color: str = CORNERS
) -> Result:
  """Darkens the corners.

  Args:
    image: see above.
    strength: see above.
    color: sRGB hex of the corners.

  Returns:
    The picture.
  """
  result = begin(image, strength)
  if strength == 0:
    return result
  height, width = result.shape[:2]
  x = (np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1
  y = (np.arange(height, dtype=np.float32) + 0.5) / height * 2 - 1
  far = np.clip((x * x + (y * y)[:, None] - 0.5) / 1.5, 0, 1)
  share = (strength * far * (2 - far))[..., None]
  dark = np.array(named.rgb(color), np.float32) / 255
  rgb = result[..., :3]
  # Multiplied, so that the corners keep their drawing.
  rgb += share * (rgb * (0.25 + 0.75 * dark) - rgb)
  return result


def grain(
  image: Picture, *, strength: Number = 0.2, size: Number = 1.0, seed: int = 0
) -> Result:
  """Adds film grain: most on mid-tones, alike in all channels.

  Args:
    image: see above.
    strength: see above.
    size: of the grains, 1 for fine, up to 8.
    seed: of the grains.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is not as described.
  """
  result = begin(image, strength)
  if not 1 <= size <= 8:
    raise ValueError(f"size must be in [1, 8]; got {size!r}")
  if strength == 0:
    return result
  height, width = result.shape[:2]
  step = size * max(1.0, max(height, width) / 768)
  rng = np.random.default_rng(seed)
  rows, columns = int(height / step) + 1, int(width / step) + 1
  noise = rng.standard_normal((rows, columns), np.float32)
  y = np.minimum((np.arange(height) / step).astype(int), rows - 1)
  x = np.minimum((np.arange(width) / step).astype(int), columns - 1)
  noise = noise[y[:, None], x[None]][..., None]
  rgb = result[..., :3]
  light = rgb @ np.array(LUMA, np.float32)[:, None]
  rgb += (0.16 * strength) * noise * (0.35 + 2.6 * light * (1 - light))
  np.clip(rgb, 0, 1, out=rgb)
  return result
