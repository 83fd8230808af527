"""Statistics of feature maps and of colours, and maps that match them.

Feature maps are NHWC; statistics are float32 and over the pixels of each
picture. A mask gives each pixel's share, in [0, 1], at the maps' size; None
takes all pixels alike. An empty mask gives zeros, never NaN.
"""

from typing import TypeAlias

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Maps: TypeAlias = Float[Array, "b h w c"]
Mask: TypeAlias = Float[Array, "b h w 1"]

# Below this many pixels a mask is taken as empty.
_FEWEST = 1e-6
# Added to covariances of colours in [-1, 1]: a picture of one colour has none.
_FLAT = 1e-5


def mean_std(
  x: Maps, mask: Mask | None = None, *, eps: float = 1e-5
) -> tuple[Float[Array, "b 1 1 c"], Float[Array, "b 1 1 c"]]:
  """Mean and standard deviation of each channel of each picture.

  Args:
    x: feature maps.
    mask: each pixel's share.
    eps: added to the (biased) variance before the root, as in Huang & Belongie
      2017, so that the root has a slope where a channel is constant.

  Returns:
    Both as float32 [B, 1, 1, C].
  """
  x = x.astype(jnp.float32)
  if mask is None:
    mean = x.mean((1, 2), keepdims=True)
    variance = jnp.square(x - mean).mean((1, 2), keepdims=True)
  else:
    share = _shares(mask)
    mean = (x * share).sum((1, 2), keepdims=True)
    variance = (jnp.square(x - mean) * share).sum((1, 2), keepdims=True)
  return mean, jnp.sqrt(variance + eps)


def gram(x: Maps, mask: Mask | None = None) -> Float[Array, "b c c"]:
  """Gram matrix of each picture's features, over their number of elements.

  G[i, j] = sum_p x[p, i] x[p, j] / (C H W), Johnson et al. 2016, eq. 3; with a
  mask the sum is over shares instead of H W (the guided Gram matrix of Gatys et
  al. 2017, section 4).

  Args:
    x: feature maps.
    mask: each pixel's share.

  Returns:
    float32 [B, C, C].
  """
  x = x.astype(jnp.float32)
  pixels, channels = x.shape[1] * x.shape[2], x.shape[3]
  flat = x.reshape(x.shape[0], pixels, channels)
  if mask is None:
    # Divided before the product, so that no sum of many pixels gets large.
    left = flat / (pixels * channels)
  else:
    share = _shares(mask).reshape(x.shape[0], pixels, 1)
    left = flat * share / channels
  return jnp.einsum("bpi,bpj->bij", left, flat, precision=lax.Precision.HIGHEST)


def adain(
  content: Maps,
  style: Float[Array, "b h2 w2 c"],
  mask: Mask | None = None,
  *,
  eps: float = 1e-5,
) -> Maps:
  """Gives content features the mean and deviation of style features.

  Adaptive instance normalisation, Huang & Belongie 2017, eq. 8.

  Args:
    content: feature maps.
    style: feature maps of as many pictures and channels, of any size.
    mask: the part of the content whose statistics are replaced; what is outside
      is moved by the same map.
    eps: as for `mean_std`.

  Returns:
    Maps shaped as the content, float32.
  """
  mean, deviation = mean_std(content, mask, eps=eps)
  goal, wide = mean_std(style, eps=eps)
  return (content.astype(jnp.float32) - mean) / deviation * wide + goal


def match_colors(
  image: Float[Array, "b h w 3"],
  reference: Float[Array, "b h2 w2 3"],
  *,
  covariance: bool = True,
) -> Float[Array, "b h w 3"]:
  """Gives pictures the mean and covariance of a reference's colours.

  The linear map C_r^(1/2) C_i^(-1/2) of Gatys et al. 2016 ("Preserving color in
  neural artistic style transfer", section 3.1; CORAL in Sun et al. 2016). Made
  for a style picture that shall take on the photo's colours before its style is
  transferred.

  Args:
    image: pictures in any affine range.
    reference: as many pictures in the same range, of any size.
    covariance: False moves the mean alone.

  Returns:
    The pictures, not clipped: colours may leave the range.
  """
  mean = image.mean((1, 2), keepdims=True)
  goal = reference.mean((1, 2), keepdims=True)
  centred = image - mean
  if covariance:
    root = _power(_covariance(reference), 0.5)
    white = _power(_covariance(image), -0.5)
    matrix = jnp.einsum("bij,bjk->bik", root, white, precision="highest")
    centred = jnp.einsum("bij,bhwj->bhwi", matrix, centred, precision="highest")
  return centred + goal


def _shares(mask: Mask) -> Mask:
  """The mask over its sum."""
  mask = mask.astype(jnp.float32)
  return mask / jnp.maximum(mask.sum((1, 2), keepdims=True), _FEWEST)


def _covariance(image: Float[Array, "b h w 3"]) -> Float[Array, "b 3 3"]:
  flat = image.astype(jnp.float32).reshape(image.shape[0], -1, 3)
  flat = flat - flat.mean(1, keepdims=True)
  product = jnp.einsum("bpi,bpj->bij", flat, flat, precision="highest")
  return product / flat.shape[1] + _FLAT * jnp.eye(3)[None]


def _power(
  matrix: Float[Array, "b 3 3"], exponent: float
) -> Float[Array, "b 3 3"]:
  """Power of symmetric matrices, by their eigenvalues."""
  values, vectors = jnp.linalg.eigh(matrix)
  values = jnp.maximum(values, _FLAT)[:, None] ** exponent
  return jnp.einsum(
    "bij,bkj->bik", vectors * values, vectors, precision="highest"
  )
