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


def _pytorch3d_pixels(point, R, T, focal, principal, size):
  """Pixels by that library's conventions, one number after the other."""
  x, y, z = (sum(point[i] * R[i][j] for i in range(3)) + T[j] for j in range(3))
  # Normalised coordinates: x grows to the left, y upward; the shorter side is
  # 2 wide, and pixel k spans [k, k + 1] of the side's pixels.
  left = focal * x / z + principal[0]
  up = focal * y / z + principal[1]
  shorter = min(size)
  right_edge, top_edge = -size[0] / shorter, size[1] / shorter
  u = (left - -right_edge) / (right_edge - -right_edge) * size[0]
  v = (top_edge - up) / (2 * top_edge) * size[1]
  return u, v


@pytest.mark.parametrize("size", [(512, 512), (64, 48), (48, 64)])
def test_pytorch3d_cameras_see_the_same_pixels(size):
  rng = np.random.default_rng(3)
  R = np.linalg.qr(rng.normal(size=(2, 3, 3)))[0]
  R *= np.linalg.det(R)[:, None, None]
  T = np.array([[0.1, -0.05, 9.3], [0.0, 0.2, 8.0]])
  principal = (0.03, -0.2)
  points = rng.uniform(-0.7, 0.7, (2, 5, 3))
  view, k = camera.from_pytorch3d(
    jnp.float32(R), jnp.float32(T), 12.0, size, principal
  )
  seen = camera.to_pixels(camera.to_camera(jnp.float32(points), view), k)
  expected = [
    [_pytorch3d_pixels(p, r, t, 12.0, principal, size) for p in some]
    for some, r, t in zip(points, R, T)
  ]
  np.testing.assert_allclose(seen, expected, 0, 2e-3)
  np.testing.assert_allclose(view[:, 3], [[0, 0, 0, 1]] * 2)
  back = camera.to_pytorch3d(view, k, size)
  for got, want in zip(back, (R, T, [[12.0] * 2] * 2, [principal] * 2)):
    np.testing.assert_allclose(got, want, 0, 1e-5)


def test_published_camera_has_the_published_focal_length():
  turned, shift = jnp.diag(jnp.array([-1.0, 1, -1])), jnp.array([0, 0, 9.3])
  view, k = camera.from_pytorch3d(turned, shift, 12.0, (512, 512))
  np.testing.assert_allclose(k, [[3072, 0, 256], [0, 3072, 256], [0, 0, 1]])
  # It faces the head: the head's left (x) is right in the picture, up is up.
  seen = camera.to_pixels(
    camera.to_camera(jnp.array([[0.1, 0.0, 0], [0, 0.1, 0]]), view), k
  )
  assert seen[0, 0] > 256 and seen[1, 1] < 256
