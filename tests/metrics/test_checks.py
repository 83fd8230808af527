"""Alarms ring for what they are for, and for nothing else."""

import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.artist import draw_chibi, sample_attributes
from chibijax.metrics import checks


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
  """A chibi, smooth noise, fine noise, stripes of period 5 and flat grey."""
  rng = np.random.default_rng(0)
  chibi = draw_chibi(sample_attributes(rng), 64).image[..., :3] / 255
  coarse = np.kron(rng.uniform(size=(8, 8, 1)), np.ones((8, 8, 3)))
  fine = np.broadcast_to(rng.uniform(size=(64, 64, 1)), (64, 64, 3))
  stripes = 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(64) / 5)
  stripes = np.broadcast_to(stripes[None, :, None], (64, 64, 3))
  flat = np.full((64, 64, 3), 0.5)
  return np.float32(np.stack([chibi, coarse, fine, stripes, flat]))


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_checkerboard(
  pictures: np.ndarray, period: int, axes: tuple[int, ...]
) -> None:
  quiet = checks.checkerboard(pictures)
  # All but the blocks of 8 pixels, whose harmonics are such patterns.
  others = [0, 2, 3, 4]
  assert quiet[others].max() < checks.CHECKERBOARD_ALARM
  wave = np.cos(2 * np.pi * np.arange(64) / period)
  pattern = np.ones((64, 64))
  for axis in axes:
    pattern = pattern * np.expand_dims(wave, 1 - axis)
  loud = checks.checkerboard(
    pictures + np.float32(0.05 * pattern[None, :, :, None])
  )
  smooth = [0, 3, 4] if period == 2 else [3, 4]
  assert loud[smooth].min() > checks.CHECKERBOARD_ALARM
  with pytest.raises(ValueError, match="32 pixels"):
    checks.checkerboard(pictures[:, :20])


def test_checkerboard_of_a_set() -> None:
  chibis = [
    draw_chibi(sample_attributes(np.random.default_rng(i)), 64).image[..., :3]
    for i in range(16)
  ]
  clean = np.float32(np.stack(chibis)) / 255
  assert checks.checkerboard_of_set(clean) < checks.CHECKERBOARD_SET_ALARM
  # Five grey levels, period 4: single pictures do not show it for certain.
  wave = 0.02 * np.cos(np.pi / 2 * np.arange(64))[None, None, :, None]
  worse = clean + np.float32(wave)
  assert checks.checkerboard(worse).min() < checks.CHECKERBOARD_ALARM
  assert checks.checkerboard_of_set(worse) > checks.CHECKERBOARD_SET_ALARM


def test_inversion(pictures: np.ndarray) -> None:
  same = checks.inversion(pictures, 0.5 * pictures + 0.2)
  upside = checks.inversion(pictures, 1 - pictures)
  np.testing.assert_allclose(same[:4], 1, atol=1e-4)
  assert upside[:4].max() < checks.INVERSION_ALARM
  assert same[4] == upside[4] == 0


def test_flicker(pictures: np.ndarray) -> None:
  x = jnp.asarray(pictures * 2 - 1)
  # A point-wise map does not see the crop.
  np.testing.assert_array_equal(checks.flicker(jnp.tanh, x), 0)

  def by_mean(y):
    return y - y.mean((1, 2), keepdims=True)

  # This one does, by the difference of the means.
  got = checks.flicker(by_mean, x, shift=8, border=4)
  gap = x[:, :56, :56].mean((1, 2)) - x[:, 8:, 8:].mean((1, 2))
  want = np.sqrt(np.square(gap).mean(-1)) / 2
  np.testing.assert_allclose(got, want, atol=1e-6)
  assert got[0] > 0.001
  with pytest.raises(ValueError, match="too small for a shift"):
    checks.flicker(jnp.tanh, x, shift=40)
