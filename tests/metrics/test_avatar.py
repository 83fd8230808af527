"""Measures of reenactment against their definitions, and the protocol."""

import numpy as np
import pytest
from scipy.spatial import transform

from chibijax.metrics import avatar


def test_distances_are_what_they_say() -> None:
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=(2, 4, 7))
  expected = [np.dot(x, y) / np.sqrt(x @ x * (y @ y)) for x, y in zip(a, b)]
  np.testing.assert_allclose(avatar.csim(a, b), expected)
  np.testing.assert_allclose(avatar.csim(a, 3 * a), 1)
  points = rng.normal(size=(3, 68, 2))
  moved = points + np.array([3.0, -1.0])
  np.testing.assert_allclose(avatar.distance(points, moved), 2.0)
  moved[1, 5] = np.nan
  assert np.isnan(avatar.distance(points, moved)).tolist() == [
    False, True, False,
  ]  # fmt: skip


def test_angles_are_scipys() -> None:
  rotations = transform.Rotation.random(50, rng=np.random.default_rng(1))
  expected = rotations.as_euler("ZYX")[:, ::-1]
  np.testing.assert_allclose(
    avatar.angles(rotations.as_matrix()), expected, atol=1e-9
  )


def test_first_frames_are_sources_and_the_rest_drivers() -> None:
  pairs = list(avatar.self_pairs([3, 1, 2]))
  assert pairs == [((0, 0), (0, 1)), ((0, 0), (0, 2)), ((2, 0), (2, 1))]
  pairs = list(avatar.cross_pairs([2, 3, 2]))
  # As the released loader: the driver is the clip before.
  assert pairs == [
    ((0, 0), (2, 1)), ((1, 0), (0, 1)), ((2, 0), (1, 1)), ((2, 0), (1, 2)),
  ]  # fmt: skip
  pairs = list(avatar.cross_pairs([2, 4, 2], stride=2, shift=1))
  assert pairs == [
    ((0, 0), (1, 1)), ((0, 0), (1, 3)), ((1, 0), (2, 1)), ((2, 0), (0, 1)),
  ]  # fmt: skip
  with pytest.raises(ValueError, match="another clip"):
    list(avatar.cross_pairs([5, 5], shift=2))


def test_crops_are_squares_about_the_five_points() -> None:
  rows = np.arange(64, dtype=np.uint8)
  ramp = np.stack(np.broadcast_arrays(rows[:, None], rows[None], 0), -1)
  pictures = np.stack([ramp.astype(np.uint8)] * 3)
  five = np.array([[24.0, 28], [32, 28], [28, 30], [26, 32], [30, 32]])
  # Box 8 x 4 about (28, 30), so a square of 24; then over the edge; no face.
  points = np.stack([five, five - 28, np.full((5, 2), np.nan)])
  found = avatar.crop(pictures, points, size=24)
  np.testing.assert_array_equal(found[0], pictures[0, 18:42, 16:40])
  assert (found[1, :10] == 0).all() and (found[1, :, :12] == 0).all()
  np.testing.assert_array_equal(found[1, 10:, 12:], pictures[0, :14, :12])
  assert (found[2] == 0).all()
  # Pixels of half the size: between two of the ramp lies their mean, rounded.
  large = avatar.crop(pictures[:1], points[:1], size=48)
  want = 16 + (np.arange(48) + 0.5) / 2 - 0.5
  assert np.abs(large[0, 24, 1:-1, 1] - want[1:-1]).max() <= 0.5 + 1e-6


def test_clips_are_drawn_as_a_whole() -> None:
  rng = np.random.default_rng(5)
  sources = rng.integers(0, 200, (6, 16, 16, 3), dtype=np.uint8)
  clips = np.array([7, 7, 2, 2, 5, 5])
  # Both pairs of a clip are equally far off.
  targets = sources.copy()
  targets[:, :8] += np.array([0, 0, 9, 9, 40, 40], np.uint8)[
    :, None, None, None
  ]
  nets = avatar.Networks(landmarks=_networks().landmarks)
  given = (sources, targets, sources, nets)
  alone, grouped = (
    avatar.measure(*given, groups=g)["akd"] for g in (None, clips)
  )
  assert grouped.value == pytest.approx(alone.value) and grouped.n == 6
  assert grouped.details == {"missing": 0, "clips": 3}
  assert grouped.high - grouped.low > 1.3 * (alone.high - alone.low)
  # The same draws of one pair a clip.
  few = avatar.measure(*(x[::2] for x in given[:3]), nets, groups=clips[::2])
  assert (grouped.low, grouped.high) == pytest.approx(
    (few["akd"].low, few["akd"].high)
  )
  one = avatar.measure(*given, groups=0 * clips)["akd"]
  assert one.low is None and one.note == "one clip only"


def test_measures_whose_network_is_missing_are_left_out() -> None:
  rng = np.random.default_rng(6)
  triple = rng.integers(0, 255, (3, 2, 16, 16, 3), dtype=np.uint8)
  whole = _networks()
  assert list(avatar.measure(*triple, avatar.Networks())) == ["psnr", "ssim"]
  for field, names in {
    "embed": ["csim"], "parameters": ["aed", "apd"], "landmarks": ["akd"],
  }.items():  # fmt: skip
    nets = avatar.Networks(**{field: getattr(whole, field)})
    assert list(avatar.measure(*triple, nets)) == ["psnr", "ssim", *names]


def _networks(blind: int | None = None) -> avatar.Networks:
  """Networks that see means of pixels; no face where they are all `blind`."""

  def means(pictures: np.ndarray, count: int) -> np.ndarray:
    x = pictures.reshape(len(pictures), -1).astype(np.float64)
    found = x[:, :count] / 255
    found[(pictures == blind).all((1, 2, 3))] = np.nan
    return found

  return avatar.Networks(
    embed=lambda x: means(x, 9),
    parameters=lambda x: avatar.Parameters(means(x, 6), 5 * means(x, 3)),
    landmarks=lambda x: means(x, 136).reshape(-1, 68, 2),
    names={"embed": "means"},
  )


def test_protocols() -> None:
  rng = np.random.default_rng(3)
  made, targets, sources = rng.integers(
    0, 255, (3, 4, 16, 16, 3), dtype=np.uint8
  )
  found = avatar.measure(made, targets, sources, _networks())
  assert list(found) == ["psnr", "ssim", "csim", "aed", "apd", "akd"]
  off = (made.astype(float) - targets) / 255
  psnr = -10 * np.log10((off**2).mean((1, 2, 3)))
  assert found["psnr"].value == pytest.approx(psnr.mean(), rel=1e-5)
  assert found["akd"].value == pytest.approx(
    np.abs(off.reshape(4, -1)[:, :136]).mean()
  )
  # Angles count the short way round.
  turn = np.abs(5 * off.reshape(4, -1)[:, :3])
  assert found["apd"].value == pytest.approx(
    np.minimum(turn, 2 * np.pi - turn).mean()
  )
  assert found["csim"].method.startswith("csim by means")
  cross = avatar.measure(made, targets, sources, _networks(), cross=True)
  assert list(cross) == ["csim", "aed", "apd"]
  x, y = (v.reshape(4, -1)[:, :9].astype(float) for v in (made, sources))
  assert cross["csim"].value == pytest.approx(avatar.csim(x, y).mean())
  same = avatar.measure(targets, targets, sources, _networks())
  assert same["aed"].value == same["apd"].value == same["akd"].value == 0
  assert same["ssim"].value == pytest.approx(1, abs=1e-5)


def test_pairs_without_a_face_are_left_out_and_counted() -> None:
  rng = np.random.default_rng(4)
  made, targets, sources = rng.integers(
    1, 255, (3, 4, 16, 16, 3), dtype=np.uint8
  )
  whole = avatar.measure(made, targets, sources, _networks(0))
  blind = made.copy()
  blind[1] = 0
  found = avatar.measure(blind, targets, sources, _networks(0))
  values = {"akd": 136, "aed": 6}
  for name in ("csim", "aed", "apd", "akd"):
    assert found[name].n == 3 and found[name].details["missing"] == 1
    assert whole[name].n == 4 and whole[name].details["missing"] == 0
  off = np.abs(made.astype(float) - targets).reshape(4, -1)[[0, 2, 3]] / 255
  for name, count in values.items():
    expected = off[:, :count].mean()
    assert found[name].value == pytest.approx(expected)
  assert found["psnr"].n == 4
  none = avatar.measure(0 * made, targets, sources, _networks(0), cross=True)
  assert np.isnan(none["aed"].value) and none["aed"].n == 0
  with pytest.raises(ValueError, match="no triples"):
    avatar.measure(made[:0], targets[:0], sources[:0], _networks())
