"""Losses against closed forms."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.losses import adversarial, translation


@pytest.fixture
def unchecked() -> Iterator[None]:
  """Shape checks off, as for a user: what the function itself says."""
  jaxtyping.config.update("jaxtyping_disable", True)
  yield
  jaxtyping.config.update("jaxtyping_disable", False)


def test_least_squares_closed_form() -> None:
  scores = jnp.array([[0.0, 1.0], [2.0, -1.0]])
  assert adversarial.least_squares(scores, 0.0) == pytest.approx(1.5)
  assert adversarial.least_squares(scores, 1.0) == pytest.approx(1.5)
  assert adversarial.least_squares_generator(jnp.ones((2, 3))) == 0.0


def test_discriminator_loss_is_half_and_takes_two_shapes() -> None:
  real, fake = jnp.zeros((2, 3, 3, 1)), jnp.ones((4, 2, 2, 1))
  assert adversarial.least_squares_discriminator(real, fake) == 1.0
  assert adversarial.least_squares_discriminator(fake, real) == 0.0
  # A discriminator that cannot tell scores 1/2 everywhere.
  half = jnp.full((2, 2), 0.5)
  assert adversarial.least_squares_discriminator(half, half) == 0.25


def test_pixel_losses_closed_form_and_float32_result() -> None:
  x = jnp.full((2, 4, 4, 3), 0.5, jnp.bfloat16)
  y = jnp.full((2, 4, 4, 3), -0.25, jnp.bfloat16)
  for loss in (translation.cycle_consistency, translation.identity):
    value = loss(x, y)
    assert value.dtype == jnp.float32
    assert value == 0.75


def test_losses_gradients() -> None:
  x, y = jax.random.normal(jax.random.key(0), (2, 2, 3, 3, 1))
  # Small steps: |x| must not change its sign between the two differences.
  for loss in (adversarial.least_squares_discriminator, translation.l1):

    def of_arrays(x, y, loss=loss):  # the differences are NumPy's
      return loss(jnp.asarray(x), jnp.asarray(y))

    check_grads(of_arrays, (x, y), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_l1_refuses_broadcasting(unchecked: None) -> None:
  with pytest.raises(ValueError, match="equal shapes"):
    translation.l1(jnp.zeros((2, 3)), jnp.zeros((2, 1)))
  assert np.isfinite(translation.l1(jnp.zeros((2, 1)), jnp.ones((2, 1))))
