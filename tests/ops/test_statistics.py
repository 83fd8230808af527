"""Feature statistics, AdaIN, Gram matrices, colours: float64 NumPy, limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.ops import statistics


def _maps(seed: int = 0, shape=(2, 5, 7, 4)) -> np.ndarray:
  return np.random.default_rng(seed).normal(1.0, 2.0, shape)


def _f32(x: np.ndarray) -> jax.Array:
  return jnp.asarray(x, jnp.float32)


def _reference_moments(x: np.ndarray, share: np.ndarray):
  """Mean and deviation in float64; `share` adds up to 1 in each picture."""
  mean = (x * share).sum((1, 2), keepdims=True)
  variance = ((x - mean) ** 2 * share).sum((1, 2), keepdims=True)
  return mean, np.sqrt(variance + 1e-5)


def _mask(shape=(2, 5, 7, 1)) -> np.ndarray:
  mask = np.random.default_rng(5).uniform(0, 1, shape)
  mask[:, :2] = 0
  return mask


@pytest.mark.parametrize("masked", [False, True])
def test_mean_std_against_float64(masked: bool) -> None:
  x = _maps()
  mask = _mask() if masked else np.ones((2, 5, 7, 1))
  expected = _reference_moments(x, mask / mask.sum((1, 2), keepdims=True))
  found = statistics.mean_std(_f32(x), _f32(mask) if masked else None)
  # Rounding of float32 sums over 35 pixels.
  for ours, theirs in zip(found, expected):
    np.testing.assert_allclose(ours, theirs, rtol=3e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_gram_against_float64(masked: bool) -> None:
  x = _maps()
  mask = _mask() if masked else np.ones((2, 5, 7, 1))
  share = mask / mask.sum((1, 2), keepdims=True)
  flat = x.reshape(2, 35, 4)
  expected = flat.transpose(0, 2, 1) @ (flat * share.reshape(2, 35, 1)) / 4
  found = statistics.gram(_f32(x), _f32(mask) if masked else None)
  np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6)
  np.testing.assert_allclose(found, found.transpose(0, 2, 1), atol=1e-6)


def test_gram_is_float32_of_bfloat16_features() -> None:
  x = jnp.full((1, 64, 64, 2), 3.0, jnp.bfloat16)
  # In bfloat16 a sum of 4096 nines would stop growing.
  np.testing.assert_allclose(statistics.gram(x), np.full((1, 2, 2), 4.5))


def test_adain_against_float64_and_gives_the_styles_moments() -> None:
  x, y = _maps(0), _maps(1, (2, 3, 4, 4)) * 3 + 2
  mean, deviation = _reference_moments(x, np.full((2, 5, 7, 1), 1 / 35))
  goal, wide = _reference_moments(y, np.full((2, 3, 4, 1), 1 / 12))
  found = statistics.adain(_f32(x), _f32(y))
  np.testing.assert_allclose(
    found, (x - mean) / deviation * wide + goal, rtol=1e-5, atol=1e-5
  )
  for ours, theirs in zip(statistics.mean_std(found), (goal, wide)):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_adain_of_a_region_ignores_the_rest() -> None:
  x, y, mask = _maps(0), _maps(1), np.zeros((2, 5, 7, 1))
  mask[:, :3] = 1
  found = statistics.adain(_f32(x), _f32(y), _f32(mask))[:, :3]
  alone = statistics.adain(_f32(x[:, :3]), _f32(y))
  np.testing.assert_allclose(found, alone, atol=1e-5)


def test_an_empty_mask_and_a_flat_channel_stay_finite() -> None:
  x, nothing = jnp.ones((1, 4, 4, 3)), jnp.zeros((1, 4, 4, 1))

  def total(x):
    made = statistics.adain(x, x, nothing).sum()
    return made + statistics.gram(x, nothing).sum()

  value, grad = jax.value_and_grad(total)(x)
  assert np.isfinite(value) and np.isfinite(grad).all()
  np.testing.assert_array_equal(statistics.gram(x, nothing), 0)


def test_gradients() -> None:
  x, y = _f32(_maps(0, (1, 3, 3, 2))), _f32(_maps(1, (1, 2, 3, 2)))
  mask = _f32(_mask((1, 3, 3, 1)))

  def both(x, y, mask):
    x, y, mask = map(jnp.asarray, (x, y, mask))
    made = jnp.square(statistics.adain(x, y, mask)).mean()
    return made + jnp.square(statistics.gram(x, mask)).mean()

  check_grads(both, (x, y, mask), 1, ["rev"], rtol=1e-2, atol=1e-2)


def test_match_colors_gives_mean_and_covariance() -> None:
  rng = np.random.default_rng(0)
  image = rng.normal(0, 0.3, (1, 20, 20, 3)) @ rng.normal(0, 1, (3, 3))
  reference = rng.normal(0.2, 0.2, (1, 16, 16, 3)) @ rng.normal(0, 1, (3, 3))
  found = statistics.match_colors(_f32(image), _f32(reference))
  flat = np.asarray(found, np.float64).reshape(-1, 3)
  wanted = reference.reshape(-1, 3)
  np.testing.assert_allclose(flat.mean(0), wanted.mean(0), atol=1e-5)
  # 1e-5 is added to both covariances so that they can be inverted.
  np.testing.assert_allclose(
    np.cov(flat.T, bias=True), np.cov(wanted.T, bias=True), atol=2e-4
  )
  moved = statistics.match_colors(
    _f32(image), _f32(reference), covariance=False
  )
  np.testing.assert_allclose(
    moved - _f32(image),
    np.broadcast_to(wanted.mean(0) - image.mean((0, 1, 2)), image.shape),
    atol=1e-5,
  )


def test_match_colors_of_one_colour_and_of_itself() -> None:
  flat = jnp.full((1, 8, 8, 3), 0.25)
  image = _f32(np.random.default_rng(1).uniform(-1, 1, (1, 8, 8, 3)))
  found = statistics.match_colors(image, flat)
  assert np.isfinite(found).all()
  # A picture of one colour has a deviation of 0.003 by the added 1e-5.
  np.testing.assert_allclose(found, flat, atol=0.02)
  assert np.isfinite(statistics.match_colors(flat, image)).all()
  np.testing.assert_allclose(
    statistics.match_colors(image, image), image, atol=1e-4
  )
