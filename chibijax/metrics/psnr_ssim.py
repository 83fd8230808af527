"""Full-reference metrics of paired pictures, one value per example.

Pictures are NHWC floats in [0, 1]; `ops.image.to_unit` makes them so.
"""

from typing import TypeAlias

import dm_pix
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ArrayLike: TypeAlias = Array | np.ndarray


def l1(
  x: Float[ArrayLike, "b h w c"], y: Float[ArrayLike, "b h w c"]
) -> Float[Array, " b"]:
  """Mean absolute difference.

  Args:
    x: pictures in [0, 1].
    y: reference pictures in [0, 1], of the same shape.

  Returns:
    A value in [0, 1] for each example.

  Raises:
    ValueError: if the shapes differ.
  """
  x, y = _checked(x, y)
  return jnp.abs(x - y).mean((1, 2, 3))


def psnr(
  x: Float[ArrayLike, "b h w c"], y: Float[ArrayLike, "b h w c"]
) -> Float[Array, " b"]:
  """Peak signal-to-noise ratio, -10 log10(MSE), peak 1.

  Args:
    x: pictures in [0, 1].
    y: reference pictures in [0, 1], of the same shape.

  Returns:
    Decibels for each example; at most 100, which is what equal pictures get
    (an infinity would spoil the mean over a set).

  Raises:
    ValueError: if the shapes differ.
  """
  x, y = _checked(x, y)
  return jnp.minimum(dm_pix.psnr(x, y), 100.0)


def ssim(
  x: Float[ArrayLike, "b h w c"], y: Float[ArrayLike, "b h w c"]
) -> Float[Array, " b"]:
  """Structural similarity (Wang et al. 2004), averaged over the channels.

  11x11 Gaussian window of sigma 1.5, K1 = .01, K2 = .03, no padding.

  Args:
    x: pictures in [0, 1], at least 11 pixels on each side.
    y: reference pictures in [0, 1], of the same shape.

  Returns:
    A value in [-1, 1] for each example; 1 for equal pictures.

  Raises:
    ValueError: if the shapes differ or a side is shorter than the window.
  """
  x, y = _checked(x, y)
  if min(x.shape[1:3]) < 11:
    raise ValueError(
      f"SSIM's window is 11x11 pixels, got a picture of {x.shape[1:3]}."
    )
  return dm_pix.ssim(x, y)


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
  if x.shape != y.shape:
    raise ValueError(
      f"Paired metrics need equal shapes, got {x.shape} and {y.shape}."
    )
  return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
