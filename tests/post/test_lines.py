"""Lines: where they are, where they are not, width, ink drawings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.artist import Drawing, draw_portrait, sample_attributes
from chibijax.post import features, lines


@functools.cache
def portrait(size: int = 128) -> Drawing:
  rng = np.random.default_rng([3, 4])
  return draw_portrait(sample_attributes(rng), size, seed=4)


def unit(size: int = 128) -> np.ndarray:
  return portrait(size).rgb().astype(np.float32) / 255


def edge(size: int = 96) -> np.ndarray:
  picture = np.full((size, size, 3), 0.9, np.float32)
  picture[:, size // 2 :] = 0.3
  return picture


def test_an_edge_gets_a_line_on_its_dark_side() -> None:
  found = np.asarray(lines.ink(edge()))
  assert found[48, 48:51].max() > 0.9
  assert found[:, :46].max() < 0.01
  assert found[:, 56:].max() < 0.01


def test_flat_and_smooth_pictures_get_none() -> None:
  ramp = np.linspace(0, 1, 96, dtype=np.float32)
  picture = np.broadcast_to(ramp[None, :, None], (96, 96, 3))
  # The frame, where the picture is taken to go on flat, is left out.
  assert np.asarray(lines.ink(picture))[:, 8:-8].max() < 0.01


def test_width_follows_the_parameter_and_the_size() -> None:
  def area(size: int, width: float) -> float:
    return float(
      np.asarray(lines.ink(edge(size), width=width))[size // 2].sum()
    )

  assert area(192, 1.0) < area(192, 2.0) < area(192, 4.0)
  assert area(384, 2.0) == pytest.approx(2 * area(192, 2.0), rel=0.3)


def test_more_amount_is_more_ink() -> None:
  picture = unit()
  total = [float(lines.ink(picture, amount=a).sum()) for a in (0.0, 0.5, 1.0)]
  assert total[0] < total[1] < total[2]


def test_wrinkles_get_no_lines_but_eyes_do() -> None:
  drawn = portrait(256)
  picture = unit(256).copy()
  points = drawn.landmarks
  # A wrinkle down the cheek, between eye and mouth.
  x, y = (0.5 * (points[41] + points[48])).astype(int)
  picture[y - 8 : y + 8, x : x + 2] *= 0.6
  free = np.asarray(lines.ink(picture))
  kept = np.asarray(
    lines.ink(picture, landmarks=points, masks={"skin": drawn.masks["skin"]})
  )
  wrinkle = (slice(y - 5, y + 5), slice(x - 2, x + 4))
  assert free[wrinkle].max() > 0.5
  assert kept[wrinkle].max() < 0.35
  inside = features.eyes((256, 256), points, 1.1) > 0.5
  assert free[inside].sum() > 20
  np.testing.assert_allclose(kept[inside], free[inside], atol=0.05)


def test_flow_joins_broken_lines() -> None:
  picture = np.full((64, 64, 3), 0.8, np.float32)
  picture[:, 31:33] = 0.35
  noise = np.random.default_rng(0).random((64, 64, 1), np.float32)
  picture = np.clip(picture + 0.5 * (noise - 0.5), 0, 1)
  away = np.ones(64, bool)
  away[26:38] = False
  quiet, rough = (
    np.asarray(lines.ink(picture, flow=flow))[4:-4] for flow in (4, 0)
  )
  assert quiet[:, away].mean() < rough[:, away].mean()
  assert quiet[:, 30:34].mean() > 0.2


def test_compiled_is_eager() -> None:
  plane = jnp.asarray(unit(64)[::2, ::2, 1])
  compiled = lines.xdog(plane, sigma=0.8, flow=1)
  with jax.disable_jit():
    eager = lines.xdog(plane, sigma=0.8, flow=1)
  # A steep ramp over sums that are fused otherwise.
  np.testing.assert_allclose(compiled, eager, atol=1e-3)


@pytest.mark.parametrize("run", [lines.draw, lines.draw_ink])
def test_range_shape_alpha_and_nothing_at_zero(run) -> None:
  picture = np.dstack([unit(64), np.full((64, 64), 0.5, np.float32)])
  found = np.asarray(run(picture))
  assert found.shape == picture.shape and found.dtype == np.float32
  assert 0 <= found.min() and found.max() <= 1
  np.testing.assert_array_equal(found[..., 3], picture[..., 3])
  np.testing.assert_array_equal(run(picture, strength=0), picture)


def test_lines_only_darken() -> None:
  picture = unit()
  found = np.asarray(lines.draw(picture, strength=1.0))
  assert (found <= picture + 1e-6).all() and (found < picture - 0.1).any()
  # A source gives the lines, the picture the colours.
  white = np.ones_like(picture)
  drawn = np.asarray(lines.draw(white, strength=1.0, source=picture))
  assert drawn.min() < 0.3
  np.testing.assert_array_equal(lines.draw(white, strength=1.0), white)


def test_ink_leaves_skin_of_every_tone_to_the_paper() -> None:
  drawn = portrait(128)
  skin = drawn.masks["skin"]
  for factor in (1.0, 0.25):
    picture = unit(128) * np.float32(factor)
    found = np.asarray(
      lines.draw_ink(picture, landmarks=drawn.landmarks, masks=drawn.masks)
    )
    assert np.median(found[skin]) > 0.8


def test_mistakes_are_sentences() -> None:
  picture = edge(16)
  with pytest.raises(ValueError, match="width must be in"):
    lines.ink(picture, width=0)
  with pytest.raises(ValueError, match="strength must be in"):
    lines.draw(picture, strength=2)
  with pytest.raises(ValueError, match="rrggbb"):
    lines.draw(picture, color="black")
  with pytest.raises(ValueError, match="68 finite landmarks"):
    lines.ink(picture, landmarks=np.full((68, 2), np.nan, np.float32))
