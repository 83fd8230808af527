"""PSNR and SSIM against scikit-image and closed forms."""

from collections.abc import Iterator

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from chibijax.metrics import psnr_ssim

skimage_metrics = pytest.importorskip("skimage.metrics")


def _pair() -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  x = rng.uniform(size=(3, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
  y = np.clip(x + rng.normal(0, 0.1, x.shape), 0, 1)
  return x.astype(np.float32), y.astype(np.float32)


def test_psnr_against_scikit_image() -> None:
  x, y = _pair()
  ours = psnr_ssim.psnr(jnp.asarray(x), jnp.asarray(y))
  for i in range(3):
    theirs = skimage_metrics.peak_signal_noise_ratio(x[i], y[i], data_range=1)
    assert ours[i] == pytest.approx(theirs, abs=1e-3)


def test_ssim_against_scikit_image() -> None:
  x, y = _pair()
  ours = psnr_ssim.ssim(jnp.asarray(x), jnp.asarray(y))
  for i in range(3):
    _, surface = skimage_metrics.structural_similarity(
      x[i],
      y[i],
      data_range=1,
      channel_axis=-1,
      gaussian_weights=True,
      use_sample_covariance=False,
      full=True,
    )
    # Without the border that scikit-image pads and ours leaves out.
    assert ours[i] == pytest.approx(surface[5:-5, 5:-5].mean(), abs=1e-4)


def test_equal_pictures() -> None:
  x = jnp.asarray(_pair()[0])
  assert np.all(np.asarray(psnr_ssim.psnr(x, x)) == 100.0)
  np.testing.assert_allclose(psnr_ssim.ssim(x, x), 1.0, atol=1e-6)
  assert np.all(np.asarray(psnr_ssim.l1(x, x)) == 0.0)


def test_order_of_quality() -> None:
  x, y = map(jnp.asarray, _pair())
  worse = 1.0 - x
  assert np.all(np.asarray(psnr_ssim.psnr(x, y) > psnr_ssim.psnr(x, worse)))
  assert np.all(np.asarray(psnr_ssim.ssim(x, y) > psnr_ssim.ssim(x, worse)))
  assert np.all(np.asarray(psnr_ssim.l1(x, y) < psnr_ssim.l1(x, worse)))


@pytest.fixture
def unchecked() -> Iterator[None]:
  """Shape checks off, as for a user: what the function itself says."""
  jaxtyping.config.update("jaxtyping_disable", True)
  yield
  jaxtyping.config.update("jaxtyping_disable", False)


def test_refusals(unchecked: None) -> None:
  with pytest.raises(ValueError, match="equal shapes"):
    psnr_ssim.psnr(jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 16, 17, 3)))
  with pytest.raises(ValueError, match="11x11"):
    psnr_ssim.ssim(jnp.zeros((1, 8, 16, 3)), jnp.zeros((1, 8, 16, 3)))
