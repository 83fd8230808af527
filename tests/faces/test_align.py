"""Alignment: exact similarities, the artist's frame, and the way back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from chibijax.artist import Attributes, draw_portrait
from chibijax.faces import align
from chibijax.ops import resample


def similarity(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
  cos, sin = (scale * f(np.radians(degrees)) for f in (np.cos, np.sin))
  return np.array([[cos, -sin, x], [sin, cos, y]], np.float32)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
  error = np.mean((a.astype(float) - b.astype(float)) ** 2)
  return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize("degrees", [0.0, 33.0, -120.0, 180.0])
def test_umeyama_recovers_a_similarity(degrees: float) -> None:
  true = similarity(1.7, degrees, -30.0, 12.0)
  source = np.random.default_rng(0).uniform(0, 100, (5, 2))
  found = align.umeyama(source, align.move(true, source))
  np.testing.assert_allclose(found, true, atol=2e-4)


def test_umeyama_is_the_least_squares_similarity() -> None:
  rng = np.random.default_rng(1)
  source, target = rng.normal(size=(2, 6, 2)) * 20
  found = align.umeyama(source, target)

  def error(m: np.ndarray) -> float:
    return float(np.sum((align.move(m, source) - target) ** 2))

  best = error(found)
  for scale, degrees, x, y in rng.normal(size=(20, 4)) * 0.02:
    step = similarity(1 + scale, degrees * 20, x * 10, y * 10)
    linear = step[:, :2] @ found[:, :2]
    other = np.concatenate([linear, found[:, 2:] + step[:, 2:]], 1)
    assert error(other) >= best


def test_umeyama_of_one_place_is_a_shift() -> None:
  found = align.umeyama(np.ones((3, 2)), np.full((3, 2), 5.0))
  np.testing.assert_allclose(found, [[1, 0, 4], [0, 1, 4]])


def test_canonical_points_are_the_artists() -> None:
  points = np.mean(
    [
      align.five_points(draw_portrait(one, 128, seed=1).landmarks) / 128
      for one in (
        Attributes(),
        Attributes(face_shape="round", presentation="feminine"),
        Attributes(face_shape="long", presentation="masculine"),
      )
    ],
    0,
  )
  # A fifth of the distance between the eyes, 0.192, covers other faces.
  np.testing.assert_allclose(align.PORTRAIT, points, atol=0.04)


def test_margin_shows_more_around_the_same_face() -> None:
  plain = align.canonical_points(100)
  wide = align.canonical_points(200, 0.5)
  np.testing.assert_allclose(wide, plain + 50)
  with pytest.raises(ValueError, match=r"margin must be above -0\.5"):
    align.canonical_points(100, -0.5)


def test_align_puts_eyes_and_mouth_in_their_place() -> None:
  drawing = draw_portrait(Attributes(roll=8.0), 200, seed=0)
  aligned, transform = align.align(drawing.rgb(), drawing.landmarks, 128, 0.1)
  assert aligned.shape == (128, 128, 3)
  moved = align.move(transform, align.five_points(drawing.landmarks))
  target = align.canonical_points(128, 0.1)
  fitted = list(align.FITTED)
  np.testing.assert_allclose(moved[fitted], target[fitted], atol=2.5)
  with pytest.raises(ValueError, match="must be 5 or 68, got 7"):
    align.align(drawing.rgb(), np.zeros((7, 2)))


def test_invert_undoes() -> None:
  transform = similarity(0.3, 40.0, 5.0, -8.0)
  points = np.random.default_rng(0).uniform(0, 500, (20, 2))
  back = align.move(align.invert(transform), align.move(transform, points))
  np.testing.assert_allclose(back, points, atol=1e-2)


@pytest.mark.parametrize("degrees", [0.0, 25.0])
def test_warp_agrees_with_the_differentiable_one(
  degrees: float, astronaut: np.ndarray
) -> None:
  smooth = np.asarray(Image.fromarray(astronaut).reduce(4).resize((256, 256)))
  transform = similarity(1.1, degrees, -40.0, 9.0)
  ours = align.warp(smooth, transform, (96, 120))
  other = resample.affine(
    jnp.asarray(smooth, jnp.float32), jnp.asarray(transform), (96, 120)
  )
  assert psnr(ours, np.asarray(other)) > 36  # Bicubic against bilinear.


def test_warp_by_the_identity_is_exact(astronaut: np.ndarray) -> None:
  unit = np.eye(2, 3)
  np.testing.assert_array_equal(
    align.warp(astronaut, unit, astronaut.shape[:2]), astronaut
  )
  shifted = np.array([[1, 0, -100.0], [0, 1, -50.0]])
  np.testing.assert_array_equal(
    align.warp(astronaut, shifted, (80, 90)), astronaut[50:130, 100:190]
  )


def test_warp_shrinks_without_aliasing() -> None:
  fine = np.zeros((256, 256, 3), np.uint8)
  fine[:, ::2] = 255  # Stripes of a pixel are grey from far away.
  small = align.warp(fine, similarity(0.25, 0.0, 0.0, 0.0), (64, 64))
  np.testing.assert_allclose(small[4:-4, 4:-4], 127.5, atol=3)


def test_borders() -> None:
  photo = np.zeros((10, 10, 3), np.uint8)
  photo[:, 8:] = 250
  right = np.array([[1, 0, -10.0], [0, 1, 0]])
  edge = align.warp(photo, right, (10, 10))
  assert (edge == 250).all()
  mirror = align.warp(photo, right, (10, 10), border="reflect")
  assert (mirror[:, :2] == 250).all() and (mirror[:, 3:] == 0).all()


def test_grey_and_transparent_pictures_are_warped() -> None:
  unit = np.eye(2, 3)
  assert align.warp(np.zeros((9, 9), np.uint8), unit, (4, 5)).shape == (4, 5)
  rgba = np.full((9, 9, 4), 7, np.uint8)
  assert align.warp(rgba, unit, (4, 5)).shape == (4, 5, 4)


def test_there_and_back(astronaut: np.ndarray) -> None:
  points = np.array(
    [[204, 101], [246, 103], [225, 128], [202, 140], [246, 141.0]]
  )
  transform = align.find_transform(points, 512)
  aligned = align.warp(astronaut, transform, (512, 512))
  # What is under the frame is wiped out, so that all of it is pasted.
  back = align.paste(astronaut // 2, aligned, transform)
  corners = align.move(
    align.invert(transform), np.array([[16, 16], [496, 496.0]])
  )
  x0, y0, x1, y1 = np.clip(corners.ravel().round().astype(int), 0, 512)
  assert psnr(back[y0:y1, x0:x1], astronaut[y0:y1, x0:x1]) > 38
  # Outside of the frame nothing changes.
  reached = align.move(align.invert(transform), np.array([[0, 512.0]]))
  below = int(reached[0, 1]) + 20
  np.testing.assert_array_equal(back[below:], astronaut[below:] // 2)


def test_paste_feathers_and_uses_alpha() -> None:
  photo = np.zeros((60, 60, 3), np.uint8)
  white = np.full((40, 40, 3), 200, np.uint8)
  shift = np.array([[1, 0, -10.0], [0, 1, -10.0]])
  hard = align.paste(photo, white, shift)
  assert (hard[10:50, 10:50] == 200).all() and hard[:10].max() == 0
  soft = align.paste(photo, white, shift, feather=0.25)
  middle = soft[30, :, 0].astype(int)
  assert middle[30] == 200 and 0 < middle[12] < middle[16] < 200
  nothing = align.paste(photo, white, shift, alpha=np.zeros((40, 40)))
  np.testing.assert_array_equal(nothing, photo)
  # A frame that misses the photo changes nothing.
  far = np.array([[1, 0, -1000.0], [0, 1, 0]])
  np.testing.assert_array_equal(align.paste(photo, white, far), photo)


def test_jitter_stays_within_its_limits() -> None:
  transform = jnp.asarray(similarity(0.8, 10.0, 4.0, 6.0))
  keys = jax.random.split(jax.random.key(0), 200)
  moved = jax.vmap(
    lambda k: align.jitter(k, transform, 64, shift=0.1, scale=0.2, angle=15.0)
  )(keys)
  linear = np.asarray(moved)[:, :, :2]
  ratio = np.sqrt(np.linalg.det(linear)) / 0.8
  assert 1 / 1.2001 < ratio.min() < 0.87 and 1.15 < ratio.max() < 1.2001
  turn = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0])) - 10
  assert -15.01 < turn.min() < -13 and 13 < turn.max() < 15.01
  # The frame's middle moves by the shift alone.
  middle = align.move(
    align.invert(np.asarray(transform)), np.array([[32, 32.0]])
  )
  reached = np.array([align.move(np.asarray(m), middle)[0] for m in moved])
  assert np.abs(reached - 32).max() < 6.41


@pytest.mark.parametrize("feather", [0.0, 0.2])
def test_pasting_in_bands_leaves_no_trace(
  feather: float, monkeypatch: pytest.MonkeyPatch
) -> None:
  rng = np.random.default_rng(2)
  photo = rng.integers(0, 256, (90, 70, 3), np.uint8)
  small = rng.integers(0, 256, (8, 8, 3), np.uint8)
  frame = np.asarray(Image.fromarray(small).resize((48, 48)))
  transform = np.array([[0.7, 0.3, -8], [-0.3, 0.7, 6]], np.float32)
  pasted = []
  for rows in (7, 1000):
    monkeypatch.setattr(align, "_BAND", rows)
    pasted.append(align.paste(photo, frame, transform, feather=feather))
  one, other = (p.astype(int) for p in pasted)
  assert (one != photo).any()
  # Places differ by rounding only.
  assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("border", ["edge", "reflect"])
def test_warp_far_outside_repeats_the_photo(border: str) -> None:
  photo = np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8)
  shift = np.array([[1, 0, 11], [0, 1, 8]], np.float32)
  found = align.warp(photo, shift, (24, 30), border=border)
  mode = {"edge": "edge", "reflect": "symmetric"}[border]
  expected = np.pad(photo, ((8, 11), (11, 12), (0, 0)), mode=mode)
  np.testing.assert_array_equal(found, expected)
