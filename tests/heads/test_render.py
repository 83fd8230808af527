"""The rasteriser against rays through pixel centres, edges and cameras."""

import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.errors import UserError
from chibijax.heads import render
from chibijax.ops import camera

SIZE = (13, 17)
K = np.array([[30.0, 0, 8.2], [0, 28.0, 6.1], [0, 0, 1]])


def scene(count: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Random triangles that cross each other in front of a turned camera."""
  rng = np.random.default_rng(3)
  centres = rng.uniform([-1, -1, 3], [1, 1, 5], (count, 1, 3))
  corners = centres + rng.normal(0, 0.4, (count, 3, 3))
  turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
  turned *= np.linalg.det(turned)
  viewmat = np.eye(4)
  viewmat[:3, :3], viewmat[:3, 3] = turned, [0.1, -0.2, 0.3]
  vertices = (corners.reshape(-1, 3) - viewmat[:3, 3]) @ turned
  return vertices, np.arange(3 * count).reshape(-1, 3), viewmat


def traced(
  vertices: np.ndarray, faces: np.ndarray, viewmat: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """One ray through each pixel centre against each triangle, in float64."""
  points = vertices @ viewmat[:3, :3].T + viewmat[:3, 3]
  face = np.full(SIZE, -1)
  depth = np.full(SIZE, np.inf)
  weights = np.zeros((*SIZE, 3))
  for row, column in np.ndindex(*SIZE):
    ray = np.linalg.solve(K, [column + 0.5, row + 0.5, 1.0])
    for index, corners in enumerate(points[faces]):
      # ray t = w_0 p_0 + w_1 p_1 + w_2 p_2 with weights that add up to 1.
      found = np.linalg.solve(corners.T, ray)
      z = 1 / found.sum()
      if (found * z > 0).all() and 0 < z < depth[row, column]:
        face[row, column], depth[row, column] = index, z
        weights[row, column] = found * z
  return face, weights, depth


def test_equals_rays_through_pixel_centres() -> None:
  vertices, faces, viewmat = scene()
  face, weights, depth = traced(vertices, faces, viewmat)
  drawn = render.rasterize(vertices, faces, viewmat, K, SIZE)
  assert 0.3 < (face >= 0).mean() < 0.95 and len(np.unique(face)) > 10
  np.testing.assert_array_equal(drawn.face, face)
  # Weights and depth are kept as float32.
  np.testing.assert_allclose(drawn.weights, weights, atol=1e-6)
  np.testing.assert_allclose(drawn.depth, depth, rtol=1e-6)


def test_attributes_are_perspective_correct() -> None:
  """The world's coordinates as attributes are where the rays end."""
  vertices, faces, viewmat = scene()
  drawn = render.rasterize(vertices, faces, viewmat, K, SIZE)
  places = render.interpolate(drawn, faces, vertices)
  seen = drawn.face >= 0
  view, near = jnp.asarray(viewmat, jnp.float32), jnp.asarray(K, jnp.float32)
  points = camera.to_camera(jnp.asarray(places[seen]), view)
  pixels = camera.to_pixels(points, near)
  rows, columns = np.nonzero(seen)
  centres = np.stack([columns + 0.5, rows + 0.5], axis=1)
  np.testing.assert_allclose(pixels, centres, atol=1e-4)
  assert not places[~seen].any()


def test_a_pixel_belongs_to_one_triangle_of_a_mesh() -> None:
  """A square of two triangles from centre to centre: left and top included."""
  flat = np.array([[1.5, 1.5], [5.5, 1.5], [5.5, 4.5], [1.5, 4.5]])
  corners = np.concatenate([flat, np.ones((4, 1))], axis=1)
  vertices = corners @ np.linalg.inv(K).T
  for faces in ([[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]]):
    faces = np.array(faces)
    drawn = render.rasterize(vertices, faces, np.eye(4), K, SIZE)
    expected = np.zeros(SIZE, bool)
    expected[1:4, 1:5] = True
    np.testing.assert_array_equal(drawn.face >= 0, expected)
    alone = [
      render.rasterize(vertices, faces[i : i + 1], np.eye(4), K, SIZE).face >= 0
      for i in range(2)
    ]
    assert not (alone[0] & alone[1]).any()


def test_the_nearer_and_of_equals_the_first_wins() -> None:
  corners = np.array([[-9.0, -9, 1], [9, -9, 1], [0, 20, 1]])
  vertices = np.concatenate([2 * corners, corners, 3 * corners])
  faces = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [3, 4, 5]])
  drawn = render.rasterize(vertices, faces, np.eye(4), K, SIZE)
  assert (drawn.face == 1).all()
  np.testing.assert_allclose(drawn.depth, 1.0, rtol=1e-6)


def test_faces_seen_from_behind_are_culled_and_near_ones_left_out() -> None:
  # Anticlockwise for a camera with y up, seen from the origin along +z.
  vertices = np.array([[-1.0, 1, 2], [1, 1, 2], [0, -1, 2]])
  front, back = np.array([[0, 1, 2]]), np.array([[0, 2, 1]])
  seen = [
    (render.rasterize(vertices, f, np.eye(4), K, SIZE, cull=True).face >= 0)
    for f in (front, back)
  ]
  assert sorted(s.any() for s in seen) == [False, True]
  normal = np.cross(vertices[1] - vertices[0], vertices[2] - vertices[0])
  # Outside is where the normal points: towards the camera for what is seen.
  assert seen[0].any() == (normal[2] < 0)
  vertices[0, 2] = -1
  crossing = render.rasterize(vertices, front, np.eye(4), K, SIZE)
  assert (crossing.face == -1).all()


def test_edges_are_smoothed_to_the_share_of_samples() -> None:
  """A half-plane through a pixel at a quarter covers a quarter of it."""
  flat = np.array([[-40, -40], [3.25, -40], [3.25, 60], [-40, 60]])
  corners = np.concatenate([flat, np.ones((4, 1))], axis=1)
  vertices = corners @ np.linalg.inv(K).T
  faces = np.array([[0, 1, 2], [0, 2, 3]])
  colors = np.full((4, 3), 0.5)
  picture = render.render(
    vertices, faces, colors, np.eye(4), K, SIZE, samples=4
  )
  assert picture.shape == (*SIZE, 4)
  expected = np.array([1, 1, 1, 0.25, 0])
  np.testing.assert_allclose(picture[5, :5, 3], expected, atol=1e-6)
  np.testing.assert_allclose(picture[5, :5, 0], expected / 2, atol=1e-6)


def test_a_picture_without_pixels_is_refused() -> None:
  vertices, faces, viewmat = scene(2)
  with pytest.raises(UserError, match="got"):
    render.rasterize(vertices, faces, viewmat, K, (0, 5))
