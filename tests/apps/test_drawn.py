"""Drawing a measured person: every word, every extreme, colours, overrides."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from skimage import color

from chibijax.apps import drawn, likeness
from chibijax.artist import Attributes, Colors, palette
from chibijax.artist.attributes import RANGES, VALUES
from chibijax.errors import UserError
from chibijax.faces import person as vocabulary
from chibijax.faces.person import Person

SOMEONE = Person(
  skin="#d8a47c",
  hair="#3b2a20",
  brows="#33241c",
  clothes="#2f4a7a",
  background="#8fa7b8",
)
NUMBERS = (
  "hair_volume",
  "hair_texture",
  "fringe",
  "parting",
  "face_width",
  "eye_size",
  "nose_size",
  "mouth_width",
  "brow_height",
)
LEVELS = (0.0, 0.2, 0.4, 0.8)


def _person(**changes) -> Person:
  return dataclasses.replace(SOMEONE, **changes)


def _delta(first: str | np.ndarray, second: str) -> float:
  """CIEDE2000 between two colours."""
  labs = [
    color.rgb2lab(
      np.array(palette.rgb(c) if isinstance(c, str) else c)[None, None] / 255
    )[0, 0]
    for c in (first, second)
  ]
  return float(color.deltaE_ciede2000(*labs))


def test_every_word_has_its_attributes() -> None:
  """All products of words, and of what decides the cut of the hair."""
  words = itertools.product(
    vocabulary.HAIR_LENGTHS,
    vocabulary.GLASSES,
    vocabulary.BEARDS,
    vocabulary.MOUTHS,
    vocabulary.HEADWEAR,
  )
  for length, glasses, beard, mouth, headwear in words:
    a, _ = drawn.attributes(
      _person(
        hair_length=length,
        glasses=glasses,
        beard=beard,
        mouth=mouth,
        headwear=headwear,
        hair=None if length == "bald" else SOMEONE.hair,
      )
    )
    assert (a.hair_style == "bald") == (length == "bald")
    assert (a.glasses == "none") == (glasses == "none")
    assert (a.glasses == "sunglasses") == (glasses == "sunglasses")
    assert (a.facial_hair, a.expression) == (beard, mouth)
    assert (a.headwear == "none") == (headwear == "none")
    assert a.presentation == "androgynous"
    assert a.age == "adult"


def test_hair_follows_what_was_measured() -> None:
  found: dict[str, set[str]] = {}
  fringes = set()
  for length, curl, volume, fringe, parting in itertools.product(
    vocabulary.HAIR_LENGTHS, LEVELS, LEVELS, LEVELS, (-0.6, 0.0, 0.1, 0.6)
  ):
    a, _ = drawn.attributes(
      _person(
        hair_length=length,
        hair_texture=curl,
        hair_volume=volume,
        fringe=fringe,
        parting=parting,
      )
    )
    found.setdefault(length, set()).add(a.hair_style)
    fringes.add(a.fringe)
  assert found["bald"] == {"bald"}
  assert found["long"] == {"long_straight", "long_wavy", "long_curls"}
  assert found["medium"] == {"bob", "wavy_bob", "curly", "afro"}
  assert len(found["short"]) >= 8
  assert not found["short"] & (found["medium"] | found["long"]) - {"afro"}
  assert fringes == set(VALUES["fringe"])


@pytest.mark.parametrize("value", [-9.0, 9.0, math.nan, math.inf])
def test_extremes_are_clipped(value: float) -> None:
  person = _person(
    **dict.fromkeys(NUMBERS, value),
    pose=(value * 20,) * 3,
    gaze=(value, value),
  )
  a, _ = drawn.attributes(person, caricature=1.0)
  for name, (low, high) in RANGES.items():
    assert low <= getattr(a, name) <= high
  assert drawn.draw(person, 32).image.shape == (32, 32, 4)


def test_numbers_reach_the_drawing() -> None:
  base = drawn.draw(SOMEONE, 96, masks=False).image
  for name in ("gaze", "pose"):
    value = (0.7, 0.5) if name == "gaze" else (12.0, 6.0, 7.0)
    moved = drawn.draw(_person(**{name: value}), 96, masks=False).image
    assert (moved != base).any(), name
  for name in NUMBERS:
    changed = drawn.draw(_person(**{name: 0.8}), 96, masks=False).image
    # Without any fringe or curl, texture below a threshold does not matter.
    assert (changed != base).any(), name


def test_same_person_same_picture() -> None:
  first = drawn.draw(SOMEONE, 128, seed=3)
  again = drawn.draw(SOMEONE, 128, seed=3)
  assert first.image.tobytes() == again.image.tobytes()
  np.testing.assert_array_equal(first.landmarks, again.landmarks)
  # Confidence is no look.
  sure = _person(confidence={"glasses": 0.3})
  assert drawn.draw(sure, 128, seed=3).image.tobytes() == first.image.tobytes()
  # Seeds decide between equals only: never what was measured.
  for seed in range(5):
    a, colors = drawn.attributes(SOMEONE, seed=seed)
    assert a.hair_style == first.attributes.hair_style
    assert colors.skin == SOMEONE.skin


SKINS = ("#f6e0d2", "#eac0a0", "#c68e6a", "#8d5a3c", "#5a3a2a", "#33261f")
HAIRS = ("#15110f", "#4a3028", "#8a5530", "#b5502c", "#d8b070", "#e8e4dc")


@pytest.mark.parametrize("skin", SKINS)
def test_colours_are_kept(skin: str) -> None:
  for index, hair in enumerate(HAIRS):
    length = ("short", "medium", "long")[index % 3]
    person = _person(skin=skin, hair=hair, hair_length=length, fringe=0.5)
    _, colors = drawn.attributes(person)
    picture = drawn.draw(person, 192)
    pixels = picture.image[..., :3]
    face = picture.masks["skin"] & picture.masks["head"]
    assert _delta(np.median(pixels[face], 0), skin) <= 3.0
    # Hair is moved away from skin of the same colour, and only then.
    moved = colors.hair != hair
    assert moved == (likeness.distance(hair, skin) < likeness.APART)
    crown = picture.masks["hair"].copy()
    crown[picture.masks["head"].nonzero()[0].max() :] = False
    assert _delta(np.median(pixels[crown], 0), colors.hair) <= 5.0


def test_contrast_is_made_where_it_is_missing() -> None:
  grid = [f"#{r:02x}{r * 7 // 10:02x}{r // 2:02x}" for r in range(0, 256, 15)]
  for skin, hair in itertools.product(grid, grid):
    person = _person(skin=skin, hair=hair, clothes=hair)
    _, colors = drawn.attributes(person)
    for other in (colors.hair, colors.clothes):
      assert likeness.distance(other, colors.skin) >= 0.9 * likeness.APART
    light = palette.oklab(colors.background)[0]
    assert light > 0.74


@pytest.mark.parametrize("missing", ["hair", "clothes"])
def test_what_was_not_seen_is_drawn_all_the_same(missing: str) -> None:
  person = _person(**{missing: None})
  assert drawn.draw(person, 64).image.any()


def test_backgrounds() -> None:
  seen = {
    drawn.draw(SOMEONE, 64, background=kind, masks=False).image.tobytes()
    for kind in VALUES["background"]
  }
  # With soft light, a gradient is the plain one.
  assert len(seen) == len(VALUES["background"]) - 1
  bare = drawn.draw(SOMEONE, 64, background="none", masks=False).image
  assert (bare[:3, :3, 3] == 0).all()


@pytest.mark.parametrize("body", [False, True])
def test_landmarks_and_masks_come_along(body: bool) -> None:
  picture = drawn.draw(SOMEONE, 96, body=body)
  assert picture.landmarks.shape == (68, 2)
  assert set(picture.masks) == {"head", "hair", "skin"}


def test_caricature_exaggerates() -> None:
  person = _person(face_width=0.4, brow_height=-0.3, eye_size=0.2)
  plain, _ = drawn.attributes(person)
  strong, _ = drawn.attributes(person, caricature=1.0)
  for name in ("face_width", "brow_height", "eye_size"):
    assert abs(getattr(strong, name)) > 2 * abs(getattr(plain, name))
  assert strong.nose_size == plain.nose_size == 0


def test_overrides_win() -> None:
  found = drawn.draw(
    SOMEONE,
    64,
    overrides={
      "hair_style": "bob",
      "yaw": "12.5",
      "hair_color": "pink",
      "glasses": "round",
      "background": "hearts",
      "blush": 1,
    },
  ).attributes
  assert found.hair_style == "bob"
  assert found.yaw == 12.5
  assert found.hair_color == "pink"
  assert found.background == "hearts"
  words, colors = drawn.attributes(SOMEONE)
  _, colors = drawn.override(words, colors, {"hair_color": "pink"})
  assert colors.hair is colors.brows is colors.beard is None
  _, colors = drawn.override(
    words,
    colors,
    {"hair_color": "#ff00ff", "skin_tone": "7", "eye_color": "#0f0f0f"},
  )
  assert (colors.hair, colors.skin, colors.eyes) == ("#ff00ff", None, "#0f0f0f")


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    (
      {"hair_style": "beehive"},
      "hair_style is 'beehive', expected one of crop",
    ),
    ({"hair_color": "rainbow"}, "or #rrggbb"),
    ({"yaw": "left"}, "a number from -20 to 20"),
    ({"yaw": 40}, "yaw is 40"),
    ({"skin_tone": 3.5e9}, "from 1 to 10"),
    ({"brow_color": "brown"}, "expected #rrggbb"),
    ({"hat": "cap"}, "no attribute is called 'hat'; there are age"),
  ],
)
def test_wrong_overrides_are_explained(overrides: dict, message: str) -> None:
  with pytest.raises(UserError, match=message):
    drawn.check_overrides(overrides)
  with pytest.raises(UserError):
    drawn.draw(SOMEONE, 64, overrides=overrides)


@pytest.mark.parametrize(
  "options",
  [{"size": 8}, {"caricature": 1.5}, {"background": "sunset"}],
)
def test_wrong_options_are_explained(options: dict) -> None:
  with pytest.raises(UserError):
    drawn.draw(SOMEONE, **options)


def test_defaults_of_the_artist_can_be_overridden_by_nothing() -> None:
  words, colors = drawn.override(Attributes(), Colors(), {})
  assert (words, colors) == (Attributes(), Colors())


def test_a_beard_that_skin_shines_through_is_stubble() -> None:
  for beard_color, expected in (("#b08560", "stubble"), ("#33241c", None)):
    a, colors = drawn.attributes(
      _person(beard="full_beard", beard_color=beard_color)
    )
    assert a.facial_hair == (expected or "full_beard")
    assert likeness.distance(colors.beard, colors.skin) >= likeness.APART
