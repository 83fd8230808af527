"""Real spherical harmonics: colours that depend on the viewing direction.

Coefficient l*l + l + m belongs to degree l and order m = -l..l. Signs carry the
Condon-Shortley phase (-1)^m, as files of Gaussian splats do: degree 1 is
0.4886 (-y, z, -x).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def degree_of(coefficients: int) -> int:
  """Degree that a number of coefficients, (degree + 1)^2, belongs to.

  Raises:
    ValueError: if there is none from 0 to 4.
  """
  degree = math.isqrt(max(coefficients, 0)) - 1
  if (degree + 1) ** 2 != coefficients or not 0 <= degree <= 4:
    raise ValueError(
      f"{coefficients} spherical harmonics; expected 1, 4, 9, 16 or 25"
    )
  return degree


def basis(
  directions: Float[Array, "*batch 3"], degree: int
) -> Float[Array, "*batch _"]:
  """Values of the harmonics of degrees 0 to `degree`.

  Args:
    directions: unit vectors.
    degree: 0 or more.

  Returns:
    [*batch, (degree + 1)^2], orthonormal over the sphere.

  References:
    Sloan, Efficient spherical harmonic evaluation, JCGT 2 (2), 2013.
  """
  x, y, z = jnp.moveaxis(directions, -1, 0)
  values: list[Array | None] = [None] * (degree + 1) ** 2
  # cosine + i sine = (x + i y)^m; `legendre` has lost its factor (1 - z^2)^m/2.
  cosine, sine = jnp.ones_like(x), jnp.zeros_like(x)
  diagonal = 1.0
  for m in range(degree + 1):
    below, legendre = jnp.zeros_like(x), jnp.full_like(x, diagonal)
    for n in range(m, degree + 1):
      ratio = math.factorial(n - m) / math.factorial(n + m)
      scale = math.sqrt((2 * n + 1) / (4 * math.pi) * ratio * (2 if m else 1))
      centre = n * n + n
      values[centre + m] = scale * legendre * cosine
      if m:
        values[centre - m] = scale * legendre * sine
      following = ((2 * n + 1) * z * legendre - (n + m) * below) / (n + 1 - m)
      below, legendre = legendre, following
    diagonal *= -(2 * m + 1)
    cosine, sine = x * cosine - y * sine, x * sine + y * cosine
  return jnp.stack(values, axis=-1)


def evaluate(
  coefficients: Float[Array, "*batch K D"],
  directions: Float[Array, "*batch 3"],
) -> Float[Array, "*batch D"]:
  """Sums coefficients times harmonics, for any number of channels D.

  Args:
    coefficients: K = 1, 4, 9, 16 or 25 per channel.
    directions: of any length; a zero vector gives numbers without meaning,
      but finite ones.

  Returns:
    Values around 0: colours of splats are max(value + 0.5, 0).

  Raises:
    ValueError: if K is not one of these.
  """
  degree = degree_of(coefficients.shape[-2])
  squared = jnp.sum(directions * directions, axis=-1, keepdims=True)
  zero = squared == 0
  unit = directions / jnp.sqrt(jnp.where(zero, 1.0, squared))
  return jnp.einsum(
    "...k,...kd->...d",
    basis(unit, degree),
    coefficients,
    precision=jax.lax.Precision.HIGHEST,
  )
