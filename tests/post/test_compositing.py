"""Pasting back: round trip, the outside, several faces, seams."""

import functools

import numpy as np
import pytest

from chibijax.artist import Attributes, draw_portrait
from chibijax.faces import align
from chibijax.ops import affine
from chibijax.post import compositing, pyramid
from chibijax.post.compositing import METHODS, paste_all, paste_back, seam

SIZE = 192


@functools.cache
def portrait() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """A photo, its aligned face and the transform between them."""
  drawing = draw_portrait(Attributes(roll=9.0), 256, seed=4)
  photo = drawing.rgb()
  aligned, transform = align.align(photo, drawing.landmarks, SIZE)
  return photo, aligned, transform


def oval() -> np.ndarray:
  y, x = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
  return ((x - 0.5) / 0.28) ** 2 + ((y - 0.55) / 0.36) ** 2 < 1


def changed(picture: np.ndarray) -> np.ndarray:
  """A face as a network might return it: another colour and contrast."""
  return np.uint8(np.clip(picture * 0.85 + [35, 5, -20], 0, 255))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
  error = np.mean((a.astype(float) - b.astype(float)) ** 2)
  return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("masked", [False, True])
def test_there_and_back_again(method: str, masked: bool) -> None:
  photo, aligned, transform = portrait()
  mask = oval() if masked else None
  back = paste_back(photo, aligned, transform, mask=mask, method=method)
  alpha = compositing.coverage(photo.shape[:2], transform, (SIZE, SIZE), mask)
  inside = alpha > 0.99
  assert inside.sum() > 2000
  # 192 px hold most of what the photo has there; two bicubic steps lose some.
  assert psnr(back[inside], photo[inside]) > 36
  np.testing.assert_array_equal(back[alpha == 0], photo[alpha == 0])


@pytest.mark.parametrize("method", METHODS)
def test_outside_keeps_its_bits_and_the_middle_the_picture(method: str) -> None:
  photo, aligned, transform = portrait()
  white = np.full_like(aligned, 255)
  back = paste_back(
    photo, white, transform, mask=oval(), method=method, match=0
  )
  grown = compositing.coverage(
    photo.shape[:2], transform, (SIZE, SIZE), oval(), 0
  )
  np.testing.assert_array_equal(back[grown == 0], photo[grown == 0])
  assert (back != photo).any()
  if method != "poisson":  # Which takes the photo's colours.
    middle = affine.move(
      affine.invert(transform), np.array([[SIZE / 2, 0.55 * SIZE]])
    )[0].astype(int)
    assert (back[middle[1], middle[0]] >= 253).all()


def test_photos_of_all_types() -> None:
  photo, aligned, transform = portrait()
  expected = paste_back(photo, aligned, transform, mask=oval())
  unit = (photo / 255).astype(np.float32)
  result = paste_back(
    unit, (aligned / 255).astype(np.float32), transform, mask=oval()
  )
  assert result.dtype == np.float32 and 0 <= result.min() <= result.max() <= 1
  np.testing.assert_allclose(result * 255, expected, atol=0.51)
  untouched = unit.copy()
  np.testing.assert_array_equal(unit, untouched)
  alpha = np.uint8(np.arange(photo.size // 3).reshape(photo.shape[:2]) % 256)
  clear = np.dstack([photo, alpha])
  four = paste_back(clear, aligned, transform, mask=oval())
  np.testing.assert_array_equal(four[..., 3], alpha)
  np.testing.assert_array_equal(four[..., :3], expected)


def test_transparent_parts_of_a_picture_do_not_show() -> None:
  photo, aligned, transform = portrait()
  solid = np.uint8(255 * oval())
  # What is under the transparency must not bleed over its edge.
  picture = np.dstack([np.where(oval()[..., None], aligned, 0), solid])
  back = paste_back(
    photo, picture, transform, feather=0.0, method="feather", match=0
  )
  # The hardly covered pixels of the edge are nothing but photo and aligned.
  assert np.abs(back.astype(int) - photo).max() < 60
  assert psnr(back, photo) > 36


@pytest.mark.parametrize("method", METHODS)
def test_feathering_hides_a_seam(method: str) -> None:
  photo, aligned, transform = portrait()
  picture = changed(aligned)
  options = {"mask": oval(), "match": 0}
  hard = paste_back(
    photo, picture, transform, feather=0, method="feather", **options
  )
  soft = paste_back(photo, picture, transform, method=method, **options)
  same = seam(photo, photo, transform, oval())
  assert same.ratio == 1
  before = seam(photo, hard, transform, oval(), feather=0).ratio
  after = seam(photo, soft, transform, oval()).ratio
  assert before > 1.5 and after < 0.7 * before


def test_matching_takes_a_shift_of_colour_away() -> None:
  photo, aligned, transform = portrait()
  inside = oval()
  shifted = np.uint8(np.clip(aligned + np.array([14, -9, 6]), 0, 255))

  def error(match: float) -> float:
    back = paste_back(photo, shifted, transform, mask=oval(), match=match)
    face = affine.warp(back, transform, (SIZE, SIZE))
    return float(np.abs(face.astype(float) - aligned)[inside].mean())

  none, half, full = (error(match) for match in (0.0, 0.5, 1.0))
  assert full < 0.35 * none and 0.4 * none < half < 0.75 * none


def test_the_nearest_of_several_covers_the_others() -> None:
  photo = np.zeros((120, 160, 3), np.uint8)
  near = np.array([[0.5, 0, -10], [0, 0.5, -5.0]])  # 100 px in the photo.
  far = np.array([[1.0, 0, -90], [0, 1, -40.0]])  # 50 px.
  red, blue = (
    np.full((50, 50, 3), c, np.uint8) for c in ((255, 0, 0), (0, 0, 255))
  )
  options = {"feather": 0.0, "match": 0.0}
  for order in (0, 1):
    pictures = [red, blue][:: 1 - 2 * order]
    transforms = [near, far][:: 1 - 2 * order]
    result = paste_all(photo, pictures, transforms, **options)
    assert result[60, 100].tolist() == [255, 0, 0]
    assert result[60, 130].tolist() == [0, 0, 255]
  assert not photo.any()
  nobody = paste_all(photo, [], [])
  np.testing.assert_array_equal(nobody, photo)
  assert nobody is not photo
  with pytest.raises(ValueError, match="must be as many, got 1, 2 and 1"):
    paste_all(photo, [red], [near, far])


def test_frames_that_leave_the_photo() -> None:
  photo, aligned, transform = portrait()
  for shift in ((-150, 0), (120, 130), (-5000, 0)):
    moved = transform.copy()
    moved[:, 2] += shift
    for method in METHODS:
      back = paste_back(photo, aligned, moved, method=method)
      assert back.shape == photo.shape
      seam(photo, back, moved, frame=(SIZE, SIZE))
  np.testing.assert_array_equal(back, photo)


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    ({"feather": 0.6}, "feather must be in"),
    ({"match": 2}, "match in"),
    ({"method": "magic"}, "method must be one of"),
    ({"mask": np.ones((3, 3), bool)}, "mask must be of the picture's shape"),
  ],
)
def test_mistakes(options: dict, sentence: str) -> None:
  photo, aligned, transform = portrait()
  with pytest.raises((ValueError, TypeError), match=sentence):
    paste_back(photo, aligned, transform, **options)
  with pytest.raises(ValueError, match="seam needs a mask"):
    seam(photo, photo, transform)


@pytest.mark.parametrize("shape", [(37, 64), (5, 9), (64, 1), (2, 2)])
def test_pyramid_gives_back_what_went_in(shape: tuple[int, int]) -> None:
  rng = np.random.default_rng(0)
  a, b = rng.random((2, *shape, 3), np.float32)
  ones = np.ones((*shape, 1), np.float32)
  np.testing.assert_allclose(pyramid.blend(a, b, ones, 4), b, atol=1e-5)
  np.testing.assert_allclose(pyramid.blend(a, b, 0 * ones, 4), a, atol=1e-5)
  flat = np.full((*shape, 3), 0.3, np.float32)
  half = pyramid.expand(pyramid.reduce(flat), shape)
  np.testing.assert_allclose(half, flat, atol=1e-6)


def test_membrane_is_smooth_between_what_is_known() -> None:
  size = 61
  y, x = np.mgrid[:size, :size] / (size - 1)
  plane = (0.2 + 0.5 * x - 0.3 * y)[..., None].astype(np.float32)
  weight = np.zeros((size, size, 1), np.float32)
  weight[[0, -1]] = weight[:, [0, -1]] = 1
  # A plane is harmonic: its border says all. A tenth of its range for the few
  # rounds of relaxation.
  found = pyramid.membrane(plane * weight, weight)
  np.testing.assert_allclose(found, plane, atol=0.08)
  large = pyramid.membrane(
    np.full((400, 300, 1), 0.4, np.float32), np.ones((400, 300, 1), np.float32)
  )
  np.testing.assert_allclose(large, 0.4, atol=1e-4)


def test_box_blur_is_a_mean() -> None:
  image = np.zeros((9, 9, 1), np.float32)
  image[4, 4] = 9
  blurred = pyramid.box_blur(image, 1)[..., 0]
  np.testing.assert_allclose(blurred[3:6, 3:6], 1, atol=1e-6)
  assert abs(blurred).sum() == pytest.approx(9, abs=1e-4)
