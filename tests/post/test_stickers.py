"""Stickers on faces: anchors, layers, bounds, turns, alpha."""

import functools

import numpy as np
import pytest
from skimage import data

from chibijax.artist import Drawing, draw_chibi, draw_portrait
from chibijax.artist.attributes import Attributes
from chibijax.artist.stickers import STICKERS
from chibijax.errors import UserError
from chibijax.post import placement, stickers

SIZE = 192
POSES = ((0, 0), (20, 0), (-20, 0), (0, 10), (15, -10))


@functools.cache
def drawn(kind: str, yaw: int = 0, roll: int = 0) -> Drawing:
  look = Attributes(
    hair_style="bob",
    fringe="straight",
    yaw=float(yaw),
    roll=float(roll),
    skin_tone=6,
  )
  if kind == "chibi":
    return draw_chibi(look, SIZE)
  return draw_portrait(look, SIZE, seed=3)


def picture(drawing: Drawing) -> np.ndarray:
  return drawing.rgb().astype(np.float32) / 255


def put(drawing: Drawing, names: str | list[str], **others) -> np.ndarray:
  masks = others.pop("masks", drawing.masks)
  return stickers.apply(
    picture(drawing), names, landmarks=drawing.landmarks, masks=masks, **others
  )


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
  return np.abs(before - after).max(-1) > 1e-6


@pytest.mark.parametrize("name", STICKERS)
def test_range_shape_and_place(name: str) -> None:
  for kind in ("chibi", "portrait"):
    drawing = drawn(kind)
    before = picture(drawing)
    kept = before.copy()
    after = stickers.apply(before, name, landmarks=drawing.landmarks)
    np.testing.assert_array_equal(before, kept)
    assert after.shape == before.shape and after.dtype == np.float32
    assert after.min() >= 0 and after.max() <= 1
    where = changed(before, after)
    assert where.any()
    rows, columns = np.nonzero(where)
    head = placement.measure(drawing.landmarks, None, (SIZE, SIZE))
    middle = head.pixels(np.array([[head.middle, -0.5 * head.crown]]))[0]
    reach = np.hypot(columns + 0.5 - middle[0], rows + 0.5 - middle[1])
    assert reach.max() < 1.6 * head.width
    (placed,) = stickers.place(name, (SIZE, SIZE), landmarks=drawing.landmarks)
    left, top, right, bottom = placed.box
    assert columns.min() >= left - 1 and columns.max() <= right
    assert rows.min() >= top - 1 and rows.max() <= bottom
    assert 0.3 < placed.seen <= 1


@pytest.mark.parametrize("pose", POSES)
def test_anchors_land_on_the_face(pose: tuple[int, int]) -> None:
  """Within two pixels of their places, as far as all of it fits."""
  for kind in ("chibi", "portrait"):
    drawing = drawn(kind, *pose)
    # Far from every border, so that nothing has to be moved.
    points = drawing.landmarks + 2 * SIZE
    shape = (5 * SIZE, 5 * SIZE)
    head = placement.measure(points, None, shape)
    for name in STICKERS:
      for seed in (0, 1):
        (found,) = stickers.place(name, shape, landmarks=points, seed=seed)
        anchors = np.c_[
          found.sticker.anchors, np.ones(len(found.sticker.anchors))
        ]
        moved = anchors @ found.transform.T
        wanted = placement.targets(
          found.sticker.kind, points.astype(np.float64), head
        )
        # Four points of a jaw over-determine a map; a hat's height is bounded.
        loose = {"jaw": 0.1 * head.width, "head_top": 0.12 * head.width}
        limit = max(loose.get(found.sticker.kind, 0.0), 2.0)
        assert np.hypot(*(moved - wanted).T).max() < limit, name
        assert found.scale == 1 and found.seen == 1
        # Nothing is turned over.
        assert np.linalg.det(found.transform[:, :2]) > 0


def test_glasses_are_on_the_eyes() -> None:
  for kind in ("chibi", "portrait"):
    drawing = drawn(kind)
    after = put(drawing, "sunglasses", masks=None)
    for eye in (slice(36, 42), slice(42, 48)):
      x, y = drawing.landmarks[eye].mean(0).astype(int)
      assert after[y - 2 : y + 3, x - 2 : x + 3].mean() < 0.6


def test_a_quarter_turn_turns_everything() -> None:
  drawing = drawn("portrait")
  before = picture(drawing)
  turned = np.rot90(before, axes=(0, 1)).copy()
  x, y = drawing.landmarks.T
  points = np.stack([y, SIZE - x], -1)
  names = ["round_glasses", "moustache", "blush", "cat_ears"]
  masks = {k: np.rot90(v).copy() for k, v in drawing.masks.items()}
  # Half of the room above is enough for ears, whichever side is up.
  straight = put(drawing, names)
  other = stickers.apply(turned, names, landmarks=points, masks=masks)
  error = np.abs(np.rot90(straight) - other)
  assert error.mean() < 2e-3
  assert changed(before, straight).mean() > 0.03


def test_a_small_turn_turns_the_map() -> None:
  points = drawn("portrait").landmarks.astype(np.float64) + 2 * SIZE
  shape = (5 * SIZE, 5 * SIZE)
  angle, scale = np.radians(17), 0.8
  turn = scale * np.array(
    [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
  )
  middle = np.array([2.5 * SIZE, 2.5 * SIZE])
  moved = ((points - middle) @ turn.T + middle).astype(np.float32)
  names = [n for n in STICKERS if n != "speech_bubble"]
  for one, two in zip(
    stickers.place(names, shape, landmarks=points.astype(np.float32)),
    stickers.place(names, shape, landmarks=moved),
    strict=True,
  ):
    corners = np.array([[0, 0], [1, 0], [0, 1]])
    places = []
    for found in (one, two):
      size = np.array(found.sticker.image.shape[1::-1])
      ends = np.c_[corners * size, np.ones(3)]
      places.append(ends @ found.transform.T)
    expected = (places[0] - middle) @ turn.T + middle
    # Different sizes of drawing are cropped to whole pixels.
    assert np.abs(places[1] - expected).max() < 3, one.name


@pytest.mark.parametrize("kind", ["chibi", "portrait"])
def test_hair_covers_what_is_under_it(kind: str) -> None:
  drawing = drawn(kind, 15, -10)
  hair = drawing.masks["hair"]
  before = picture(drawing)
  for name in ("star_glasses", "sunglasses", "blush", "medical_mask"):
    after = put(drawing, name)
    np.testing.assert_array_equal(after[hair], before[hair])
    assert changed(before, after).any()
    without = put(drawing, name, masks=None)
    assert changed(before, without)[hair].any()
  # A cap, on the other hand, covers hair.
  assert changed(before, put(drawing, "cap"))[hair].any()


def test_the_person_covers_what_is_behind() -> None:
  drawing = drawn("chibi")
  before = picture(drawing)
  person = np.zeros((SIZE, SIZE), bool)
  for mask in drawing.masks.values():
    person |= mask
  for masks in (drawing.masks, {"background": ~person}):
    for name in ("bunny_ears", "hearts", "bear_ears"):
      after = put(drawing, name, masks=masks)
      np.testing.assert_array_equal(after[person], before[person])
      assert changed(before, after).any()


def test_hats_sit_on_big_hair() -> None:
  drawing = drawn("portrait")
  head = placement.measure(drawing.landmarks, None, (SIZE, SIZE))
  masks = {k: v.copy() for k, v in drawing.masks.items()}
  x, y = head.pixels(np.array([[head.middle, -head.crown]]))[0].astype(int)
  rise = round(0.2 * head.crown)
  masks["hair"][y - rise : y + 20, x - 60 : x + 60] = True
  tall = placement.measure(drawing.landmarks, masks, (SIZE, SIZE))
  assert tall.crown == pytest.approx(head.crown + rise, abs=3)
  assert tall.half > head.half


def test_what_does_not_fit_is_reported() -> None:
  drawing = drawn("portrait")
  eyes = drawing.landmarks[36:48, 1].mean()
  top = int(eyes - 0.75 * np.ptp(drawing.landmarks[:17, 0]))
  crop = picture(drawing)[top:]
  points = drawing.landmarks - np.array([0, top], np.float32)
  (found,) = stickers.place("wizard_hat", crop.shape[:2], landmarks=points)
  assert found.scale == pytest.approx(0.7) and found.seen < 0.9
  after = stickers.apply(crop, "wizard_hat", landmarks=points)
  assert after.shape == crop.shape and changed(crop, after)[0].any()
  for shift in (-40, 40):
    moved = points + np.array([shift, 0], np.float32)
    (bubble,) = stickers.place(
      "speech_bubble", crop.shape[:2], landmarks=moved, text="Hello"
    )
    assert bubble.seen == pytest.approx(1)
    middle = (bubble.box[0] + bubble.box[2]) / 2
    # On the side where there is more room.
    assert (middle > SIZE / 2) == (shift < 0)


def test_seed_chooses_the_side() -> None:
  drawing = drawn("portrait")
  before = picture(drawing)
  middle = drawing.landmarks[27, 0]
  for seed, right in ((0, True), (1, False)):
    where = changed(before, put(drawing, "tear", seed=seed))
    assert (np.nonzero(where)[1].mean() > middle) == right


def test_alpha() -> None:
  drawing = drawn("chibi")
  image = np.concatenate(
    [picture(drawing), np.zeros((SIZE, SIZE, 1), np.float32)], -1
  )
  image[SIZE // 2 :, :, 3] = 0.5
  after = stickers.apply(image, ["cap", "bow"], landmarks=drawing.landmarks)
  opaque = stickers.apply(
    np.ascontiguousarray(image[..., :3]),
    ["cap", "bow"],
    landmarks=drawing.landmarks,
  )
  touched = changed(image, after)
  np.testing.assert_array_equal(after[~touched], image[~touched])
  assert (after[..., 3] >= image[..., 3] - 1e-6).all()
  assert after[..., 3].max() == 1
  solid = after[..., 3] == 1
  np.testing.assert_allclose(after[solid][:, :3], opaque[solid], atol=0.02)


def test_several_are_put_in_order() -> None:
  drawing = drawn("chibi")
  both = put(drawing, ["cap", "horns"])
  one = put(drawing, "cap")
  again = stickers.apply(
    one, "horns", landmarks=drawing.landmarks, masks=drawing.masks
  )
  np.testing.assert_array_equal(both, again)
  np.testing.assert_array_equal(put(drawing, []), picture(drawing))


def test_mistakes() -> None:
  drawing = drawn("chibi")
  image = picture(drawing)
  with pytest.raises(ValueError, match="landmarks"):
    stickers.apply(image, "cap", landmarks=None)
  with pytest.raises(UserError, match="graduation_cap"):
    put(drawing, "capp")
  with pytest.raises(ValueError, match="8 pixels"):
    stickers.apply(image, "cap", landmarks=drawing.landmarks / 100)
  with pytest.raises(ValueError, match="mask 'hair'"):
    put(drawing, "cap", masks={"hair": np.zeros((4, 4), bool)})
  with pytest.raises(ValueError, match="channels"):
    stickers.apply(image[..., :2], "cap", landmarks=drawing.landmarks)


def test_on_a_photo() -> None:
  image = data.astronaut()[:256, 96:352].astype(np.float32) / 255
  points = drawn("portrait").landmarks
  # A similarity is enough: the eyes of the astronaut are at these places.
  eyes = np.stack([points[36:42].mean(0), points[42:48].mean(0)])
  goal = np.array([[108.0, 101.5], [151.0, 103.0]])
  ours, theirs = eyes[1] - eyes[0], goal[1] - goal[0]
  factor = complex(*theirs) / complex(*ours)
  turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
  moved = ((points - eyes.mean(0)) @ turn.T + goal.mean(0)).astype(np.float32)
  after = stickers.apply(image, ["sunglasses", "crown"], landmarks=moved)
  assert after.shape == image.shape and after.max() <= 1
  lens = np.s_[94:112, 98:120]
  assert after[lens].mean() < 0.8 * image[lens].mean()
