"""Perceptual distances over sets, and path lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.metrics import lpips, ppl
from chibijax.models import features


@pytest.fixture(scope="module")
def distance() -> features.PerceptualDistance:
  trunk = features.untrained("squeezenet", jax.random.key(0))
  return features.PerceptualDistance(trunk=trunk)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


def test_pairs(
  distance: features.PerceptualDistance, pictures: np.ndarray
) -> None:
  other = pictures.copy()
  other[1:] = 255 - other[1:]
  got = lpips.distances(pictures, other, distance, batch=2)
  assert got[0] < 1e-10 and got[1:].min() > 1e-3
  swapped = lpips.distances(other, pictures, distance, batch=2)
  np.testing.assert_allclose(got, swapped, rtol=1e-5)
  whole = lpips.paired(pictures, other, distance, batch=2)
  assert whole.value == pytest.approx(got.mean(), rel=1e-6)
  assert whole.method.startswith("PD-squeeze-random at 32x32 px")
  with pytest.raises(ValueError, match="no pairs"):
    lpips.paired(pictures[:0], other[:0], distance)


def test_diversity(
  distance: features.PerceptualDistance, pictures: np.ndarray
) -> None:
  first, second = np.triu_indices(5, 1)
  want = lpips.distances(pictures[first], pictures[second], distance, batch=2)
  got = lpips.diversity(pictures, distance, batch=2)
  assert got.value == pytest.approx(want.mean(), rel=1e-5)
  assert got.n == 10
  few = lpips.diversity(pictures, distance, pairs=4, batch=2)
  assert few.n == 4
  collapsed = np.repeat(pictures[:1], 4, 0)
  assert lpips.diversity(collapsed, distance, batch=2).value < 1e-10


def test_path_length_of_known_generators() -> None:
  # Squared distance of the latents themselves: on a line |b - a|^2.
  def squared(x, y):
    return jnp.square(x - y).sum((1, 2, 3))

  def generate(z):
    return z[:, None, None, :]

  def sample(key, n):
    ends = jnp.zeros((n, 3)).at[: n // 2, 0].set(2.0)
    return ends

  got = ppl.path_length(
    generate, sample, squared, space="w", count=10, batch=4, epsilon=0.01,
    key=jax.random.key(0),
  )  # fmt: skip
  # The step is 0.02 long; float32 leaves 3e-6 of it.
  assert got.value == pytest.approx(4, rel=1e-3)
  assert got.n == 10

  # On the sphere a quarter turn: a step of (pi / 2) epsilon.
  def orthogonal(key, n):
    a = jnp.tile(jnp.array([[3.0, 0, 0]]), (n // 2, 1))
    return jnp.concatenate([a, jnp.roll(a, 1, 1)])

  got = ppl.path_length(
    generate, orthogonal, squared, count=8, batch=8, epsilon=0.01,
    key=jax.random.key(0),
  )  # fmt: skip
  assert got.value == pytest.approx((np.pi / 2) ** 2, rel=1e-3)
  with pytest.raises(ValueError, match="count is 0"):
    ppl.path_length(generate, sample, squared, count=0, key=jax.random.key(0))


def test_slerp_ends_and_middle() -> None:
  a, b = jnp.array([[2.0, 0]]), jnp.array([[0, 5.0]])
  for t, want in ((0.0, [1, 0]), (1.0, [0, 1]), (0.5, [0.5**0.5] * 2)):
    got = ppl.slerp(a, b, jnp.array([[t]]))
    np.testing.assert_allclose(got, [want], atol=1e-6)
