"""1 - SSIM as a loss, against the metric."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.losses import structure
from chibijax.metrics import psnr_ssim


@pytest.mark.parametrize("shape", [(2, 24, 17, 3), (1, 11, 11, 1)])
def test_dssim_is_one_minus_the_metric(shape: tuple[int, ...]) -> None:
  x, y = jnp.asarray(np.random.default_rng(0).random((2, *shape)), jnp.float32)
  y = 0.7 * x + 0.3 * y
  expected = 1 - psnr_ssim.ssim(x, y).mean()
  # Products summed in another order.
  np.testing.assert_allclose(structure.dssim(x, y), expected, atol=1e-5)


def test_equal_and_flat_pictures() -> None:
  flat = jnp.full((1, 12, 12, 3), 0.3)
  loss, gradient = jax.value_and_grad(structure.dssim)(flat, flat)
  # Rounding of variances near 0 against the constant 9e-4.
  assert float(loss) == pytest.approx(0, abs=1e-4)
  assert jnp.isfinite(gradient).all()


def test_gradient_agrees_with_finite_differences() -> None:
  x, y, way = np.random.default_rng(1).random((3, 1, 12, 13, 1))
  x, y, way = (jnp.asarray(v, jnp.float32) for v in (x, y, way - 0.5))
  slope = jnp.vdot(jax.grad(structure.dssim)(x, y), way)
  step = 1e-2
  up, down = (structure.dssim(x + s * step * way, y) for s in (1, -1))
  # Second order in the step, and float32.
  assert float(slope) == pytest.approx(float(up - down) / (2 * step), rel=2e-2)


def test_bad_shapes_are_named() -> None:
  with pytest.raises(ValueError, match="at least 11"):
    structure.dssim(jnp.zeros((1, 10, 12, 3)), jnp.zeros((1, 10, 12, 3)))
