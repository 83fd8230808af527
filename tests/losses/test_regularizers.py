"""Penalties on functions whose gradients are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.losses import regularizers

IMAGES = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))


def test_squared_gradient_of_a_known_function() -> None:
  scores, slope = regularizers.squared_gradient(
    lambda x: jnp.square(x).sum((1, 2, 3)), IMAGES
  )
  expected = np.square(IMAGES).sum((1, 2, 3))
  np.testing.assert_allclose(scores, expected, rtol=1e-5)
  np.testing.assert_allclose(slope, 4 * expected, rtol=1e-5)
  assert float(regularizers.zero_centered(slope)) == pytest.approx(
    2 * expected.mean(), rel=1e-5
  )


def test_of_patches_the_mean_score_counts() -> None:
  scores, slope = regularizers.squared_gradient(lambda x: 3 * x, IMAGES)
  np.testing.assert_allclose(scores, 3 * IMAGES, rtol=1e-6)
  # 32 numbers a picture, each with a slope of 3 / 32.
  np.testing.assert_allclose(slope, [9 / 32] * 3, rtol=1e-5)


def test_penalties_have_second_derivatives() -> None:
  weights = 0.3 * jax.random.normal(jax.random.key(1), (32, 5))

  def penalty(w, centred):
    def score(x):
      return jnp.tanh(x.reshape(len(x), -1) @ w).sum(-1)

    return centred(regularizers.squared_gradient(score, IMAGES)[1])

  for centred in (regularizers.zero_centered, regularizers.one_centered):
    check_grads(
      lambda w, c=centred: penalty(w, c), (weights,), 1, ["rev"], rtol=2e-2
    )


def test_one_centred_penalty_is_least_at_one_and_finite_at_zero() -> None:
  value = jax.value_and_grad(regularizers.one_centered)
  assert float(value(jnp.ones(3))[0]) == 0
  loss, gradient = value(jnp.zeros(3))
  assert float(loss) == 1 and np.isfinite(gradient).all()


def test_mixed_ends_at_both_pictures() -> None:
  share = jnp.array([0.0, 0.25, 1.0])
  found = regularizers.mixed(IMAGES, jnp.zeros_like(IMAGES), share)
  np.testing.assert_allclose(found, share.reshape(-1, 1, 1, 1) * IMAGES)


def test_kl_of_gaussians() -> None:
  zero = jnp.zeros((2, 3))
  assert float(regularizers.gaussian_kl(zero, zero)) == 0
  # KL(N(2, 1) | N(0, 1)) = 2, three times.
  assert float(regularizers.gaussian_kl(zero + 2, zero)) == pytest.approx(6)
