"""Stickers and patterns: every design, anchors, colours, text, caching."""

import numpy as np
import pytest

from chibijax.artist import palette
from chibijax.artist.patterns import PATTERNS, draw_pattern
from chibijax.artist.sticker_around import MAX_TEXT
from chibijax.artist.sticker_pen import ANCHORS, LAYERS
from chibijax.artist.stickers import (
  DESIGNS,
  STICKERS,
  draw_sticker,
  named_color,
)
from chibijax.errors import UserError

SIZE = 96
WANTED = """
round_glasses square_glasses heart_glasses star_glasses sunglasses monocle cap
beanie party_hat crown wizard_hat santa_hat top_hat straw_hat graduation_cap
cat_ears bunny_ears bear_ears fox_ears horns halo hearts sparkles stars
speech_bubble blush tear anger_mark sweat_drop flowers bow bandage moustache
medical_mask
""".split()


def test_all_wanted_are_there() -> None:
  assert sorted(STICKERS) == sorted(WANTED)


@pytest.mark.parametrize("name", STICKERS)
def test_every_sticker_is_whole(name: str) -> None:
  found = draw_sticker(name, SIZE)
  alpha = found.image[..., 3]
  # Cropped, but not cut off by its view: what touches the view's border would
  # have an opaque, straight side.
  for side in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
    assert side.any()
  left, top, extent = DESIGNS[name].view
  pixels = max(round(SIZE * extent / 100), 8)
  assert max(alpha.shape) < pixels
  first = np.array(ANCHORS[found.kind][0], np.float64)
  corner = (first - (left, top)) * pixels / extent - found.anchors[0]
  assert (corner >= 0.5).all()
  assert (corner + alpha.shape[::-1] <= pixels - 0.5).all()
  assert found.kind in ANCHORS and found.layer in LAYERS
  assert len(found.anchors) == len(ANCHORS[found.kind])
  # An outline: some of it is much darker than the rest, but for blush.
  seen = found.image[alpha > 200][:, :3].astype(float).mean(1)
  if name != "blush":
    assert np.ptp(seen) > 15


@pytest.mark.parametrize("name", ["cap", "bandage", "monocle"])
def test_size_only_scales(name: str) -> None:
  small, large = draw_sticker(name, 64), draw_sticker(name, 128)
  span = [np.ptp(s.anchors[:, 0]) for s in (small, large)]
  assert span[1] == pytest.approx(2 * span[0], rel=0.02)
  ratio = np.array(large.image.shape[:2]) / small.image.shape[:2]
  np.testing.assert_allclose(ratio, 2, atol=0.12)


def test_mirrored_drawing_is_the_mirror_image() -> None:
  plain, other = (
    draw_sticker("bow", SIZE),
    draw_sticker("bow", SIZE, mirrored=True),
  )
  flipped = plain.image[:, ::-1].astype(int)
  sizes = np.array([flipped.shape, other.image.shape])
  # Where the faintest pixel of an edge lies may differ.
  assert np.ptp(sizes, axis=0).max() <= 1
  height, width = sizes.min(0)[:2]
  errors = [
    np.abs(i[:height, :width].astype(int) - other.image[:height, :width]).mean()
    for i in (flipped, plain.image)
  ]
  assert errors[0] < 0.35 * errors[1]
  width = plain.image.shape[1]
  mirrored = plain.anchors[[1, 0, 2]] * (-1, 1) + (width, 0)
  np.testing.assert_allclose(other.anchors, mirrored, atol=1.01)


def test_color_is_used_and_checked() -> None:
  plain = draw_sticker("cap", SIZE)
  named = draw_sticker("cap", SIZE, color="teal")
  same = draw_sticker("cap", SIZE, color=palette.CLOTHES["teal"])
  assert (named.image[..., 3] == plain.image[..., 3]).all()
  assert np.abs(named.image.astype(int) - plain.image).mean() > 10
  assert named.image is same.image
  for wrong in ("", "ink", "#12345", '#f00"/>', "#gggggg"):
    with pytest.raises(UserError, match="colour"):
      draw_sticker("cap", SIZE, color=wrong)
  assert named_color("pink") != named_color("pink", pale=True)


def test_drawings_are_kept_and_not_writable() -> None:
  first = draw_sticker("crown", SIZE)
  assert draw_sticker("crown", SIZE) is first
  with pytest.raises(ValueError, match="read-only"):
    first.image[0, 0] = 0


def test_mistakes_are_named() -> None:
  with pytest.raises(UserError) as caught:
    draw_sticker("hat", SIZE)
  assert all(name in str(caught.value) for name in STICKERS)
  with pytest.raises(ValueError, match="size"):
    draw_sticker("cap", 4)


def ink(text: str | None, mirrored: bool = False) -> np.ndarray:
  """Pixels of the bubble that differ from the empty one of this text."""
  image = draw_sticker("speech_bubble", SIZE, text=text, mirrored=mirrored)
  return image.image


def test_text_is_shown_and_never_read_as_markup() -> None:
  plain, nasty = ink("ab"), ink('</text><rect width="9999"/>&amp;')
  # The outline and all outside of the letters is the same bubble.
  assert plain.shape == nasty.shape
  assert (plain[..., 3] == nasty[..., 3]).all()
  changed = (plain != nasty).any(-1)
  rows, columns = np.nonzero(changed)
  height, width = changed.shape
  assert rows.min() > 0.1 * height and rows.max() < 0.8 * height
  assert columns.min() > 0.04 * width and columns.max() < 0.96 * width
  # "&amp;" is five letters, not one.
  assert (ink("&amp;") != ink("&")).any()
  assert (ink(None) != plain).any()


def test_text_stays_inside_and_unmirrored() -> None:
  shown = [ink(t) for t in ("i", "hello there my friend", "W" * MAX_TEXT)]
  dark = [(s[..., :3].max(-1) < 110) & (s[..., 3] > 250) for s in shown]
  assert all(d.any() for d in dark)
  # A mirrored bubble has the letters of the unmirrored one.
  left, right = ink("F", True), ink("F")
  assert left.shape == right.shape
  assert np.abs(left[:, ::-1].astype(int) - right).max() > 100
  middle = left.shape[1] // 2
  window = np.s_[: left.shape[0] * 2 // 3, middle - 20 : middle + 20, :3]
  assert np.abs(left[window].astype(int) - right[window]).mean() < 6


@pytest.mark.parametrize("text", ["", " \n ", "\x00", "x" * (MAX_TEXT + 1)])
def test_text_of_no_use_is_refused(text: str) -> None:
  with pytest.raises(UserError, match="1 to 60"):
    draw_sticker("speech_bubble", SIZE, text=text)


def test_characters_without_glyph_are_named(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  with pytest.raises(UserError, match=r"'漢'.*CHIBIJAX_FONT"):
    draw_sticker("speech_bubble", SIZE, text="a漢")
  monkeypatch.setenv("CHIBIJAX_FONT", "/nowhere.ttf")
  with pytest.raises(UserError, match="nowhere"):
    draw_sticker("speech_bubble", SIZE, text="a")


@pytest.mark.parametrize("kind", PATTERNS)
def test_patterns(kind: str) -> None:
  square = draw_pattern(kind, 64, color="mint")
  assert square.shape == (64, 64, 3)
  ground = np.array(palette.rgb(palette.BACKGROUND["mint"]))
  plain = (square == ground).all(-1).mean()
  assert 0.2 < plain < 0.95
  other = draw_pattern(kind, 64, color="mint", seed=1)
  assert (other == square).all() == (kind != "confetti")


def test_pattern_mistakes() -> None:
  with pytest.raises(UserError, match="sunburst"):
    draw_pattern("plaid", 64, color="mint")
  with pytest.raises(ValueError, match="size"):
    draw_pattern("dots", 8, color="mint")
