"""Backgrounds: the person stays, edges are soft and clean, mistakes named."""

import functools

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from chibijax.artist import draw_portrait, palette
from chibijax.artist.attributes import Attributes
from chibijax.artist.patterns import PATTERNS
from chibijax.errors import UserError
from chibijax.post import backgrounds, matting

SIZE = 160
REACH = 4  # pixels around the mask's edge that may change
FILLS = ("color:#3fb3a9", "gradient", "gradient:pink-sky", "pattern:hearts")


@functools.cache
def scene() -> tuple[np.ndarray, np.ndarray]:
  """A portrait on a green wall, its true alpha."""
  look = Attributes(hair_style="curly", background="none", skin_tone=4)
  image = draw_portrait(look, SIZE, seed=1)
  # The portrait fills its picture; a person is cut out of it by its masks.
  person = np.zeros((SIZE, SIZE), bool)
  for mask in image.masks.values():
    person |= mask
  alpha = ndimage.gaussian_filter(person.astype(np.float32), 1.2)
  return image.rgb().astype(np.float32) / 255, alpha


def over(ground: tuple[float, float, float]) -> np.ndarray:
  image, alpha = scene()
  mixed = image * alpha[..., None] + np.float32(ground) * (1 - alpha[..., None])
  return mixed.astype(np.float32)


def masks() -> dict[str, np.ndarray]:
  return {"background": scene()[1] < 0.5}


def away(mask: np.ndarray) -> np.ndarray:
  """Pixels whose square of REACH around them lies in the mask."""
  return ndimage.minimum_filter(mask, 2 * REACH + 1, mode="nearest")


def inside() -> np.ndarray:
  return away(~masks()["background"])


def outside() -> np.ndarray:
  return away(masks()["background"])


GREEN = (0.1, 0.6, 0.2)


@pytest.mark.parametrize("kind", ["keep", "blur", "blur:1", *FILLS])
def test_the_person_is_bit_equal(kind: str) -> None:
  image = over(GREEN)
  kept = image.copy()
  found = backgrounds.replace(image, kind, masks=masks())
  np.testing.assert_array_equal(image, kept)
  assert found.shape == image.shape and found.dtype == np.float32
  assert found.min() >= 0 and found.max() <= 1
  np.testing.assert_array_equal(found[inside()], image[inside()])
  if kind == "keep":
    np.testing.assert_array_equal(found, image)
  elif kind in FILLS:
    assert np.abs(found - image)[outside()].max(-1).min() > 0.02


def test_remove() -> None:
  image = over(GREEN)
  found = backgrounds.replace(image, "remove", masks=masks())
  assert found.shape == (SIZE, SIZE, 4)
  assert (found[outside()][:, 3] == 0).all()
  assert (found[inside()][:, 3] == 1).all()
  np.testing.assert_array_equal(found[inside()][:, :3], image[inside()])
  # Soft at the edge, and nearer to the truth than the mask was.
  alpha = scene()[1]
  edge = ~(inside() | outside())
  mask = (~masks()["background"]).astype(np.float32)
  errors = [np.abs(a - alpha)[edge].mean() for a in (found[..., 3], mask)]
  assert errors[0] < 0.75 * errors[1]
  rgba = np.concatenate([image, np.full((SIZE, SIZE, 1), 0.5, "f")], -1)
  again = backgrounds.replace(rgba, "remove", masks=masks())
  np.testing.assert_allclose(again[..., 3], 0.5 * found[..., 3], atol=1e-6)


def test_no_halo_of_the_old_background() -> None:
  """On a new ground, the edge is as if the old one had been that colour."""
  new = (0.9, 0.75, 0.8)
  hexes = palette.hex_color(*(255 * c for c in new))
  truth = over(new)
  edge = ~(inside() | outside())
  found = backgrounds.replace(over(GREEN), "color", masks=masks(), value=hexes)
  share = (~masks()["background"])[..., None]
  pasted = np.where(share, over(GREEN), np.float32(new))
  errors = [np.abs(image - truth)[edge].mean() for image in (found, pasted)]
  assert errors[0] < 0.6 * errors[1]


def test_blur_does_not_bleed() -> None:
  """A white person on a dark ground brightens no pixel of the ground."""
  person = np.zeros((96, 96), bool)
  person[20:80, 30:66] = True
  rng = np.random.default_rng(0)
  image = rng.uniform(0.0, 0.3, (96, 96, 3)).astype(np.float32)
  image[person] = 1
  found = backgrounds.replace(
    image, "blur", masks={"background": ~person}, value=1.0
  )
  far = ndimage.binary_dilation(person, iterations=4)
  assert found[~far].max() < 0.3
  # And it blurs: texture is gone, the mean of light stays.
  assert found[~far].std() < 0.35 * image[~far].std()
  light = [np.mean(i[~far] ** 2) for i in (found, image)]
  assert light[0] == pytest.approx(light[1], rel=0.1)


def test_blur_grows_with_its_strength() -> None:
  rng = np.random.default_rng(1)
  image = rng.uniform(0, 1, (96, 96, 3)).astype(np.float32)
  background = np.ones((96, 96), bool)
  background[40:50, 40:50] = False
  spread = [
    backgrounds.replace(
      image, "blur", masks={"background": background}, value=v
    )[background].std()
    for v in (0, 0.3, 0.6, 1.0)
  ]
  assert spread == sorted(spread, reverse=True) and spread[-1] < 0.2
  for wrong in ("much", 2, "nan"):
    with pytest.raises(UserError, match="blur"):
      backgrounds.replace(
        image, "blur", masks={"background": background}, value=wrong
      )


def test_alpha_is_filled_or_kept() -> None:
  image = np.concatenate([over(GREEN), np.ones((SIZE, SIZE, 1), "f")], -1)
  image[:, : SIZE // 2, 3] = 0
  blurred = backgrounds.replace(image, "blur", masks=masks())
  np.testing.assert_array_equal(blurred[..., 3], image[..., 3])
  filled = backgrounds.replace(image, "color:#ff0000", masks=masks())
  assert (filled[..., 3] == 1).all()
  np.testing.assert_array_equal(
    filled[:, : SIZE // 2, :3],
    np.broadcast_to(np.float32([1, 0, 0]), (SIZE, SIZE // 2, 3)),
  )


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(pattern: str) -> None:
  image = over(GREEN)[:120]
  mask = {"background": masks()["background"][:120]}
  found = backgrounds.replace(
    image, "pattern", masks=mask, value=f"{pattern}:lavender"
  )
  assert found.shape == image.shape
  lavender = np.array(palette.rgb(palette.BACKGROUND["lavender"])) / 255
  same = np.abs(found - lavender.astype(np.float32)).max(-1) < 1e-3
  assert 0.1 < same[outside()[:120]].mean() < 0.95


def test_seed_chooses_the_color() -> None:
  found = [
    backgrounds.replace(over(GREEN), "color", masks=masks(), seed=s)[0, 0]
    for s in range(6)
  ]
  assert len({tuple(c.tolist()) for c in found}) > 2
  again = backgrounds.replace(over(GREEN), "color", masks=masks(), seed=0)
  np.testing.assert_array_equal(found[0], again[0, 0])


@pytest.mark.parametrize("full", [True, False])
def test_only_person_or_only_background(full: bool) -> None:
  image = over(GREEN)
  mask = {"background": np.full((SIZE, SIZE), not full)}
  found = backgrounds.replace(image, "remove", masks=mask)
  assert (found[..., 3] == float(full)).all()
  assert np.isfinite(backgrounds.replace(image, "blur", masks=mask)).all()


def test_odd_sizes_and_tiny_pictures() -> None:
  rng = np.random.default_rng(2)
  for shape in ((16, 16), (37, 53), (521, 300)):
    image = rng.uniform(0, 1, (*shape, 3)).astype(np.float32)
    background = np.ones(shape, bool)
    background[shape[0] // 4 :, shape[1] // 4 : -shape[1] // 4] = False
    for kind in ("blur", "remove", "pattern:dots"):
      found = backgrounds.replace(image, kind, masks={"background": background})
      assert found.shape[:2] == shape
      assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_a_photo_keeps_its_colors_at_the_edge() -> None:
  image = data.astronaut()[:256, 96:352].astype(np.float32) / 255
  y, x = np.mgrid[:256, :256]
  person = np.hypot((x - 130) / 60, (y - 90) / 85) < 1
  matte = matting.separate(image, person)
  assert len(matte.rows) and matte.person.min() >= 0 <= matte.scene.min()
  share = matte.alpha[matte.rows, matte.columns][:, None]
  again = matte.person * share + matte.scene * (1 - share)
  error = np.abs(again - image[matte.rows, matte.columns])
  assert error.mean() < 0.05


def test_mistakes() -> None:
  image = over(GREEN)
  with pytest.raises(ValueError, match="background"):
    backgrounds.replace(image, "blur", masks=None)
  with pytest.raises(ValueError, match="background"):
    backgrounds.replace(image, "blur", masks={"hair": masks()["background"]})
  with pytest.raises(ValueError, match="like the image"):
    backgrounds.replace(
      image, "blur", masks={"background": np.ones((4, 4), bool)}
    )
  for kind, words in (
    ("beach", "gradient"),
    ("color:ink", "colour"),
    ("color:pink-sky", "one colour"),
    ("pattern:plaid", "sunburst"),
    ("gradient:pink-ink", "colour"),
  ):
    with pytest.raises(UserError, match=words):
      backgrounds.replace(image, kind, masks=masks())
