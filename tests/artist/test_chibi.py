"""The chibi: determinism, landmarks, masks, every attribute value, skin."""

import dataclasses

import numpy as np
import pytest
from skimage import color, measure

from chibijax.artist import Attributes, Drawing, draw_chibi, sample_attributes
from chibijax.artist import drawing as parts
from chibijax.artist.attributes import RANGES, VALUES
from chibijax.artist.canvas import Scene, ellipse, render_mask
from chibijax.artist.palette import SKIN

BASE = Attributes(
  hair_style="bob", fringe="straight", background="none", expression="neutral"
)
# What must be on for another field to show.
_CONTEXT = {
  "headwear_color": {"headwear": "cap"},
  "background_color": {"background": "plain"},
  "accent_color": {"clothes": "overalls"},
}


def _sample(index: int) -> Attributes:
  return sample_attributes(np.random.default_rng([5, index]))


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
  return [draw_chibi(_sample(i), 128, body=i % 4 == 3) for i in range(24)]


def test_same_attributes_same_bytes(drawings: list[Drawing]) -> None:
  for i in (0, 3):
    again = draw_chibi(_sample(i), 128, body=i % 4 == 3)
    assert again.image.tobytes() == drawings[i].image.tobytes()
    assert again.landmarks.tobytes() == drawings[i].landmarks.tobytes()
    for name in parts.MASKS:
      np.testing.assert_array_equal(again.masks[name], drawings[i].masks[name])


def test_masks_are_optional(drawings: list[Drawing]) -> None:
  bare = draw_chibi(_sample(0), 128, masks=False)
  assert bare.masks == {}
  np.testing.assert_array_equal(bare.image, drawings[0].image)


def test_size_changes_nothing_but_resolution() -> None:
  small, large = (draw_chibi(_sample(1), size) for size in (64, 256))
  np.testing.assert_allclose(small.landmarks * 4, large.landmarks, rtol=1e-5)
  reduced = large.rgb().reshape(64, 4, 64, 4, 3).mean((1, 3))
  # Edges are antialiased differently; areas are the same.
  assert np.abs(reduced - small.rgb()).mean() < 3.0
  for name in parts.MASKS:
    share = [drawn.masks[name].mean() for drawn in (small, large)]
    assert abs(share[0] - share[1]) < 0.01


def test_alpha_is_the_background(drawings: list[Drawing]) -> None:
  assert all((d.image[..., 3] == 255).all() for d in drawings)
  clear = draw_chibi(BASE, 64)
  assert (clear.image[:4, :4, 3] == 0).all()
  assert (clear.image[clear.masks["skin"]][:, 3] == 255).mean() > 0.97
  np.testing.assert_array_equal(clear.rgb("#123456")[0, 0], [0x12, 0x34, 0x56])


def test_landmarks_lie_in_the_picture_and_in_order(
  drawings: list[Drawing],
) -> None:
  for drawn in drawings:
    points = drawn.landmarks
    assert points.shape == (68, 2)
    assert points.dtype == np.float32
    assert (points > 0).all()
    assert (points < 128).all()
    # Full cheeks may be wider than the temples where the jaw line starts.
    assert (np.diff(points[parts.JAW, 0])[2:-2] > 0).all()
    for part in (parts.LEFT_BROW, parts.RIGHT_BROW):
      assert (np.diff(points[part, 0]) > 0).all()
    # Corners from left to right, lids above and below them, chin last.
    left, right = points[parts.LEFT_EYE], points[parts.RIGHT_EYE]
    assert left[0, 0] < left[3, 0] < right[0, 0] < right[3, 0]
    for eye in (left, right):
      assert eye[1:3, 1].mean() <= eye[4:6, 1].mean() + 1e-3
    assert points[48, 0] < points[54, 0]
    assert points[51, 1] <= points[57, 1]
    assert points[parts.NOSE_BRIDGE, 1].max() < points[57, 1] < points[8, 1]


def test_landmarks_agree_with_the_head_mask(drawings: list[Drawing]) -> None:
  for drawn in drawings:
    head = drawn.masks["head"]
    for x, y in drawn.landmarks[17:]:
      assert head[int(y), int(x)]
    # find_contours counts from pixel centres, landmarks from pixel corners.
    contour = measure.find_contours(head.astype(float), 0.5)[0] + 0.5
    gaps = drawn.landmarks[parts.JAW, None] - contour[None, :, ::-1]
    # A pixel mask cannot place an edge better than about one pixel.
    assert np.hypot(gaps[..., 0], gaps[..., 1]).min(1).max() < 1.0


def test_masks_are_consistent(drawings: list[Drawing]) -> None:
  for drawn in drawings:
    masks = drawn.masks
    assert set(masks) == set(parts.MASKS)
    assert not (masks["hair"] & masks["skin"]).any()
    assert masks["skin"].mean() > 0.03
    # Most of the visible skin is the face.
    assert (masks["skin"] & masks["head"]).sum() > 0.4 * masks["skin"].sum()
    hidden = drawn.attributes.headwear in ("hijab", "turban")
    if hidden or drawn.attributes.hair_style == "bald":
      assert not masks["hair"].any()
    elif drawn.attributes.headwear == "none":
      assert masks["hair"].mean() > 0.01


def test_eyes_mouth_and_glasses_are_not_skin() -> None:
  drawn = draw_chibi(dataclasses.replace(BASE, expression="grin"), 256)
  for part in (parts.LEFT_EYE, parts.RIGHT_EYE, parts.INNER_MOUTH):
    x, y = drawn.landmarks[part].mean(0)
    assert not drawn.masks["skin"][int(y), int(x)]
  shaded = draw_chibi(dataclasses.replace(BASE, glasses="sunglasses"), 256)
  assert shaded.masks["skin"].sum() < drawn.masks["skin"].sum()


def test_masks_follow_the_colours() -> None:
  """Hair pixels look like hair, skin pixels like skin."""
  drawn = draw_chibi(
    dataclasses.replace(BASE, hair_color="blue", skin_tone=4, blush=0.0), 256
  )
  blueness = drawn.image[..., 2].astype(int) - drawn.image[..., 0]
  assert (blueness[drawn.masks["hair"]] > 0).mean() > 0.9
  assert (blueness[drawn.masks["skin"]] < 0).mean() > 0.9


@pytest.mark.parametrize("field", sorted(VALUES))
def test_every_word_draws_and_shows(field: str) -> None:
  words = VALUES[field]
  base = dataclasses.replace(BASE, **_CONTEXT.get(field, {}))
  if field == "accent_color":
    base = dataclasses.replace(base, accent_color="white")
  seen = set()
  for body in (False, True) if field == "clothes" else (False,):
    for word in words:
      drawn = draw_chibi(
        dataclasses.replace(base, **{field: word}), 96, body=body, masks=False
      )
      seen.add(drawn.image.tobytes())
  many = 2 if field == "clothes" else 1
  # Presentation changes lashes only: feminine against the other two.
  expected = 2 if field == "presentation" else many * len(words)
  assert len(seen) == expected


@pytest.mark.parametrize("field", sorted(RANGES))
def test_every_number_shows(field: str) -> None:
  low, high = RANGES[field]
  base = dataclasses.replace(BASE, hair_style="crop", fringe="none")
  images = {
    draw_chibi(
      dataclasses.replace(base, **{field: v}), 96, masks=False
    ).image.tobytes()
    for v in (low, high)
  }
  assert len(images) == 2


def _lab(rgb: np.ndarray) -> np.ndarray:
  return color.rgb2lab(rgb[None, None] / 255.0)[0, 0]


def test_skin_is_the_palette() -> None:
  found = []
  for tone in range(1, 11):
    drawn = draw_chibi(
      dataclasses.replace(BASE, skin_tone=tone, blush=0.0), 128
    )
    face = drawn.masks["skin"] & drawn.masks["head"]
    lab = _lab(np.median(drawn.image[face][:, :3], axis=0))
    wanted = np.array([int(SKIN[tone - 1][k : k + 2], 16) for k in (1, 3, 5)])
    # Light and shadow move the median by a few units (CIEDE2000).
    assert color.deltaE_ciede2000(lab, _lab(wanted)) < 6.0
    found.append(lab)
  # Tones 1 and 2 of the published scale are themselves only 2.7 apart.
  for i in range(9):
    assert color.deltaE_ciede2000(found[i], found[i + 1]) > 1.5


def test_too_small_is_refused() -> None:
  with pytest.raises(ValueError, match="16 pixels"):
    draw_chibi(BASE, 8)


def test_a_pixel_belongs_to_a_mask_by_its_centre() -> None:
  disc = render_mask(ellipse(500, 500, 300), 50)
  y, x = (np.mgrid[:50, :50] + 0.5) * 20
  inside = np.hypot(x - 500, y - 500)
  # A pixel is 20 units; resvg flattens curves to within 0.4 pixels.
  assert disc[inside < 292].all()
  assert not disc[inside > 308].any()


def test_later_shapes_cover_earlier_labels() -> None:
  scene = Scene()
  scene.draw(ellipse(500, 500, 400), fill="#112233", label="hair")
  scene.draw(ellipse(500, 500, 200), fill="#445566", label="skin")
  scene.draw(ellipse(500, 500, 100), fill="#778899")
  with scene.clip(ellipse(500, 500, 50)):
    scene.draw(ellipse(500, 500, 400), fill="#000000", label="other")
  labels = scene.render_labels(100)
  assert labels["hair"][50, 20]
  assert labels["skin"][50, 40]
  assert labels["skin"][50, 42]
  assert not labels["skin"][50, 50]
  assert not labels["hair"][50, 40]
