"""Blur kernels of the world's cameras and of programs, 21 x 21 pixels.

What `ops.degrade` draws its blurs from: Gaussians of every shape, and the sinc
filter that rings. All sum to 1.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

KERNEL = 21  # Side of the largest kernel, in pixels.
# Gaussian, generalised Gaussian, plateau; the first half of each isotropic.
_KINDS = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)


def gaussian_kernel(
  sigmas: Float[Array, "2"],
  angle: Float[Array, ""],
  beta: Float[Array, ""],
  *,
  plateau: Bool[Array, ""] | bool = False,
) -> Float[Array, "21 21"]:
  """A generalised, anisotropic Gaussian kernel.

  With q = p^T S^-1 p: exp(-q^beta / 2), or 1 / (1 + q^beta) for a plateau
  (Wang et al. 2021, eq. 3; Liu et al. 2020).

  Args:
    sigmas: standard deviations along the kernel's own axes, in pixels.
    angle: of the first of them from the x axis, in radians.
    beta: 1 is Gaussian; below it is more pointed, above flatter.
    plateau: which of the two.

  Returns:
    The kernel; it sums to 1.
  """
  x, y = _offsets()
  u = (x * jnp.cos(angle) + y * jnp.sin(angle)) / sigmas[0]
  v = (y * jnp.cos(angle) - x * jnp.sin(angle)) / sigmas[1]
  power = (u**2 + v**2) ** beta
  kernel = jnp.where(plateau, 1 / (1 + power), jnp.exp(-power / 2))
  return kernel / kernel.sum()


def sinc_kernel(cutoff: Float[Array, ""]) -> Float[Array, "21 21"]:
  """The ideal circular low pass, cut off: w J1(w r) / (2 pi r) (eq. 5).

  Args:
    cutoff: w, in radians a pixel, up to pi.

  Returns:
    The kernel; it sums to 1.
  """
  x, y = _offsets()
  radius = jnp.sqrt(x**2 + y**2)
  # Bessel's integral; the trapezoids are exact once there are more of them
  # than the largest argument, which is 45.
  angles = (jnp.arange(96, dtype=jnp.float32) + 0.5) * (math.pi / 96)
  angles = angles[None, None]
  waves = angles - cutoff * radius[..., None] * jnp.sin(angles)
  bessel = jnp.cos(waves).mean(-1)
  kernel = cutoff * bessel / (2 * math.pi * jnp.maximum(radius, 1e-6))
  kernel = jnp.where(radius > 0, kernel, cutoff**2 / (4 * math.pi))
  return kernel / kernel.sum()


def draw_kernel(
  draws: Float[Array, "8"], sigma: tuple[float, float]
) -> Float[Array, "21 21"]:
  """A blur: one of six Gaussian kinds, or, one in ten, a sinc.

  Args:
    draws: uniform in [0, 1): which kernel.
    sigma: range of the standard deviations, in pixels.

  Returns:
    A kernel of 7 to 21 pixels, with zeros around; it sums to 1.
  """
  kind = choice(draws[0], _KINDS)
  sigmas = between(draws[1:3], sigma)
  sigmas = jnp.where(kind % 2 == 0, sigmas[0], sigmas)
  angle = between(draws[3], (-math.pi, math.pi))
  wide, flat = (between(draws[4], r) for r in ((0.5, 4.0), (1.0, 2.0)))
  beta = jnp.where(kind < 2, 1.0, jnp.where(kind < 4, wide, flat))
  kernel = gaussian_kernel(sigmas, angle, beta, plateau=kind >= 4)
  half = whole(draws[5], 3, KERNEL // 2)
  least = jnp.where(half < 6, math.pi / 3, math.pi / 5)
  cutoff = least + (math.pi - least) * draws[6]
  kernel = jnp.where(draws[7] < 0.1, sinc_kernel(cutoff), kernel)
  return cropped(kernel, half)


def identity() -> Float[Array, "21 21"]:
  """The kernel that changes nothing."""
  x, y = _offsets()
  return ((x == 0) & (y == 0)).astype(jnp.float32)


def _offsets() -> tuple[Float[Array, "21 21"], Float[Array, "21 21"]]:
  places = jnp.arange(KERNEL, dtype=jnp.float32) - KERNEL // 2
  x, y = jnp.meshgrid(places, places)
  return x, y


def cropped(
  kernel: Float[Array, "21 21"], half: Int[Array, ""]
) -> Float[Array, "21 21"]:
  """Sets what is further from the middle than `half` pixels to 0."""
  x, y = _offsets()
  inside = jnp.maximum(jnp.abs(x), jnp.abs(y)) <= half
  kernel = jnp.where(inside, kernel, 0)
  return kernel / kernel.sum()


def between(
  draw: Float[Array, "*shape"], limits: tuple[float, float]
) -> Float[Array, "*shape"]:
  """A number in a range, of a uniform draw in [0, 1)."""
  return limits[0] + (limits[1] - limits[0]) * draw


def whole(draw: Float[Array, ""], least: int, most: int) -> Int[Array, ""]:
  """A whole number from least to most, of a uniform draw in [0, 1)."""
  return least + (draw * (most - least + 1)).astype(jnp.int32)


def choice(
  draw: Float[Array, ""], weights: tuple[float, ...]
) -> Int[Array, ""]:
  """An index with the probabilities `weights`, of a uniform draw in [0, 1)."""
  # The last sum is 1 up to rounding, and the draw may be above it.
  sums = jnp.cumsum(jnp.array(weights))[:-1]
  return (draw >= sums).sum()
