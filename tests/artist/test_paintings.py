"""Paintings: every manner, the same anywhere, and as a source of a domain."""

import numpy as np
import pytest

from chibijax.artist import paintings
from chibijax.data.sources import ArtistSource, DataError


@pytest.mark.parametrize("manner", paintings.MANNERS)
def test_a_manner(manner: str) -> None:
  def draw(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return paintings.draw_painting(32, rng, manner=manner)

  one, other = draw(1), draw(2)
  assert one.shape == (32, 32, 3) and one.dtype == np.uint8
  np.testing.assert_array_equal(one, draw(1))
  assert np.abs(one.astype(int) - other).mean() > 10
  # It has a texture, everywhere, and colours.
  halves = one.reshape(2, 16, 2, 16, 3).swapaxes(1, 2).reshape(4, 256, 3)
  assert halves.std(1).mean(1).min() > 4
  assert np.ptp(one.reshape(-1, 3).mean(0)) > 2


def test_paintings_are_a_domain() -> None:
  source = ArtistSource("painting", 16, seed=3, examples=4)
  assert (source[0]["image"] != source[1]["image"]).any()
  np.testing.assert_array_equal(
    source[1]["image"], ArtistSource("painting", 16, seed=3)[1]["image"]
  )
  # A numbered one is the same for every example of every seed.
  fixed = [ArtistSource("painting:11", 16, seed=s)[5 * s] for s in (1, 2)]
  np.testing.assert_array_equal(*(x["image"] for x in fixed))
  assert "painting:11" in ArtistSource("painting:11", 16).description
  for wrong in ("painting:", "painting:x", "chibi:3"):
    with pytest.raises(DataError, match="painting:NUMBER"):
      ArtistSource(wrong, 16)
