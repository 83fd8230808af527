"""Copies are found, other pictures are not taken for one."""

import io
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from chibijax.artist import draw_chibi, draw_portrait, sample_attributes
from chibijax.data import duplicates
from chibijax.data.duplicates import Seen, fingerprint

COUNT = 12


def character(k: int):
  return sample_attributes(np.random.default_rng([7, k]))


@pytest.fixture(scope="module")
def portraits() -> list[Image.Image]:
  return [
    Image.fromarray(draw_portrait(character(k), 128, seed=k).rgb())
    for k in range(COUNT)
  ]


@pytest.fixture(scope="module")
def chibis() -> list[Image.Image]:
  return [
    Image.fromarray(draw_chibi(character(k), 128).rgb()) for k in range(COUNT)
  ]


def encoded(picture: Image.Image, quality: int) -> Image.Image:
  file = io.BytesIO()
  picture.save(file, "JPEG", quality=quality)
  return Image.open(file).convert("RGB")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
  "same": lambda p: p,
  "JPEG": lambda p: encoded(p, 40),
  "small": lambda p: p.resize((70, 70), Image.Resampling.BICUBIC),
  "large": lambda p: p.resize((333, 333), Image.Resampling.BICUBIC),
}
PHOTO_COPIES = COPIES | {
  "bright": lambda p: ImageEnhance.Brightness(p).enhance(1.15),
  "grey": lambda p: p.convert("L").convert("RGB"),
  "mirrored": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def look(picture: Image.Image) -> duplicates.Fingerprint:
  return fingerprint(np.asarray(picture))


@pytest.mark.parametrize("kind", PHOTO_COPIES)
def test_copies_of_photos(portraits: list[Image.Image], kind: str) -> None:
  seen = Seen(duplicates.LIMIT)
  for k, picture in enumerate(portraits):
    assert seen.find(look(picture)) is None
    seen.add(str(k), look(picture))
  for k, picture in enumerate(portraits):
    found = seen.find(look(PHOTO_COPIES[kind](picture)))
    assert found is not None and found[0] == str(k)


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_drawings(chibis: list[Image.Image], kind: str) -> None:
  seen = Seen(duplicates.LIMIT, duplicates.COLOURS)
  for k, picture in enumerate(chibis):
    assert seen.find(look(picture)) is None
    seen.add(str(k), look(picture))
  for k, picture in enumerate(chibis):
    found = seen.find(look(COPIES[kind](picture)))
    assert found is not None and found[0] == str(k)


def test_colours_tell_drawings_apart(chibis: list[Image.Image]) -> None:
  red, green, blue = chibis[0].split()
  other = Image.merge("RGB", (blue, green, red))
  grey = look(other.convert("L").convert("RGB"))
  assert grey.signs.shape == (4,) and grey.colours.shape == (16, 16, 3)
  for colours, copy in ((None, True), (duplicates.COLOURS, False)):
    seen = Seen(duplicates.LIMIT, colours)
    seen.add("a", look(chibis[0]))
    # Its grey values changed as well, but not where the outlines are.
    same_outline = look(chibis[0].convert("L").convert("RGB"))
    assert (seen.find(same_outline) is not None) == copy


def test_mirrored_fingerprint_is_that_of_the_mirror_image(
  portraits: list[Image.Image],
) -> None:
  for picture in portraits[:4]:
    turned = look(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    other = look(picture).mirrored
    # A sign that is nearly 0 may be lost on the way.
    assert np.bitwise_count(turned.signs ^ other.signs).sum() <= 20
    np.testing.assert_array_equal(turned.colours, other.colours)


def test_the_closest_is_found_and_limits_are_kept() -> None:
  rng = np.random.default_rng(0)
  colours = np.zeros((16, 16, 3), np.uint8)

  def one(bits: np.ndarray) -> duplicates.Fingerprint:
    packed = np.packbits(bits).view(np.uint64)
    return duplicates.Fingerprint(packed, colours)

  rows = rng.integers(0, 2, (200, 256)).astype(bool)
  seen = Seen(3)
  for k, row in enumerate(rows):  # More than there is room for at first.
    seen.add(str(k), one(row))
  for flips, expected in ((0, 0), (2, 2), (3, 3), (4, None)):
    row = rows[150].copy()
    row[:flips] ^= True
    found = seen.find(one(row))
    assert found == (None if expected is None else ("150", expected))
  assert Seen(-1).find(one(rows[0])) is None


def test_fingerprints_travel_as_text(portraits: list[Image.Image]) -> None:
  one = look(portraits[0])
  again = duplicates.Fingerprint.from_dict(one.to_dict())
  np.testing.assert_array_equal(one.signs, again.signs)
  np.testing.assert_array_equal(one.colours, again.colours)
  with pytest.raises((ValueError, KeyError)):
    duplicates.Fingerprint.from_dict({"signs": "00"})


def test_real_photos_are_all_different(shared_data: pathlib.Path) -> None:
  paths = sorted((shared_data / "photos").rglob("*.jpg"))[::8]
  seen = Seen(duplicates.LIMIT)
  for path in paths:
    with Image.open(path) as picture:
      picture.draft("RGB", (128, 128))
      one = look(picture.convert("RGB"))
    assert seen.find(one) is None, path.name
    seen.add(path.name, one)
  assert len(paths) > 40
