"""The lifted plane against its definition, one point at a time."""

import jax
import jax.numpy as jnp
import numpy as np

from chibijax.ops import camera, lifting

SIZE, COUNT = (128, 96), 5


_plane = jax.jit(lifting.plane, static_argnums=(2, 3))


def _camera() -> tuple[jax.Array, jax.Array]:
  eye = jnp.array([[2.0, 1.0, 9.0], [-3.0, -0.5, 8.0]])
  # The origin lies off the picture's middle.
  target = jnp.array([[0.1, -0.2, 0.0], [0.0, 0.3, 0.1]])
  view = camera.look_at(eye, target, jnp.array([[0.0, 1, 0]] * 2))
  K = jnp.array([[768.0, 0, 60], [0, 700, 50], [0, 0, 1]])
  return view, jnp.stack([K, K])


def test_plane_fills_the_picture_through_the_origin() -> None:
  view, K = _camera()
  points, normal = _plane(view, K, SIZE, COUNT)
  assert points.shape == (2, COUNT**2, 3) and normal.shape == (2, 3)
  # Across the view axis, through the origin.
  along = np.einsum("bni,bi->bn", points, normal)
  np.testing.assert_allclose(along, 0, atol=1e-5)
  # The points' pixels are the grid from edge to edge, rows first.
  pixels = camera.to_pixels(camera.to_camera(points, view), K)
  v, u = np.meshgrid(
    np.linspace(0, 96, COUNT), np.linspace(0, 128, COUNT), indexing="ij"
  )
  grid = np.stack([u, v], -1).reshape(-1, 2)
  np.testing.assert_allclose(pixels, [grid, grid], atol=2e-3)
  # The normal leads away from the camera.
  away = -np.einsum("bi,bi->b", camera.centre(view), normal)
  assert (away > 7).all()


def test_plane_is_the_published_one() -> None:
  # Rays through normalised coordinates 1..-1 over the focal length 12, x to
  # the left and y up, as long as the plane is far.
  rng = np.random.default_rng(0)
  R = np.linalg.qr(rng.normal(size=(3, 3)))[0]
  R *= np.linalg.det(R)
  T = np.array([0.1, -0.2, 9.3])
  view, K = camera.from_pytorch3d(
    jnp.float32(R), jnp.float32(T), 12.0, (512, 512)
  )
  points, normal = _plane(view, K, (512, 512), COUNT)
  np.testing.assert_allclose(normal, R @ [0, 0, 1], atol=1e-6)
  centre = -R @ T
  distance = abs(centre @ R @ [0, 0, 1])
  expected = [
    centre + distance * R @ [x / 12, y / 12, 1]
    for y in np.linspace(1, -1, COUNT)
    for x in np.linspace(1, -1, COUNT)
  ]
  np.testing.assert_allclose(points, expected, atol=1e-5)


def test_lifted_points_leave_the_plane_both_ways() -> None:
  points, normal = _plane(*_camera(), SIZE, COUNT)
  amount = jax.random.uniform(jax.random.key(0), (2, 2, COUNT**2))
  lifted = jax.jit(lifting.lift)(points, normal, amount)
  points, normal, amount = map(np.asarray, (points, normal, amount))
  behind, front = np.split(np.asarray(lifted), 2, axis=1)
  for side, sign, k in ((behind, 1, 0), (front, -1, 1)):
    expected = points + sign * amount[:, k, :, None] * normal[:, None]
    np.testing.assert_allclose(side, expected, atol=1e-6)
