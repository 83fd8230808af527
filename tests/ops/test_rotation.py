"""Quaternions against Rodrigues' formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import rotation


def rodrigues(vector):
  """Matrix of a rotation vector, float64."""
  angle = np.linalg.norm(vector)
  x, y, z = vector / angle
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def test_matrices_of_rotation_vectors():
  vectors = np.random.default_rng(0).normal(size=(4, 5, 3))
  quats = rotation.from_axis_angle(jnp.asarray(vectors, jnp.float32))
  matrices = rotation.to_matrix(quats)
  expected = np.stack([rodrigues(v) for v in vectors.reshape(-1, 3)])
  np.testing.assert_allclose(matrices, expected.reshape(4, 5, 3, 3), 0, 1e-6)


def test_norm_and_sign_do_not_matter_when_normalized():
  q = jnp.array([[0.3, -0.5, 0.2, 0.7]])
  matrix = rotation.to_matrix(q)
  for factor in (-1.0, 7.0, -0.01):
    np.testing.assert_allclose(rotation.to_matrix(factor * q), matrix, 0, 1e-6)
  np.testing.assert_allclose(
    jnp.einsum("bij,bkj->bik", matrix, matrix)[0], np.eye(3), 0, 1e-6
  )


def test_raw_quaternions_are_taken_as_they_are():
  # e + 2 w (v x e) + 2 v x (v x e), whatever the norm.
  w, v = 1.2, np.array([0.4, -0.3, 0.9])
  columns = [
    e + 2 * w * np.cross(v, e) + 2 * np.cross(v, np.cross(v, e))
    for e in np.eye(3)
  ]
  matrix = rotation.to_matrix(jnp.array([w, *v]), normalize=False)
  np.testing.assert_allclose(matrix, np.stack(columns, axis=-1), 0, 1e-6)
  unit = rotation.to_matrix(jnp.array([w, *v]))
  assert float(jnp.abs(matrix - unit).max()) > 0.5


@pytest.mark.parametrize("angle", [0.0, 1e-20, 1e-4, 0.0099, 0.0101, 3.0])
def test_small_angles_are_smooth(angle):
  vector = jnp.array([0.0, angle, 0.0])
  half = np.float64(np.float32(angle)) / 2
  quat = rotation.from_axis_angle(vector)
  np.testing.assert_allclose(quat, [np.cos(half), 0, np.sin(half), 0], 1e-6)
  gradient = jax.jacobian(rotation.from_axis_angle)(vector)
  np.testing.assert_allclose(gradient[2, 1], np.cos(half) / 2, 1e-5)
  np.testing.assert_allclose(gradient[0, 1], -np.sin(half) / 2, 1e-4, 1e-9)
