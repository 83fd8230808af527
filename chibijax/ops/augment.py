"""Photometric augmentation on the device, over dm_pix.

Pictures are float [B, H, W, 3] in [-1, 1] and stay in that range. Each picture
draws its own strengths from its own key, so that a batch may be split over
devices without changing a value: split the keys before, not inside.
"""

import dm_pix
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def photometric(
  key: Key[Array, "*b"],
  images: Float[Array, "batch height width 3"],
  *,
  brightness: float = 0.0,
  contrast: float = 0.0,
  saturation: float = 0.0,
  hue: float = 0.0,
) -> Float[Array, "batch height width 3"]:
  """Changes brightness, contrast, saturation and hue at random.

  The strengths are static and an operation whose strength is 0 is not traced
  at all. They are applied in the order of the arguments (as the colour jitter
  of SimCLR, Chen et al. 2020, without its random order) and a strength's draws
  do not depend on which others are on.

  Args:
    key: one typed key, which is split into one per picture, or one key per
      picture, [batch].
    images: pictures in [-1, 1].
    brightness: added offset, uniform in [-brightness, brightness], in units of
      the full range from black to white.
    contrast: factor about each channel's mean, uniform in [1 - contrast,
      1 + contrast]; at most 1.
    saturation: factor of the HSV saturation, uniform in [1 - saturation,
      1 + saturation]; at most 1.
    hue: rotation of the HSV hue in turns, uniform in [-hue, hue]; at most 0.5.

  Returns:
    Pictures of the same shape and dtype, clipped to [-1, 1].

  Raises:
    ValueError: if a strength is out of range or there are not as many keys as
      pictures.
  """
  limits = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5}
  strengths = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "hue": hue,
  }
  for name, limit in limits.items():
    if not 0 <= strengths[name] <= limit:
      raise ValueError(
        f"{name} must lie in [0, {limit}], got {strengths[name]}."
      )
  if key.ndim and key.shape != images.shape[:1]:
    raise ValueError(f"got {key.shape} keys for {images.shape[0]} pictures.")
  if not any(strengths.values()):
    return images
  keys = key if key.ndim else jax.random.split(key, images.shape[0])

  def jitter(
    key: Key[Array, ""], image: Float[Array, "height width 3"]
  ) -> Float[Array, "height width 3"]:
    draws = jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
    image = (image.astype(jnp.float32) + 1) / 2  # dm_pix works in [0, 1].
    if brightness:
      image = dm_pix.adjust_brightness(image, brightness * draws[0])
    if contrast:
      image = dm_pix.adjust_contrast(image, 1 + contrast * draws[1])
    if saturation or hue:
      # Hue and saturation of a colour out of range have no meaning.
      image = jnp.clip(image, 0, 1)
    if saturation:
      image = dm_pix.adjust_saturation(image, 1 + saturation * draws[2])
    if hue:
      image = dm_pix.adjust_hue(image, hue * draws[3])
    return (jnp.clip(image, 0, 1) * 2 - 1).astype(images.dtype)

  return jax.vmap(jitter)(keys, images)
