"""Measuring people: the artist's portraits tell the truth, photos what counts.

The artist's attributes are known exactly, so agreement thresholds stand a
little below what was measured over 200 portraits (benchmarks/attributes.py).
"""

import dataclasses
import json
import math

import jaxtyping
import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab

from chibijax.artist import Attributes, draw_portrait, sample_attributes
from chibijax.artist.palette import rgb
from chibijax.faces import align
from chibijax.faces.face import Face
from chibijax.faces.measure import measure
from chibijax.faces.measure_frame import hex_of, oklab
from chibijax.faces.measure_shape import proportions, ratios

SIZE = 192
# The astronaut's eyes, nose and corners of the mouth, pixels.
ASTRONAUT = [[202, 108], [244, 106], [225, 132], [207, 150], [241, 149]]


def make_face(points: np.ndarray) -> Face:
  """A face that a detector found there."""
  points = np.asarray(points, np.float32)
  transform = align.find_transform(points)
  return dataclasses.replace(
    Face.none(),
    status="ok",
    box=np.concatenate([points.min(0), points.max(0)]),
    points=points,
    transform=transform,
    inverse=align.invert(transform),
  )


def person_of(drawing, **known):
  """What `measure` says of a portrait, given its five exact points."""
  face = make_face(align.five_points(drawing.landmarks))
  return measure(drawing.rgb(), face, **known)


@pytest.fixture(scope="module")
def portraits():
  """24 sampled portraits."""
  drawn = []
  for index in range(24):
    attributes = sample_attributes(np.random.default_rng([7, index]))
    drawn.append(draw_portrait(attributes, SIZE, seed=index))
  return drawn


@pytest.fixture(scope="module")
def people(portraits):
  """What is said of them from five points alone."""
  return [person_of(drawing) for drawing in portraits]


def share(pairs) -> float:
  """The share of pairs whose halves are equal."""
  return float(np.mean([a == b for a, b in pairs]))


def test_glasses_and_beards_of_portraits(portraits, people):
  given = [drawing.attributes for drawing in portraits]
  worn = [
    (a.glasses != "none", p.glasses != "none")
    for a, p in zip(given, people, strict=True)
  ]
  grown = [
    (a.facial_hair != "none", p.beard != "none")
    for a, p in zip(given, people, strict=True)
  ]
  assert share(worn) >= 0.8
  assert share(grown) >= 0.8
  # Not by saying "none" of everybody.
  assert sum(a and b for a, b in worn) >= 0.4 * sum(a for a, _ in worn)


@pytest.mark.parametrize("tone", [2, 5])
def test_full_beards_are_told_from_shaved_faces(tone):
  said = {
    word: person_of(
      draw_portrait(Attributes(facial_hair=word, skin_tone=tone), 320, seed=4)
    )
    for word in ("none", "full_beard")
  }
  assert said["none"].beard == "none" and said["none"].beard_color is None
  assert said["full_beard"].beard != "none"
  assert said["full_beard"].beard_color is not None


def test_hair_length_of_portraits(portraits, people):
  words = {
    "crop": "short",
    "side_part": "short",
    "pixie": "short",
    "buzz": "short",
  }
  words |= {"long_straight": "long", "long_wavy": "long", "twin_tails": "long"}
  pairs = [
    (words[d.attributes.hair_style], p.hair_length)
    for d, p in zip(portraits, people, strict=True)
    if d.attributes.hair_style in words
    and d.attributes.headwear not in ("hijab", "turban")
  ]
  assert {a for a, _ in pairs} == {"short", "long"}
  assert share(pairs) >= 0.75
  assert share([(a == "short", b == "short") for a, b in pairs]) >= 0.85


def test_covered_heads_have_no_hair_colour():
  for color in ("sky", "green", "red"):
    drawing = draw_portrait(
      Attributes(headwear="hijab", headwear_color=color), SIZE, seed=3
    )
    person = person_of(drawing)
    assert person.headwear == "scarf"
    assert person.hair is None and person.headwear_color is not None


def test_smiles_are_told_from_landmarks():
  for word, happy in (("laugh", True), ("grin", True), ("sad", False)):
    drawing = draw_portrait(Attributes(expression=word), SIZE, seed=1)
    said = person_of(drawing, landmarks=drawing.landmarks).mouth
    assert (said in ("smile", "grin")) == happy


def test_masks_find_more_bald_heads_and_long_hair():
  for style, word in (
    ("bald", "bald"),
    ("long_straight", "long"),
    ("crop", "short"),
  ):
    drawing = draw_portrait(Attributes(hair_style=style), SIZE, seed=5)
    masks = {name: drawing.masks[name] for name in ("hair", "skin")}
    person = person_of(drawing, landmarks=drawing.landmarks, masks=masks)
    assert person.hair_length == word
    assert (person.hair is None) == (word == "bald")


def test_colours_are_close_to_the_picture(portraits, people):
  errors = {"skin": [], "hair": []}
  for drawing, person in zip(portraits, people, strict=True):
    for name in errors:
      where = drawing.masks[name].copy()
      if name == "skin":
        where &= drawing.masks["head"]
      said = getattr(person, name)
      if said is not None and where.sum() > 300:
        real = np.median(drawing.rgb()[where], 0)
        errors[name].append(
          deltaE_ciede2000(
            rgb2lab(real / 255), rgb2lab(np.array(rgb(said)) / 255)
          )
        )
  # Skin is that of the lit side, the median that of the whole face.
  assert np.median(errors["skin"]) < 7
  assert np.median(errors["hair"]) < 6


def test_size_of_the_photo_does_not_matter():
  attributes = Attributes(
    hair_style="bob", glasses="square", expression="smile"
  )
  small = draw_portrait(attributes, 256, seed=2)
  picture = Image.fromarray(small.rgb()).resize(
    (768, 768), Image.Resampling.BICUBIC
  )
  points = align.five_points(small.landmarks)
  first = measure(small.rgb(), make_face(points))
  second = measure(np.asarray(picture), make_face(points * 3))
  for name in ("hair_length", "glasses", "beard", "headwear"):
    assert getattr(first, name) == getattr(second, name)
  for name in ("skin", "hair", "background"):
    colors = [np.array(rgb(getattr(p, name))) / 255 for p in (first, second)]
    assert deltaE_ciede2000(*map(rgb2lab, colors)) < 3


def test_same_input_gives_the_same_person():
  drawing = draw_portrait(Attributes(), 128, seed=1)
  assert person_of(drawing) == person_of(drawing)


def test_astronaut():
  photo = data.astronaut()
  person = measure(photo, make_face(ASTRONAUT))
  assert person.glasses == "none" and person.beard == "none"
  assert person.hair_length in ("short", "medium") and person.headwear == "none"
  red, green, blue = rgb(person.skin)
  assert red > green > blue and red > 150
  hair = np.array(rgb(person.hair), float)
  assert hair.max() < 140


def test_any_picture_gives_valid_words():
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
  pictures = [noise, np.full((90, 90, 3), 127, np.uint8)]
  pictures += [
    np.zeros((64, 64, 3), np.uint8),
    np.full((40, 70, 3), 255, np.uint8),
  ]
  places = [
    [[30, 30], [60, 30], [45, 45], [33, 60], [57, 60]],
    # Partly and wholly outside, tiny, and all in one point.
    [[-20, -10], [10, -10], [-5, 10], [-17, 25], [7, 25]],
    [[900, 900], [930, 900], [915, 920], [903, 935], [927, 935]],
    [[20, 20], [21, 20], [20.5, 20.6], [20, 21], [21, 21]],
  ]
  for picture in pictures:
    for points in places:
      person = measure(picture, make_face(np.array(points)))
      numbers = [*person.gaze, person.fringe, person.hair_volume]
      numbers += [
        person.hair_texture,
        person.parting,
        *person.confidence.values(),
      ]
      assert all(math.isfinite(n) and -1 <= n <= 1 for n in numbers)
      json.dumps(person.to_dict())


def test_haar_faces_have_only_a_box():
  drawing = draw_portrait(Attributes(), SIZE, seed=1)
  face = dataclasses.replace(
    make_face(align.five_points(drawing.landmarks)),
    points=None,
    box=np.array([52, 67, 140, 155], np.float32),
  )
  assert measure(drawing.rgb(), face).headwear == "none"


def test_what_cannot_be_measured_is_refused():
  photo = np.zeros((64, 64, 3), np.uint8)
  with pytest.raises(ValueError, match="without a face"):
    measure(photo, Face.none())
  face = make_face(np.array(ASTRONAUT) / 4)
  # A mask of another size: the shape checks of the tests see it first.
  with pytest.raises((ValueError, jaxtyping.TypeCheckError), match="hair"):
    measure(photo, face, masks={"hair": np.zeros((3, 3), bool)})


def test_oklab_round_trip():
  colors = np.array([[0, 0, 0], [255, 255, 255], [200, 80, 40], [10, 90, 250]])
  for color in colors.astype(np.uint8):
    assert rgb(hex_of(oklab(color))) == tuple(color.tolist())


def test_proportions_follow_the_attributes():
  for name in ("face_width", "eye_size", "brow_height", "mouth_width"):
    low, high = (
      proportions(
        draw_portrait(
          Attributes(**{name: v}), 64, seed=0, masks=False
        ).landmarks
      )[name]
      for v in (-1.0, 1.0)
    )
    assert -1 <= low < high - 0.2 <= 0.8


def test_ratios_do_not_see_the_head_tilt():
  points = draw_portrait(Attributes(), 128, seed=0, masks=False).landmarks
  turn = np.array([[0.8, 0.6], [-0.6, 0.8]], np.float32)
  straight, tilted = ratios(points), ratios(2 * points @ turn + 5)
  for name, value in straight.items():
    np.testing.assert_allclose(tilted[name], value, atol=1e-5)
