"""The body without a head."""

import numpy as np
import pytest

from chibijax.artist import Attributes, Colors, draw_chibi, palette
from chibijax.artist.attributes import VALUES
from chibijax.artist.headless import CHIN, SOLES, draw_body

SIZE = 96


@pytest.mark.parametrize("clothes", VALUES["clothes"])
def test_body_is_that_of_the_chibi(clothes: str) -> None:
  attributes = Attributes(clothes=clothes, background="none", hair_style="buzz")
  body = draw_body(attributes, SIZE)
  whole = draw_chibi(attributes, SIZE, body=True, masks=False).image
  chest = np.s_[int(0.66 * SIZE) :]
  np.testing.assert_array_equal(body[chest], whole[chest])
  # No head: nothing above the neck.
  assert body[: int(0.45 * SIZE), :, 3].max() == 0
  rows = np.flatnonzero((body[..., 3] > 127).any(1))
  assert rows[0] / SIZE < CHIN[1]
  assert (rows[-1] + 1) / SIZE == pytest.approx(SOLES, abs=0.011)


def test_colours_replace_those_of_the_attributes() -> None:
  colors = Colors(skin="#804020", clothes="#00ff00", accent="#ff00ff")
  found = draw_body(Attributes(), SIZE, colors=colors)
  for color in ("#804020", "#00ff00", "#ff00ff"):
    there = (found[..., :3] == palette.rgb(color)).all(-1) & (found[..., 3] > 0)
    assert there.sum() > 5, color


def test_shades_of_a_tone_are_its_palette() -> None:
  for tone, base in enumerate(palette.SKIN, 1):
    assert palette.skin_shades(base) == palette.skin_palette(tone)


def test_mistakes_are_named() -> None:
  with pytest.raises(ValueError, match="16 pixels"):
    draw_body(Attributes(), 8)
