"""Whole figures: proportions, colours, cut-out and join."""

import functools

import numpy as np
import pytest

from chibijax.artist import Attributes, Drawing, draw_portrait, palette
from chibijax.post import full_body
from chibijax.post.full_body import BodyColors, draw_figure, measure_colors

SIZE = 128
ATTRIBUTES = Attributes(
  hair_style="bob",
  hair_color="pink",
  skin_tone=4,
  clothes="tshirt",
  clothes_color="blue",
  background_color="sky",
)


@functools.cache
def portrait() -> Drawing:
  return draw_portrait(ATTRIBUTES, SIZE, seed=1)


def figure(**options: object) -> full_body.Figure:
  drawn = portrait()
  return draw_figure(
    drawn.rgb(), drawn.landmarks, drawn.masks, size=192, **options
  )


@pytest.mark.parametrize("heads", [2.0, 2.6, 3.0])
def test_figure_is_as_many_heads_tall_as_told(heads: float) -> None:
  found = figure(heads=heads)
  alpha = found.image[..., 3] > 127
  rows = np.flatnonzero(alpha.any(1))
  chin = found.landmarks[8, 1]
  tall = (rows[-1] + 1 - rows[0]) / (chin - rows[0])
  assert found.heads == pytest.approx(heads, abs=0.02)
  # A pixel of 60 at the crown, one at the soles.
  assert tall == pytest.approx(heads, rel=0.05)
  assert 0.88 < len(rows) / 192 < 0.99
  # It stands in the middle, in one piece, and touches no side.
  columns = np.flatnonzero(alpha.any(0))
  assert 0 < columns[0]
  assert columns[-1] < 191
  middle = (columns[0] + columns[-1]) / 2
  assert abs(middle - 96) < 8
  assert (np.diff(rows) == 1).all()


def test_photo_background_stays_behind() -> None:
  found = figure().image
  sky = np.array(palette.rgb(palette.BACKGROUND["sky"]))
  solid = found[..., 3] > 200
  near = np.abs(found[..., :3].astype(int) - sky).max(-1) < 25
  assert (near & solid).mean() < 0.01
  assert found[:4, :4, 3].max() == 0


def test_face_and_hair_come_from_the_photo() -> None:
  drawn, found = portrait(), figure()
  left, right = found.landmarks[36:42].mean(0), found.landmarks[42:48].mean(0)
  assert right[0] - left[0] > 15
  nose = found.landmarks[28].astype(int)
  shown = found.image[nose[1], nose[0]].astype(int)
  source = drawn.landmarks[28].astype(int)
  there = drawn.rgb()[source[1], source[0]].astype(int)
  assert np.abs(shown[:3] - there).max() < 40
  crown = found.image[int(found.landmarks[27, 1]) - 45, nose[0]].astype(int)
  # Pink hair: red above green.
  assert crown[3] > 200
  assert crown[0] - crown[1] > 40


def test_neck_joins_chin_and_collar() -> None:
  found = figure(colors=BodyColors(skin="#ff0000"))
  chin = found.landmarks[8].astype(int)
  below = found.image[chin[1] : chin[1] + 14, chin[0]]
  assert (below[:, 3] > 250).all()
  # The drawn neck has the skin colour asked for.
  assert (below[:, 0].astype(int) - below[:, 1] > 80).any()


def test_colours_are_those_of_the_photo() -> None:
  drawn = portrait()
  found = measure_colors(drawn.rgb(), drawn.landmarks, drawn.masks)
  red, green, blue = palette.rgb(found.clothes)
  assert blue > red
  assert blue > green
  # Light and camera change the tone; it is still close in OKLab.
  there = np.array(palette.oklab(found.skin))
  wanted = np.array(palette.oklab(palette.SKIN[3]))
  assert np.linalg.norm(there - wanted) < 0.15
  cropped = int(drawn.landmarks[8, 1]) + 4
  masks = {name: mask[:cropped] for name, mask in drawn.masks.items()}
  close = measure_colors(drawn.rgb()[:cropped], drawn.landmarks, masks)
  assert close.clothes is None


def test_given_colours_win() -> None:
  found = figure(colors=BodyColors(clothes="#00ff00"))
  assert found.colors.clothes == "#00ff00"
  assert found.colors.skin is not None
  green = (found.image[..., :3] == (0, 255, 0)).all(-1)
  assert green.mean() > 0.01


def test_without_masks_the_head_is_an_outline() -> None:
  drawn = portrait()
  found = draw_figure(drawn.rgb(), drawn.landmarks, size=96)
  assert found.cut == "outline"
  assert figure().cut == "masks"
  cut = full_body.cut_head(drawn.landmarks, (SIZE, SIZE)) > 127
  inside = drawn.masks["head"]
  union = (cut | inside).sum()
  assert (cut & inside).sum() / union > 0.75


def test_cut_follows_the_masks() -> None:
  drawn = portrait()
  cut = full_body.cut_head(drawn.landmarks, (SIZE, SIZE), drawn.masks) > 127
  hair = drawn.masks["hair"]
  # Eroded by a pixel: most of it is there.
  assert cut[hair].mean() > 0.85
  neck = drawn.masks["skin"].copy()
  neck[: int(drawn.landmarks[8, 1]) + 3] = False
  assert neck.sum() > 20
  assert cut[neck].mean() < 0.1


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"heads": 1.5}, r"heads must be in \[2.0, 3.0\]"),
    ({"masks": {"hair": np.zeros((5, 5), bool)}}, "mask 'hair' must be"),
  ],
)
def test_mistakes_are_named(change: dict, message: str) -> None:
  drawn = portrait()
  arguments = {"masks": drawn.masks} | change
  with pytest.raises(ValueError, match=message):
    draw_figure(drawn.rgb(), drawn.landmarks, **arguments)
