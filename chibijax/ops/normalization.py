"""Normalisation of feature maps, NHWC, with float32 statistics."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def instance_norm(
  x: Float[Array, "b h w c"], *, eps: float = 1e-5
) -> Float[Array, "b h w c"]:
  """Normalises each channel of each picture to mean 0 and variance 1.

  Ulyanov et al. 2016, without affine parameters and with the biased variance,
  as PyTorch's `InstanceNorm2d` does. Statistics are float32 whatever the
  input; the result has the input's dtype.

  Args:
    x: feature maps, [B, H, W, C].
    eps: added to the variance.

  Returns:
    The normalised maps, [B, H, W, C].
  """
  y = x.astype(jnp.float32)
  mean = y.mean((1, 2), keepdims=True)
  centred = y - mean
  variance = jnp.square(centred).mean((1, 2), keepdims=True)
  return (centred * lax.rsqrt(variance + eps)).astype(x.dtype)


def batch_norm(
  x: Float[Array, "b h w c"],
  *,
  axis_name: str | None = None,
  eps: float = 1e-5,
) -> Float[Array, "b h w c"]:
  """Normalises each channel over the batch to mean 0 and variance 1.

  Ioffe and Szegedy 2015 with the statistics of the batch at hand and the
  biased variance, without affine parameters; for a batch of one picture it is
  `instance_norm`. Statistics are float32; the result has the input's dtype.

  Args:
    x: feature maps, [B, H, W, C].
    axis_name: the mapped axis over which the batch is spread under `pmap`.
    eps: added to the variance.

  Returns:
    The normalised maps, [B, H, W, C].
  """
  y = x.astype(jnp.float32)

  def mean(values: Array) -> Array:
    local = values.mean((0, 1, 2), keepdims=True)
    return local if axis_name is None else lax.pmean(local, axis_name)

  centred = y - mean(y)
  variance = mean(jnp.square(centred))
  return (centred * lax.rsqrt(variance + eps)).astype(x.dtype)


def instance_layer_norm(
  x: Float[Array, "b h w c"], rho: Float[Array, " c"], *, eps: float = 1e-5
) -> Float[Array, "b h w c"]:
  """Blends instance and layer normalisation, channel by channel.

  Kim et al. 2020 (U-GAT-IT), eq. 1: rho times the maps normalised by their own
  statistics plus 1 - rho times the maps normalised by those of the whole
  picture. Variances are unbiased (they divide by n - 1), as published.
  Statistics are float32; the result has the input's dtype.

  Args:
    x: feature maps, [B, H, W, C], of more than one pixel.
    rho: the share of instance normalisation, meant to lie in [0, 1].
    eps: added to the variances.

  Returns:
    The blend, [B, H, W, C], without scale and shift.

  Raises:
    ValueError: for maps of one pixel, which have no unbiased variance.
  """
  _, height, width, channels = x.shape
  count = height * width
  if count < 2:
    raise ValueError("An unbiased variance needs more than one pixel.")
  y = x.astype(jnp.float32)
  means = y.mean((1, 2), keepdims=True)
  centred = y - means
  squares = jnp.square(centred).sum((1, 2), keepdims=True)
  # The picture's statistics from its channels': no second look at the maps.
  offsets = means - means.mean(3, keepdims=True)
  total = squares + count * jnp.square(offsets)
  variance = total.sum(3, keepdims=True) / (count * channels - 1)
  rho = rho.astype(jnp.float32).reshape(1, 1, 1, -1)
  own = rho * lax.rsqrt(squares / (count - 1) + eps)
  whole = (1 - rho) * lax.rsqrt(variance + eps)
  return (centred * (own + whole) + whole * offsets).astype(x.dtype)
