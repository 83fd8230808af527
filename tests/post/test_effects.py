"""Effects on faces and on whole pictures: where they act, and where not."""

import functools

import numpy as np
import pytest

from chibijax.artist import Drawing, draw_portrait, sample_attributes
from chibijax.post import effects, features, prints, tones

SIZE = 96


@functools.cache
def portrait() -> Drawing:
  rng = np.random.default_rng([3, 4])
  return draw_portrait(sample_attributes(rng), SIZE, seed=4)


def unit(alpha: float | None = None) -> np.ndarray:
  picture = portrait().rgb().astype(np.float32) / 255
  if alpha is None:
    return picture
  return np.dstack([picture, np.full((SIZE, SIZE), alpha, np.float32)])


POINTS = {"landmarks": lambda: portrait().landmarks}
MASK = {"mask": lambda: portrait().masks["skin"].astype(np.float32)}
HAIR = {"masks": lambda: portrait().masks}
ALL = {
  "blush": (effects.blush, POINTS),
  "vivid_eyes": (effects.vivid_eyes, POINTS),
  "sparkle": (effects.sparkle, POINTS),
  "shine": (effects.shine, HAIR | POINTS),
  "even": (tones.even, MASK),
  "vibrance": (tones.vibrance, {}),
  "glow": (tones.glow, {}),
  "vignette": (tones.vignette, {}),
  "grain": (tones.grain, {}),
  "glitch": (prints.glitch, {}),
  "halftone": (prints.halftone, {}),
  "duotone": (prints.duotone, {}),
  "poster": (prints.poster, {}),
  "pixels": (prints.pixels, {}),
}


def run(name: str, picture: np.ndarray, **more) -> np.ndarray:
  function, wants = ALL[name]
  return function(picture, **{k: v() for k, v in wants.items()}, **more)


@pytest.mark.parametrize("name", ALL)
def test_range_shape_alpha_and_nothing_at_zero(name: str) -> None:
  for alpha in (None, 0.6):
    picture = unit(alpha)
    kept = picture.copy()
    found = run(name, picture, strength=0.8)
    assert found.shape == picture.shape and found.dtype == np.float32
    assert 0 <= found.min() and found.max() <= 1
    assert np.abs(found - picture).max() > 0.01
    np.testing.assert_array_equal(found[..., 3:], picture[..., 3:])
    np.testing.assert_array_equal(run(name, picture, strength=0), kept)
    np.testing.assert_array_equal(picture, kept)


@pytest.mark.parametrize("name", [k for k, (_, v) in ALL.items() if not v])
def test_odd_sizes_and_extremes(name: str) -> None:
  for value in (0.0, 1.0):
    found = run(name, np.full((17, 9, 3), value, np.float32), strength=1.0)
    assert found.shape == (17, 9, 3) and np.isfinite(found).all()
    assert 0 <= found.min() and found.max() <= 1


@pytest.mark.parametrize("name", ["grain", "glitch"])
def test_a_seed_decides(name: str) -> None:
  first, again, other = (run(name, unit(), seed=s) for s in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", ALL)
def test_strength_out_of_range(name: str) -> None:
  with pytest.raises(ValueError, match=r"strength must be in \[0, 1\]"):
    run(name, unit(), strength=1.01)


def test_blush_reddens_both_cheeks_and_nothing_else() -> None:
  picture, points = np.full((SIZE, SIZE, 3), 0.7, np.float32), frontal()
  found = effects.blush(picture, points, strength=1.0)
  change = found - picture
  red = change[..., 0] - change[..., 1]
  assert red.min() > -1e-3
  left, right = red[:, : SIZE // 2], red[:, SIZE // 2 :]
  assert left.sum() == pytest.approx(right.sum(), rel=0.05)
  y, x = np.nonzero(red > 0.5 * red.max())
  assert points[40, 1] - 2 < y.min() and y.max() < points[57, 1] + 2
  assert features.eyes((SIZE, SIZE), points)[y, x].max() < 0.2


def frontal() -> np.ndarray:
  """The portrait's landmarks made symmetric."""
  points = portrait().landmarks.copy()
  points[:, 0] -= points[:, 0].mean() - SIZE / 2
  mirror = points.copy()
  mirror[:, 0] = SIZE - mirror[:, 0]
  pairs = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31)]
  pairs += [35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
  pairs += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]
  pairs += [64, 63, 62, 61, 60, 67, 66, 65]
  return ((points + mirror[pairs]) / 2).astype(np.float32)


def test_blush_follows_the_pose() -> None:
  picture, points = np.full((SIZE, SIZE, 3), 0.7, np.float32), frontal()
  angle = np.deg2rad(20)
  turn = np.array(
    [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
  )
  turned = ((points - 48) @ turn.T + 48).astype(np.float32)

  def cheeks(landmarks):
    change = np.abs(effects.blush(picture, landmarks) - picture).sum(-1)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    halves = []
    middle = landmarks[27:31].mean(0)
    across = features.axes(landmarks)[0]
    side = (x - middle[0]) * across[0] + (y - middle[1]) * across[1]
    for here in (side < 0, side >= 0):
      w = change * here
      halves.append(np.array([(x * w).sum(), (y * w).sum()]) / w.sum())
    return np.stack(halves)

  moved = (cheeks(points) - 48) @ turn.T + 48
  # A quarter of a pixel per ellipse edge.
  np.testing.assert_allclose(cheeks(turned), moved, atol=0.6)
  # A cheek that is turned away gets less.
  yawed = points.copy()
  yawed[:, 0] = np.where(
    points[:, 0] > 48, 48 + 0.4 * (points[:, 0] - 48), points[:, 0]
  )
  change = np.abs(effects.blush(picture, yawed) - picture).sum(-1)
  assert change[:, 48:].sum() < 0.7 * change[:, :48].sum()


@pytest.mark.parametrize("tone", [(0.96, 0.9, 0.85), (0.25, 0.16, 0.13)])
def test_blush_suits_the_skin(tone) -> None:
  picture = np.broadcast_to(np.float32(tone), (SIZE, SIZE, 3))
  found = effects.blush(picture, frontal(), strength=1.0)
  change = (found - picture).reshape(-1, 3)
  strongest = change[np.abs(change).sum(-1).argmax()]
  assert strongest[0] > strongest[1] and np.abs(strongest).max() > 0.05
  assert np.abs(strongest).max() < 0.5


def test_sparkles_are_in_open_eyes_only() -> None:
  points = frontal()
  for eye in features.EYES:
    middle = points[eye].mean(0)
    points[eye] = middle + (points[eye] - middle) * (1.6, 2.5)
  dark = np.full((SIZE, SIZE, 3), 0.2, np.float32)
  found = effects.sparkle(dark, points, strength=1.0)
  bright = np.nonzero((found - dark).max(-1) > 0.1)
  assert len(bright[0]) >= 4 and found.max() > 0.7
  assert features.eyes((SIZE, SIZE), points, 1.1)[bright].min() > 0.1
  for eye in features.EYES:
    points[eye, 1] = points[eye, 1].mean()
  np.testing.assert_array_equal(effects.sparkle(dark, points), dark)


def test_faces_outside_of_the_picture_change_nothing() -> None:
  picture = unit()
  far = portrait().landmarks + np.float32(900)
  for function in (effects.blush, effects.vivid_eyes, effects.sparkle):
    np.testing.assert_array_equal(function(picture, far), picture)


def test_shine_stays_in_the_hair() -> None:
  picture = unit()
  masks = portrait().masks
  found = effects.shine(picture, masks, strength=1.0)
  changed = np.abs(found - picture).max(-1) > 1e-6
  assert changed.any() and not (changed & ~masks["hair"]).any()
  assert (found >= picture - 1e-6).all()
  with pytest.raises(ValueError, match='named "hair"'):
    effects.shine(picture, {})
  with pytest.raises(ValueError, match="mask 'hair' must be"):
    effects.shine(picture, {"hair": np.ones((3, 3), bool)})


def test_even_skin_is_the_same_tone_with_less_shine() -> None:
  picture = np.full((SIZE, SIZE, 3), (0.8, 0.62, 0.52), np.float32)
  picture[20:26, 20:26] = 0.98
  picture[60:, :] *= 0.8
  mask = np.ones((SIZE, SIZE), np.float32)
  mask[:, 90:] = 0
  found = tones.even(picture, mask, strength=1.0)
  assert found[22, 22, 2] < 0.75
  assert np.abs(found[40, 40] - picture[40, 40]).max() < 0.06
  assert found[40, 40].mean() > found[80, 40].mean() > picture[80, 40].mean()
  np.testing.assert_array_equal(found[:, 90:], picture[:, 90:])
  with pytest.raises(ValueError, match="mask must be"):
    tones.even(picture, mask[:9])


def test_pixels_are_squares_of_few_colours() -> None:
  found = prints.pixels(unit(), size=16, count=6)
  blocks = found.reshape(16, 6, 16, 6, 3)
  assert np.ptp(blocks, axis=(1, 3)).max() == 0
  assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 6


def test_prints_use_their_inks() -> None:
  inks = ("#000000", "#ff0000", "#ffffff")
  found = prints.poster(unit(), colors=inks).reshape(-1, 3)
  ink = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 1]])
  far = np.abs(found[:, None] - ink[None]).max(-1).min(-1)
  assert (far < 0.02).mean() > 0.6
  found = prints.duotone(unit(), colors=("#000000", "#ff0000"))
  assert found[..., 1:].max() == 0 and np.ptp(found[..., 0]) > 0.9


def test_poster_prints_every_skin_in_light_inks() -> None:
  skin = portrait().masks["skin"]
  for factor in (1.0, 0.3):
    found = prints.poster(
      unit() * np.float32(factor), face=skin.astype(np.float32)
    )
    assert np.median(found[skin].mean(-1)) > 0.55


@pytest.mark.parametrize(
  ("function", "values", "words"),
  [
    (tones.glow, {"radius": 0}, "radius"),
    (tones.grain, {"size": 0}, "size"),
    (prints.halftone, {"size": 9}, "size"),
    (prints.halftone, {"color": "red"}, "rrggbb"),
    (prints.duotone, {"colors": ("#000000",)}, "2 to 8"),
    (prints.poster, {"colors": ()}, "2 to 8"),
    (prints.pixels, {"size": 4}, "size"),
    (prints.pixels, {"count": 1}, "count"),
  ],
)
def test_mistakes_are_sentences(function, values, words) -> None:
  with pytest.raises(ValueError, match=words):
    function(unit(), **values)
  with pytest.raises(ValueError, match="3 or 4 channels"):
    function(unit()[..., :2])
