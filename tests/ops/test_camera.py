"""Cameras against their definitions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import camera

K = jnp.array([[50.0, 0, 30], [0, 60, 20], [0, 0, 1]])
SIZE = (64, 48)


def test_look_at_puts_the_target_in_the_middle_and_up_upward():
  eye, target = jnp.array([[1.0, 2, -3]]), jnp.array([[0.2, 0.1, 0.4]])
  up = jnp.array([[0.0, 1, 0]])
  view = camera.look_at(eye, target, up)
  points = jnp.stack([eye, target, target + 0.1 * up], axis=-2)
  seen = camera.to_camera(points, view)[0]
  distance = float(jnp.linalg.norm(target - eye))
  np.testing.assert_allclose(seen[0], [0, 0, 0], 0, 1e-6)
  np.testing.assert_allclose(seen[1], [0, 0, distance], 0, 1e-6)
  # y is down in the picture.
  assert abs(float(seen[2, 0])) < 1e-6 and float(seen[2, 1]) < -0.05
  rotation = np.float64(view[0, :3, :3])
  np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), 0, 1e-6)
  assert np.linalg.det(rotation) > 0
  np.testing.assert_allclose(view[0, 3], [0, 0, 0, 1])


def test_centre_is_where_the_camera_is():
  eye = jnp.array([[1.0, 2, -3], [0.5, -4, 0.1]])
  view = camera.look_at(eye, 0 * eye, jnp.array([[0.0, 1, 0]] * 2))
  np.testing.assert_allclose(camera.centre(view), eye, 0, 1e-5)
  # Also of a matrix that scales and shears.
  view = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)), jnp.float32)
  expected = np.linalg.inv(np.float64(view[:3, :3])) @ -np.float64(view[:3, 3])
  np.testing.assert_allclose(camera.centre(view), expected, 1e-4)


def test_intrinsics_span_the_angle():
  k = camera.intrinsics(64, 48, math.radians(90))
  half = math.tan(math.radians(45))
  points = jnp.array([[half, 0, 1.0], [-half, 0, 1], [0, 0.75 * half, 1]])
  pixels = camera.to_pixels(points, k)
  np.testing.assert_allclose(pixels, [[64, 24], [0, 24], [32, 48]], 0, 1e-5)


def test_pixels_of_each_model():
  point = jnp.array([[0.3, -0.4, 2.0]])
  np.testing.assert_allclose(
    camera.to_pixels(point, K)[0], [50 * 0.15 + 30, 60 * -0.2 + 20], 1e-6
  )
  np.testing.assert_allclose(
    camera.to_pixels(point, K, "ortho")[0], [45, -4], 1e-6
  )
  theta = math.atan2(0.5, 2.0)
  np.testing.assert_allclose(
    camera.to_pixels(point, K, "fisheye")[0],
    [50 * 0.6 * theta + 30, 60 * -0.8 * theta + 20],
    1e-6,
  )


@pytest.mark.parametrize("model", ["pinhole", "ortho", "fisheye"])
def test_jacobian_is_the_derivative(model):
  rng = np.random.default_rng(1)
  z = rng.uniform(0.5, 3, 40)
  # On the fisheye's axis, near it, at the change of formulas, and wide.
  across = np.concatenate(
    [[0, 1e-6, 1e-3, 0.17, 0.18], rng.uniform(0, 0.4, 35)]
  )
  turn = rng.uniform(0, 6.28, 40)
  points = [across * z * np.cos(turn), across * z * np.sin(turn), z]
  points = jnp.asarray(np.stack(points, axis=-1), jnp.float32)

  def pixels(point):
    return camera.to_pixels(point[None], K, model)[0]

  expected = jax.vmap(jax.jacfwd(pixels))(points)
  actual = camera.jacobian(points, K, model, SIZE)
  np.testing.assert_allclose(actual, expected, 1e-4, 2e-3)


def test_fisheye_sees_behind_itself():
  point = jnp.array([[1.0, 0, -1.0]])
  pixels = camera.to_pixels(point, K, "fisheye")
  np.testing.assert_allclose(pixels[0, 0], 30 + 50 * 0.75 * math.pi, 1e-6)


def test_pinhole_jacobian_is_held_at_the_widened_frame():
  # 1.15 x 64 pixels from the left edge is the frame's right side.
  side = (1.15 * 64 - 30) / 50
  points = jnp.array([[side, 0, 1], [4 * side, 0, 1.0], [-4.0, 0, 1]])
  j = camera.jacobian(points, K, "pinhole", SIZE)
  np.testing.assert_allclose(j[0], j[1], 1e-5)
  np.testing.assert_allclose(j[1, 0], [50, 0, -50 * side], 1e-5)
  np.testing.assert_allclose(j[2, 0, 2], 30 + 0.15 * 64, 1e-5)
