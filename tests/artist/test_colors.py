"""Exact colours, soft shading, gaze and parting of the chibi."""

import dataclasses
import hashlib

import numpy as np
import pytest
from skimage import color

from chibijax.artist import Attributes, Colors, draw_chibi, sample_attributes
from chibijax.artist.attributes import MEASURED
from chibijax.artist.chibi import compose
from chibijax.artist.palette import rgb

PLAIN = Attributes(hair_style="crop", fringe="straight", blush=0.0)
# SHA-256 of the scenes as they were before there were exact colours: what a
# network was trained on must not change.
SCENES = (
  "16ca0600236b7059",
  "9b8c02ceaed2fb96",
  "45e0b5cf8b231f4c",
  "8f0b1c208c17d4e7",
  "239a6c513cfee991",
  "a743c923fa8becb1",
  "448a112c32e3db41",
  "c677901dcc0f9496",
)


@pytest.mark.parametrize("index", range(len(SCENES)))
def test_sampled_characters_stay_the_same(index: int) -> None:
  attributes = sample_attributes(np.random.default_rng([11, index]))
  scene, _, _ = compose(attributes, body=index % 2 == 1)
  digest = hashlib.sha256(scene.svg().encode()).hexdigest()
  assert digest.startswith(SCENES[index])


def test_no_colours_are_the_palette() -> None:
  bare = draw_chibi(PLAIN, 96, masks=False).image
  for colors in (Colors(), Colors().resolve(PLAIN)):
    again = draw_chibi(PLAIN, 96, masks=False, colors=colors).image
    np.testing.assert_array_equal(bare, again)


@pytest.mark.parametrize(
  "field", [field.name for field in dataclasses.fields(Colors)]
)
def test_every_colour_is_seen(field: str) -> None:
  attributes = dataclasses.replace(
    PLAIN, headwear="headband", clothes="overalls", facial_hair="goatee"
  )
  wanted = "#20a0c0"
  exact = Colors(**{field: wanted})
  found = draw_chibi(attributes, 160, colors=exact, masks=False).image
  plain = draw_chibi(attributes, 160, masks=False).image
  assert (found != plain).any()
  near = np.abs(found[..., :3].astype(int) - rgb(wanted)).sum(-1) < 90
  assert near.sum() > 10


def test_colours_must_be_hex() -> None:
  for bad in ("red", "#12345", "#12345g"):
    with pytest.raises(ValueError, match="colour of hair must look like"):
      Colors(hair=bad)


@pytest.mark.parametrize("body", [False, True])
def test_soft_drawing_keeps_landmarks_and_masks(body: bool) -> None:
  flat = draw_chibi(PLAIN, 128, body=body)
  soft = draw_chibi(PLAIN, 128, body=body, soft=True)
  assert (flat.image != soft.image).any()
  np.testing.assert_array_equal(flat.landmarks, soft.landmarks)
  for name, mask in flat.masks.items():
    np.testing.assert_array_equal(mask, soft.masks[name])
  again = draw_chibi(PLAIN, 128, body=body, soft=True)
  assert again.image.tobytes() == soft.image.tobytes()


def test_soft_sticker_has_a_white_rim() -> None:
  attributes = dataclasses.replace(PLAIN, background="none", hair_color="black")
  image = draw_chibi(attributes, 200, soft=True, masks=False).image
  assert (image[:8, :8, 3] == 0).all()
  # Down the middle: nothing, then white, then hair.
  rows = np.flatnonzero(image[:, 100, 3] > 250)
  assert (image[rows[0] + 2, 100, :3] > 250).all()
  assert (image[rows[0] + 20, 100, :3] < 120).all()


@pytest.mark.parametrize("kind", ["plain", "gradient", "dots", "stripes"])
def test_soft_background_fills_the_picture(kind: str) -> None:
  attributes = dataclasses.replace(PLAIN, background=kind)
  image = draw_chibi(attributes, 64, soft=True, masks=False).image
  assert (image[..., 3] == 255).all()


def _irises(**changes: float) -> np.ndarray:
  """Mean position of the green pixels in both eyes, in pixels."""
  attributes = dataclasses.replace(PLAIN, background="none", **changes)
  colors = Colors(eyes="#10c010")
  drawn = draw_chibi(attributes, 256, masks=False, colors=colors)
  red, green, blue = np.moveaxis(drawn.image[..., :3].astype(int), -1, 0)
  y, x = np.nonzero(green > 30 + np.maximum(red, blue))
  sides = (x < 128, x >= 128)
  return np.array([[x[side].mean(), y[side].mean()] for side in sides])


def test_eyes_look_where_they_are_told() -> None:
  ahead = _irises()
  for sign in (-1.0, 1.0):
    aside = _irises(gaze_x=sign) - ahead
    assert (sign * aside[:, 0] > 2).all()
  down = _irises(gaze_y=1.0) - _irises(gaze_y=-1.0)
  assert (down[:, 1] > 2).all()


@pytest.mark.parametrize("style", ["crop", "side_part", "bob", "undercut"])
def test_a_parting_on_the_left_mirrors_the_fringe(style: str) -> None:
  def hair(parting: float) -> np.ndarray:
    attributes = dataclasses.replace(
      PLAIN, hair_style=style, fringe="side_swept", parting=parting
    )
    return draw_chibi(attributes, 128).masks["hair"]

  right, left = hair(0.6), hair(-0.6)
  # A cowlick stays where it is.
  assert (right != left[:, ::-1]).mean() < 0.006
  assert (right != left).mean() > 0.01


def test_volume_makes_hair_larger() -> None:
  for style in ("crop", "bob", "afro", "short_curls", "long_curls"):
    areas = [
      draw_chibi(
        dataclasses.replace(PLAIN, hair_style=style, hair_volume=volume), 96
      )
      .masks["hair"]
      .sum()
      for volume in (-1.0, 0.0, 1.0)
    ]
    assert areas[0] < areas[1] < areas[2], style


def test_measured_words_are_never_sampled() -> None:
  for index in range(200):
    sampled = sample_attributes(np.random.default_rng([2, index]))
    for field, words in MEASURED.items():
      assert getattr(sampled, field) not in words
    assert sampled.gaze_x == sampled.gaze_y == sampled.parting == 0
    assert sampled.hair_volume == 0


@pytest.mark.parametrize("skin", ["#f4dfd0", "#c68e6a", "#5a3a2a", "#2b211d"])
def test_outlines_stand_out_from_any_skin(skin: str) -> None:
  """The line around the face differs from the skin inside it."""
  drawn = draw_chibi(PLAIN, 512, colors=Colors(skin=skin), soft=True)
  x, y = drawn.landmarks[4].astype(int)
  lab = color.rgb2lab(drawn.image[..., :3] / 255.0)
  line = lab[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
  flat = color.rgb2lab(np.array(rgb(skin))[None, None] / 255.0)[0, 0]
  assert color.deltaE_ciede2000(line, flat[None]).max() > 8
