"""Rotations: quaternions wxyz (scalar first) and matrices that act on columns.

A unit quaternion and its negative are the same rotation.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def to_matrix(
  quats: Float[Array, "*batch 4"], *, normalize: bool = True
) -> Float[Array, "*batch 3 3"]:
  """Matrices of quaternions wxyz.

  Args:
    quats: any norm but zero.
    normalize: divides by the norm first. If False, the formula of a unit
      quaternion is applied to the numbers as they are: some published models
      were trained so, and their matrices are no rotations.

  Returns:
    Matrices; NaN where a quaternion to be normalised is zero.
  """
  if normalize:
    norm = jnp.sqrt(jnp.sum(quats * quats, axis=-1, keepdims=True))
    quats = quats / norm
  w, x, y, z = jnp.moveaxis(quats, -1, 0)
  rows = [
    [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
  ]
  return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def from_axis_angle(
  vectors: Float[Array, "*batch 3"],
) -> Float[Array, "*batch 4"]:
  """Unit quaternions of rotation vectors (axis times angle in radians).

  Smooth at zero: small angles use the series of sin(x/2)/x.
  """
  squared = jnp.sum(vectors * vectors, axis=-1, keepdims=True)
  small = squared < 1e-4
  angle = jnp.sqrt(jnp.where(small, 1.0, squared))
  ratio = jnp.where(small, 0.5 - squared / 48, jnp.sin(angle / 2) / angle)
  cosine = jnp.where(small, 1 - squared / 8, jnp.cos(angle / 2))
  return jnp.concatenate([cosine, ratio * vectors], axis=-1)
