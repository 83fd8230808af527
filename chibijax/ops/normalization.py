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
