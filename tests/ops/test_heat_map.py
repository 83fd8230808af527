"""Heat maps: colours in order, over the right place, and without contrast."""

import jax
import jax.numpy as jnp
import numpy as np

from chibijax.ops import heat_map

STRENGTH = 0.5


@jax.jit
def _jitted(heat: jax.Array, pictures: jax.Array) -> jax.Array:
  return heat_map.overlay(heat, pictures, STRENGTH)


def _overlay(heat: np.ndarray, pictures: np.ndarray) -> np.ndarray:
  return np.asarray(_jitted(jnp.asarray(heat), jnp.asarray(pictures)))


def test_colours_are_those_of_the_stops_and_between() -> None:
  values = jnp.array([-1.0, 0.0, 0.5, 1.0, 9.0, 0.125])
  *ends, between = np.asarray(jax.jit(heat_map.colorize)(values))
  first, middle, last = (heat_map.COLORS[i] for i in (0, 2, -1))
  expected = [first, first, middle, last, last]
  np.testing.assert_allclose(ends, expected, atol=1e-6)
  mean = np.mean(heat_map.COLORS[:2], 0)
  np.testing.assert_allclose(between, mean, atol=1e-6)


def test_the_hot_place_is_red_whatever_the_scale() -> None:
  heat = np.full((2, 4, 4), 3.0, np.float32)
  heat[:, 1, 2] = 4.0, 3000.0
  shown = _overlay(heat, np.zeros((2, 16, 16, 3), np.float32))
  assert shown.shape == (2, 16, 16, 3) and np.abs(shown).max() <= 1
  for picture in shown:
    # Pixels 4 to 7 and 8 to 11 belong to the hot cell.
    hot, cold = picture[5, 9], picture[14, 1]
    assert hot[0] > hot[2] and cold[2] > cold[0]
  np.testing.assert_allclose(shown[0], shown[1], atol=1e-4)


def test_a_flat_map_is_cold_and_the_picture_shows() -> None:
  pictures = np.zeros((2, 16, 16, 3), np.float32)
  pictures[:, :, 8:] = 1.0
  shown = _overlay(np.ones((2, 4, 4), np.float32), pictures)
  assert np.isfinite(shown).all()
  np.testing.assert_allclose(
    shown[0, 0, 0], STRENGTH * (2 * np.array(heat_map.COLORS[0]) - 1), atol=1e-6
  )
  difference = shown[:, :, 15] - shown[:, :, 0]
  np.testing.assert_allclose(difference, 1 - STRENGTH, atol=1e-6)
