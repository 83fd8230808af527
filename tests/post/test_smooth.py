"""Guided filter against a float64 reference, blurs, the smoothing of photos."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.post import smooth


def random(*shape: int, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).random(shape, np.float32)


def box_reference(plane: np.ndarray, radius: int) -> np.ndarray:
  """Means by cumulative sums, float64."""
  height, width = plane.shape[:2]
  total = np.zeros((height + 1, width + 1, *plane.shape[2:]))
  total[1:, 1:] = plane.astype(np.float64).cumsum(0).cumsum(1)
  rows, columns = np.arange(height), np.arange(width)
  top, bottom = (
    np.maximum(rows - radius, 0),
    np.minimum(rows + radius + 1, height),
  )
  left = np.maximum(columns - radius, 0)
  right = np.minimum(columns + radius + 1, width)
  area = (bottom - top)[:, None] * (right - left)[None]
  sums = (
    total[bottom][:, right]
    - total[top][:, right]
    - total[bottom][:, left]
    + total[top][:, left]
  )
  return sums / area.reshape(area.shape + (1,) * (plane.ndim - 2))


def guided_reference(
  image: np.ndarray, guide: np.ndarray, radius: int, epsilon: float
) -> np.ndarray:
  """He, Sun, Tang 2010, equations 19 to 21, solved pixel by pixel."""
  image, guide = image.astype(np.float64), guide.astype(np.float64)
  mean_g, mean_p = box_reference(guide, radius), box_reference(image, radius)
  outer = guide[..., :, None] * guide[..., None, :]
  covariance = box_reference(outer, radius) - (
    mean_g[..., :, None] * mean_g[..., None, :]
  )
  cross = box_reference(guide[..., :, None] * image[..., None, :], radius)
  cross -= mean_g[..., :, None] * mean_p[..., None, :]
  slopes = np.linalg.solve(covariance + epsilon * np.eye(3), cross)
  offset = mean_p - np.einsum("hwgc,hwg->hwc", slopes, mean_g)
  slopes, offset = box_reference(slopes, radius), box_reference(offset, radius)
  return np.einsum("hwgc,hwg->hwc", slopes, guide) + offset


@pytest.mark.parametrize("radius", [0, 1, 4])
def test_box_is_the_mean(radius: int) -> None:
  planes = random(23, 31, 2)
  np.testing.assert_allclose(
    smooth.box(jnp.asarray(planes), radius),
    box_reference(planes, radius),
    atol=1e-6,
  )


@pytest.mark.parametrize(("channels", "epsilon"), [(1, 1e-3), (3, 0.01)])
def test_guided_filter_is_the_reference(channels: int, epsilon: float) -> None:
  guide = random(40, 36, 3)
  guide[:, 18:] *= 0.2
  image = random(40, 36, channels, seed=1) * 0.2 + guide[..., :1]
  found = smooth.guided_filter(
    jnp.asarray(image), jnp.asarray(guide), radius=3, epsilon=epsilon
  )
  # float32 covariances against float64's.
  np.testing.assert_allclose(
    found, guided_reference(image, guide, 3, epsilon), atol=2e-4
  )


def test_guided_filter_batches_and_jits() -> None:
  pictures = jnp.asarray(random(2, 12, 10, 3))

  def run(x):
    return smooth.guided_filter(x, x, radius=2, epsilon=0.01, subsample=2)

  both = jax.vmap(run)(pictures)
  for one, picture in zip(both, pictures):
    with jax.disable_jit():
      eager = run(picture)
    # Fused sums round otherwise.
    np.testing.assert_allclose(one, eager, atol=1e-5)


def test_subsampling_is_close_on_smooth_pictures() -> None:
  noise = jnp.asarray(random(64, 64, 3))
  picture = smooth.gaussian(noise, 3.0)
  exact, fast = (
    smooth.guided_filter(picture, picture, radius=8, epsilon=0.01, subsample=s)
    for s in (1, 4)
  )
  # Windows are rounded to whole small pixels.
  assert float(jnp.abs(exact - fast).mean()) < 0.01


def test_guided_filter_has_gradients() -> None:
  image = jnp.asarray(random(7, 7, 3))
  guide = jnp.asarray(random(7, 7, 3, seed=1))

  def run(*pair):
    image, guide = map(jnp.asarray, pair)
    return smooth.guided_filter(image, guide, radius=2, epsilon=0.05)

  # Differences in float32.
  check_grads(
    run, (image, guide), 1, modes=["rev"], eps=1e-3, atol=0.02, rtol=0.02
  )


@pytest.mark.parametrize("sigma", [0, 0.7, 2.0, 9.0])
def test_gaussian_keeps_means_and_constants(sigma: float) -> None:
  flat = jnp.full((40, 48, 2), 0.3)
  np.testing.assert_allclose(smooth.gaussian(flat, sigma), flat, atol=1e-6)
  dot = jnp.zeros((65, 65, 1)).at[32, 32].set(1)
  blurred = np.asarray(smooth.gaussian(dot, sigma))[..., 0]
  assert blurred.sum() == pytest.approx(1, abs=0.02)
  if sigma:
    y, x = np.mgrid[:65, :65] - 32
    # Cut at 2.5 sigma, and coarser where it is made on a smaller picture.
    assert (blurred * (x**2 + y**2) / 2).sum() == pytest.approx(
      sigma**2, rel=0.2
    )


def step_edge() -> np.ndarray:
  """Two noisy halves."""
  picture = np.full((64, 64, 3), 0.25, np.float32)
  picture[:, 32:] = 0.75
  return picture + 0.04 * (random(64, 64, 3) - 0.5)


def test_smooth_takes_noise_and_leaves_edges() -> None:
  picture = step_edge()
  found = np.asarray(smooth.smooth(picture, strength=0.5, radius=0.05))
  assert found[8:56, 6:26].std() < 0.4 * picture[8:56, 6:26].std()
  assert found[:, 34:].mean() - found[:, :30].mean() > 0.45
  assert found[32, 33].mean() - found[32, 30].mean() > 0.35


def test_more_strength_is_smoother() -> None:
  picture = step_edge()
  rough = [
    np.abs(
      np.diff(np.asarray(smooth.smooth(picture, strength=s)), axis=0)
    ).sum()
    for s in (0.0, 0.2, 0.6, 1.0)
  ]
  assert rough == sorted(rough, reverse=True)


def test_strength_zero_changes_nothing_and_alpha_stays() -> None:
  picture = random(20, 30, 4)
  picture[:5, :, 3] = 0
  np.testing.assert_array_equal(smooth.smooth(picture, strength=0), picture)
  found = np.asarray(smooth.smooth(picture, strength=0.8))
  np.testing.assert_array_equal(found[..., 3], picture[..., 3])
  np.testing.assert_array_equal(found[:5], picture[:5])
  assert found.shape == picture.shape
  assert 0 <= found.min() and found.max() <= 1


def test_hidden_colour_does_not_bleed() -> None:
  picture = np.zeros((32, 32, 4), np.float32)
  picture[:, :16] = (0.8, 0.2, 0.2, 1)
  picture[:, 16:] = (0.0, 1.0, 0.0, 0)
  found = np.asarray(smooth.smooth(picture, strength=1.0, radius=0.1))
  np.testing.assert_allclose(found[:, :16, 1], 0.2, atol=0.02)


def test_mistakes_are_sentences() -> None:
  picture = random(8, 8, 3)
  with pytest.raises(ValueError, match="strength must be in"):
    smooth.smooth(picture, strength=1.5)
  with pytest.raises(ValueError, match="radius must be in"):
    smooth.smooth(picture, radius=0)
  with pytest.raises(ValueError, match="3 or 4 channels"):
    smooth.smooth(picture[..., :1])
