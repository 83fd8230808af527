"""The portrait: determinism, landmarks, masks, colours, every attribute."""

import dataclasses

import numpy as np
import pytest

from chibijax.artist import Attributes, sample_attributes
from chibijax.artist.attributes import RANGES, VALUES
from chibijax.artist.portrait import draw_portrait

PLAIN = Attributes(hair_style="bald", skin_tone=4, blush=0.0)


def _sample(index: int) -> Attributes:
  return sample_attributes(np.random.default_rng([3, index]))


def _inside(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
  at = np.clip(points.astype(int), 0, len(mask) - 1)
  return mask[at[:, 1], at[:, 0]]


@pytest.mark.parametrize("size", [16, 64, 65, 128, 200])
def test_shapes_and_types(size):
  drawing = draw_portrait(_sample(0), size, seed=0)
  assert drawing.image.shape == (size, size, 4)
  assert drawing.image.dtype == np.uint8
  assert (drawing.image[..., 3] == 255).all()
  assert drawing.landmarks.shape == (68, 2)
  assert drawing.landmarks.dtype == np.float32
  assert set(drawing.masks) == {"person", "head", "hair", "skin"}
  for mask in drawing.masks.values():
    assert mask.shape == (size, size) and mask.dtype == bool
  parts = drawing.masks["hair"] | drawing.masks["skin"]
  assert (drawing.masks["person"] >= parts).mean() > 0.999


@pytest.mark.parametrize("index", range(4))
def test_same_arguments_give_the_same_picture(index):
  first = draw_portrait(_sample(index), 64, seed=5)
  draw_portrait(_sample(index + 1), 64, seed=6)
  again = draw_portrait(_sample(index), 64, seed=5)
  np.testing.assert_array_equal(first.image, again.image)
  for name, mask in first.masks.items():
    np.testing.assert_array_equal(mask, again.masks[name])


def test_masks_do_not_change_the_picture():
  with_masks = draw_portrait(_sample(1), 64, seed=2)
  without = draw_portrait(_sample(1), 64, seed=2, masks=False)
  np.testing.assert_array_equal(with_masks.image, without.image)
  assert without.masks == {}


def test_the_seed_changes_the_photograph_not_the_geometry():
  a = _sample(2)
  first = draw_portrait(a, 96, seed=1)
  other = draw_portrait(a, 96, seed=2)
  np.testing.assert_array_equal(first.landmarks, other.landmarks)
  np.testing.assert_array_equal(first.masks["head"], other.masks["head"])
  difference = first.image.astype(float) - other.image.astype(float)
  assert np.abs(difference).mean() > 4
  # The strands along the outline of the hair belong to the seed.
  assert (first.masks["hair"] != other.masks["hair"]).mean() < 0.04


def test_landmarks_scale_with_the_size():
  a = _sample(3)
  small = draw_portrait(a, 64, seed=0, masks=False).landmarks
  large = draw_portrait(a, 256, seed=0, masks=False).landmarks
  # Exact up to float32: one multiplication by the size.
  np.testing.assert_allclose(4 * small, large, atol=1e-3)


def test_sizes_show_the_same_picture():
  a = _sample(4)
  small = draw_portrait(a, 64, seed=9).image[..., :3].astype(float)
  large = draw_portrait(a, 128, seed=9).image[..., :3].astype(float)
  reduced = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
  # Noise, JPEG and the sharpest details differ; the scene does not.
  assert np.abs(small - reduced).mean() < 9


@pytest.mark.parametrize("index", range(12))
def test_landmarks_lie_where_they_should(index):
  a = _sample(index)
  drawing = draw_portrait(a, 256, seed=index)
  p, head = drawing.landmarks, drawing.masks["head"]
  assert (p > 0).all() and (p < 256).all()
  assert _inside(head, p[17:]).all()
  # The jaw is the mask's border: 4 % of the face inwards is inside, 5 %
  # outwards is not.
  center = p[27:31].mean(0)
  assert _inside(head, center + 0.96 * (p[1:16] - center)).all()
  assert not _inside(head, center + 1.05 * (p[1:16] - center)).any()
  # Order: left before right, brows over eyes over nose over mouth over chin.
  assert p[36, 0] < p[39, 0] < p[42, 0] < p[45, 0]
  rows = [p[17:27, 1], p[36:48, 1], p[31:36, 1], p[48:68, 1], p[8:9, 1]]
  means = [row.mean() for row in rows]
  assert means == sorted(means)


def test_masks_agree_with_each_other():
  for index in range(6):
    masks = draw_portrait(_sample(index), 128, seed=index).masks
    assert not (masks["hair"] & masks["skin"]).any()
    assert 0.10 < masks["head"].mean() < 0.45
    assert masks["skin"].mean() > 0.04


def test_hair_mask_is_empty_where_no_hair_shows():
  for change in ({"hair_style": "bald"}, {"headwear": "hijab"}):
    a = dataclasses.replace(_sample(0), **{"headwear": "none", **change})
    assert not draw_portrait(a, 64, seed=0).masks["hair"].any()


def test_pose_moves_the_landmarks_the_documented_way():
  front = draw_portrait(PLAIN, 128, seed=0, masks=False).landmarks
  change = {"yaw": 15.0, "pitch": 10.0, "roll": 8.0}
  moved = {
    name: draw_portrait(
      dataclasses.replace(PLAIN, **{name: angle}), 128, seed=0, masks=False
    ).landmarks
    for name, angle in change.items()
  }
  tip = 30
  assert moved["yaw"][tip, 0] > front[tip, 0] + 3
  assert moved["pitch"][tip, 1] < front[tip, 1] - 2
  # Clockwise: the viewer's right eye goes down.
  assert moved["roll"][45, 1] > front[45, 1] + 1
  assert moved["roll"][36, 1] < moved["roll"][45, 1]


def _cheek(tone: int) -> np.ndarray:
  """Mean sRGB of the visible skin, over seeds, so that light averages out."""
  a = dataclasses.replace(
    PLAIN, skin_tone=tone, light_azimuth=0.0, light_elevation=30.0
  )
  colors = []
  for seed in range(6):
    drawing = draw_portrait(a, 48, seed=seed)
    face = drawing.masks["skin"] & drawing.masks["head"]
    colors.append(drawing.image[face][:, :3].mean(0))
  return np.mean(colors, 0)


def test_skin_tones_are_ordered_and_near_the_scale():
  from skimage.color import deltaE_ciede2000, rgb2lab

  from chibijax.artist import palette

  seen = np.array([_cheek(tone) for tone in range(1, 11)])
  lab = rgb2lab(seen[None] / 255)[0]
  # Tones 1 to 3 are published nearly equal; from 3 on each is darker.
  assert (np.diff(lab[2:, 0]) < -1.0).all()
  assert np.ptp(lab[:3, 0]) < 8
  # Light skin is photographed redder than its swatch, and the darkest tones
  # are exposed brighter: near the scale, not on it.
  scale = np.array([palette.rgb(color) for color in palette.SKIN]) / 255
  distance = deltaE_ciede2000(lab, rgb2lab(scale[None])[0])
  assert distance.max() < 22
  assert distance.mean() < 15
  # Everyone's skin is warm: red over green over blue.
  assert (np.diff(seen, axis=1) < 0).all()


@pytest.mark.parametrize("field", sorted(VALUES))
def test_every_word_draws_and_matters(field):
  base = Attributes(
    hair_style="crop" if field == "earrings" else "bob",
    glasses="cat_eye" if field == "accent_color" else "none",
    headwear="cap" if field == "headwear_color" else "none",
  )
  pictures = []
  for word in VALUES[field]:
    a = dataclasses.replace(base, **{field: word})
    drawing = draw_portrait(a, 48, seed=4)
    assert np.isfinite(drawing.landmarks).all()
    pictures.append(drawing.image[..., :3].astype(float))
  if field == "background":
    # The portrait's background is a place; only its colour is an attribute.
    return
  changes = [np.abs(p - pictures[0]).max() for p in pictures[1:]]
  assert min(changes) > 4, dict(zip(VALUES[field][1:], changes))


@pytest.mark.parametrize("field", sorted(RANGES))
def test_every_number_draws_and_matters(field):
  pictures = []
  for end in RANGES[field]:
    value = int(end) if field == "skin_tone" else end
    style = "crop" if field in ("hair_volume", "parting") else "bald"
    a = dataclasses.replace(PLAIN, hair_style=style, **{field: value})
    pictures.append(draw_portrait(a, 64, seed=4).image.astype(float))
  assert np.abs(pictures[0] - pictures[1]).max() > 8


def test_statistics_are_those_of_photographs():
  pictures = np.stack(
    [draw_portrait(_sample(i), 48, seed=i).image[..., :3] for i in range(40)]
  ).astype(float)
  # Well-exposed portraits average to a middle grey and use the whole range.
  assert 85 < pictures.mean() < 160
  assert 40 < pictures.std() < 85
  per_picture = pictures.reshape(40, -1)
  assert (np.percentile(per_picture, 99, axis=1) > 140).mean() > 0.9
  assert (np.percentile(per_picture, 1, axis=1) < 90).mean() > 0.9


@pytest.mark.parametrize("size, seed", [(8, 0), (64, -1)])
def test_bad_arguments_are_refused(size, seed):
  with pytest.raises(ValueError, match="must"):
    draw_portrait(PLAIN, size, seed=seed)
