"""The portrait's parts: shading, canvas, geometry, camera."""

import dataclasses

import numpy as np
import pytest

from chibijax.artist.attributes import Attributes
from chibijax.artist.portrait_camera import (
  background,
  build_light,
  take_photo,
  tone_map,
)
from chibijax.artist.portrait_canvas import (
  Canvas,
  ellipse,
  grid,
  mirror,
  paint,
  spline,
  stroke,
  to_pixels,
)
from chibijax.artist.portrait_filter import gaussian_blur, product, value_noise
from chibijax.artist.portrait_geometry import (
  EXPRESSIONS,
  build_face,
  posed,
  to_head_frame,
  unposed,
)
from chibijax.artist.portrait_relief import head_height
from chibijax.artist.portrait_shading import (
  cast_shadow,
  normals,
  occlusion,
  to_linear,
  to_srgb,
)

POSED = Attributes(yaw=18.0, pitch=-9.0, roll=8.0)


def test_srgb_round_trip():
  codes = np.arange(256, dtype=np.uint8)
  # The encoder's table has 4096 steps: coarser than a code in the dark.
  error = np.abs(to_srgb(to_linear(codes)) - codes)
  assert error[16:].max() < 0.6
  assert error.max() < 2.0


def test_gaussian_blur_keeps_constants_and_spreads_an_impulse():
  flat = np.full((24, 24), 0.7, np.float32)
  np.testing.assert_allclose(gaussian_blur(flat, 3.0), flat, rtol=1e-5)
  x = np.zeros((41, 41), np.float32)
  x[20, 20] = 1
  y = gaussian_blur(x, 2.0)
  at = np.arange(41) - 20
  assert abs((y.sum(0) * at**2).sum() - 4.0) < 0.1
  np.testing.assert_allclose(y, y.T, atol=1e-6)


@pytest.mark.parametrize("sigma", [1.3, 3.0, 9.0])
def test_gaussian_blur_is_the_weighted_sum_it_says(sigma):
  x = np.random.default_rng(0).uniform(0, 1, (97, 97)).astype(np.float32)
  at = np.arange(97)
  w = np.exp(-0.5 * ((at[:, None] - at) / sigma) ** 2)
  w /= w.sum(1, keepdims=True)
  inside = np.s_[27:-27, 27:-27]
  # White noise is the worst case for the coarse nodes of a wide Gaussian.
  want = (w @ x @ w.T)[inside]
  np.testing.assert_allclose(gaussian_blur(x, sigma)[inside], want, atol=5e-4)


@pytest.mark.parametrize("shape", [(7, 5, 9), (130, 97, 130), (65, 300, 70)])
def test_products_in_tiles_are_products(shape):
  m, k, n = shape
  rng = np.random.default_rng(1)
  a = rng.standard_normal((m, k)).astype(np.float32)
  b = rng.standard_normal((n, k)).astype(np.float32).T
  # Float32 sums of k terms of size one.
  np.testing.assert_allclose(product(a, b), a @ b, atol=1e-4)


def test_normals_of_a_plane_and_of_a_sphere():
  g = grid(64)
  plane = np.broadcast_to(0.5 * g.u - 0.25 * g.v, (64, 64)).astype(np.float32)
  n = normals(plane, g.pixel)
  want = np.array([-0.5, 0.25, 1.0]) / np.sqrt(1 + 0.25 + 0.0625)
  np.testing.assert_allclose(n[:, 5, 9], want, atol=5e-4)
  r2 = g.u**2 + g.v**2
  ball = np.sqrt(np.maximum(1 - r2, 0)).astype(np.float32)
  n = normals(ball, g.pixel)
  inside = r2 < 0.5
  direction = np.stack(np.broadcast_arrays(g.u, g.v, ball))
  error = np.abs(n - direction)[:, inside]
  assert error.max() < 0.03


def test_a_step_shades_away_from_the_light_only():
  g = grid(96)
  wall = np.broadcast_to(np.where(g.u < 0, 0.5, 0.0), (96, 96))
  wall = wall.astype(np.float32)
  left = cast_shadow(wall, (-0.8, 0.0, 0.6), g.pixel)
  right = cast_shadow(wall, (0.8, 0.0, 0.6), g.pixel)
  column = int(to_pixels(np.array([0.15, 0.0]), 96)[0])
  assert left[48, column] < 0.1
  assert right[48, column] > 0.9


def test_hollows_are_occluded():
  g = grid(96)
  hollow = -0.4 * np.exp(-0.5 * (g.u**2 + g.v**2) / 0.1**2)
  seen = occlusion(hollow.astype(np.float32), g.pixel)
  middle = to_pixels(np.zeros(2), 96).astype(int)
  assert seen[middle[1], middle[0]] < 0.8
  assert seen[5, 5] > 0.98


def test_coverage_has_the_area_of_the_shape():
  for size in (64, 128, 300):
    disc = Canvas(size).mask(ellipse(0.1, 0.2, 0.5, 0.3, 64))
    area = disc.sum() * grid(size).pixel ** 2
    # Pillow fills whole samples, so borders are about half a sample wide.
    assert abs(area - np.pi * 0.15) < 0.02


def test_coverage_outside_the_picture_is_none():
  canvas = Canvas(32)
  assert canvas.coverage(ellipse(9.0, 0.0, 0.2, 0.2)) is None
  planes = np.zeros((3, 32, 32), np.float32)
  paint(planes, None, [1.0, 1.0, 1.0])
  assert not planes.any()


def test_curves():
  points = [(0.0, 0.0), (1.0, 0.5), (2.0, 0.0)]
  curve = spline(points, steps=8)
  np.testing.assert_allclose(curve[[0, 8, 16]], points, atol=1e-6)
  np.testing.assert_allclose(mirror(mirror(curve)), curve)
  line = np.array([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)], np.float32)
  outline = stroke(line, 0.2)
  np.testing.assert_allclose(np.abs(outline[:, 1]), 0.1, atol=1e-5)


def test_pose_and_its_inverse():
  x = np.linspace(-2.2, 2.2, 23, dtype=np.float32)
  points = np.stack(np.meshgrid(x, x), -1)
  back = posed(unposed(points, POSED), POSED)
  # 0.01 face units are a seventh of a pixel at 64 px.
  assert np.abs(back - points).max() < 0.01


def test_no_pose_is_the_identity():
  points = np.random.default_rng(0).uniform(-2, 2, (50, 2))
  np.testing.assert_allclose(posed(points, Attributes()), points, atol=1e-9)


def test_directions_keep_their_length_and_turn_with_the_head():
  light = (0.36, -0.48, 0.8)
  turned = to_head_frame(light, POSED)
  assert abs(np.linalg.norm(turned) - 1) < 1e-6
  # A face turned to the viewer's right sees a frontal light on its left.
  assert to_head_frame((0.0, 0.0, 1.0), Attributes(yaw=15.0))[0] < -0.2
  assert to_head_frame(light, Attributes()) == pytest.approx(light)


def test_a_frontal_face_is_symmetric():
  face = build_face(Attributes())
  order = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31)]
  order += [*range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
  order += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]
  order += [64, 63, 62, 61, 60, 67, 66, 65]
  reflected = mirror(face.landmarks)[order]
  np.testing.assert_allclose(reflected, face.landmarks, atol=1e-5)


def test_expressions_move_what_they_say():
  def face(word):
    return build_face(Attributes(expression=word)).landmarks

  calm, grin, sad = face("neutral"), face("grin"), face("sad")
  assert grin[48, 1] < calm[48, 1] < sad[48, 1]
  assert face("surprised")[66, 1] - face("surprised")[62, 1] > 0.2
  wink = face("wink")
  left, right = np.ptp(wink[36:42, 1]), np.ptp(wink[42:48, 1])
  assert right < 0.5 * left
  assert set(EXPRESSIONS) >= {"neutral", "tongue", "worried"}


def test_the_nose_sticks_out():
  face, g = build_face(Attributes()), grid(128)
  z = head_height(face, g)
  tip = to_pixels(face.landmarks[30], 128).astype(int)
  row = z[tip[1]]
  assert abs(int(row.argmax()) - tip[0]) <= 2
  assert row.max() > 1.2


@pytest.mark.parametrize("seed", range(8))
def test_light_exposes_a_facing_surface_well(seed):
  light = build_light(Attributes(), np.random.default_rng(seed))
  assert abs(np.linalg.norm(light.key) - 1) < 1e-6
  assert light.key[2] > 0
  facing = light.key_color * light.key[2] + light.fill_color * light.fill[2]
  facing = facing + 0.5 * (light.sky_color + light.ground_color)
  assert 0.6 < facing.mean() < 1.6


def test_light_comes_from_the_side_the_attributes_say():
  for azimuth in (-50.0, 50.0):
    a = dataclasses.replace(Attributes(), light_azimuth=azimuth)
    light = build_light(a, np.random.default_rng(0))
    assert np.sign(light.key[0]) == np.sign(azimuth)
    assert light.key[1] < 0


def test_backgrounds_are_finite_smooth_and_varied():
  made = [
    background(Attributes(), 64, np.random.default_rng(i)) for i in range(16)
  ]
  for planes in made:
    assert planes.shape == (3, 64, 64)
    assert planes.min() > 0 and planes.max() <= 1.7
    # Out of focus: neighbours are much more alike than distant pixels.
    assert np.abs(np.diff(planes, axis=2)).mean() < 0.5 * planes.std() + 0.01
  means = np.array([planes.mean((1, 2)) for planes in made])
  assert means.std(0).min() > 0.03


def test_camera_adds_noise_but_keeps_the_picture():
  grey = tone_map(np.full((3, 64, 64), 0.2, np.float32), 1.0)
  photo = take_photo(grey, np.random.default_rng(1))
  assert photo.dtype == np.uint8 and photo.shape == (64, 64, 3)
  assert 0.1 < photo[20:44, 20:44].astype(float).std() < 12
  assert abs(float(photo.mean()) - float(grey.mean())) < 25


def test_value_noise_is_centred_and_the_same_at_every_size():
  small = value_noise(np.random.default_rng(0), 6, 40)[0]
  large = value_noise(np.random.default_rng(0), 6, 80)[0]
  assert abs(small.mean()) < 0.5
  reduced = large.reshape(40, 2, 40, 2).mean((1, 3))
  assert np.abs(small - reduced).max() < 0.02
