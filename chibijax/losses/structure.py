"""Structural similarity as a loss, for pictures in [0, 1]."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

WINDOW = 11
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2


def dssim(
  x: Float[Array, "b h w c"], y: Float[Array, "b h w c"]
) -> Float[Array, ""]:
  """1 - SSIM (Wang et al. 2004), the mean over pictures and channels.

  11x11 Gaussian window of sigma 1.5, K1 = .01, K2 = .03, no padding. The window
  is applied as two banded matrix products: exact, and with the gradient several
  times faster on a CPU than a convolution of one channel.

  Args:
    x: pictures in [0, 1], at least 11 pixels on each side.
    y: the same shape.

  Returns:
    A value in [0, 2]; 0 for equal pictures.

  Raises:
    ValueError: if the shapes differ or a side is shorter than the window.
  """
  if x.shape != y.shape or min(x.shape[1:3]) < WINDOW:
    raise ValueError(
      f"dssim needs equal shapes of at least {WINDOW} pixels a side, got"
      f" {x.shape} and {y.shape}."
    )
  rows, columns = _band(x.shape[1]), _band(x.shape[2])
  maps = jnp.stack([x, y, x * x, y * y, x * y])
  blurred = jnp.einsum(
    "ih,jw,kbhwc->kbijc",
    rows,
    columns,
    maps.astype(jnp.float32),
    precision=lax.Precision.HIGHEST,
  )
  mean_x, mean_y, xx, yy, xy = blurred
  squares = mean_x * mean_x + mean_y * mean_y
  # Rounding can make a variance of a flat patch negative.
  spread = jnp.maximum(xx + yy - squares, 0.0)
  covariance = xy - mean_x * mean_y
  similarity = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
  return 1 - (similarity / ((squares + _C1) * (spread + _C2))).mean()


def _band(size: int) -> Float[np.ndarray, "out size"]:
  """The window as a matrix from `size` samples to those it fits around."""
  taps = [
    math.exp(-((i - WINDOW // 2) ** 2) / (2 * _SIGMA**2)) for i in range(WINDOW)
  ]
  band = np.zeros((size - WINDOW + 1, size), np.float32)
  for i, tap in enumerate(taps):
    index = np.arange(len(band))
    band[index, index + i] = tap / sum(taps)
  return band
