"""Instance normalisation against its definition in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.ops.normalization import instance_norm


def _random(*shape):
  rng = np.random.default_rng(shape)
  return jnp.asarray(3 + 2 * rng.standard_normal(shape), jnp.float32)


def _reference(x, eps):
  x = np.float64(x)
  centred = x - x.mean((1, 2), keepdims=True)
  variance = (centred**2).mean((1, 2), keepdims=True)
  return centred / np.sqrt(variance + eps)


@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (1, 16, 16, 40), (3, 1, 2, 1)])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_value(shape, eps):
  x = _random(*shape)
  y = jax.jit(functools.partial(instance_norm, eps=eps))(x)
  # Three rounded operations on values of the order of 1.
  np.testing.assert_allclose(y, _reference(x, eps), atol=5e-6)


def test_gradient():
  x, g = _random(2, 6, 5, 4), _random(2, 6, 5, 4)
  _, pullback = jax.vjp(instance_norm, x)
  (dx,) = jax.jit(pullback)(g)
  # dx = (g - mean g - y mean(g y)) / sigma, Ioffe & Szegedy 2015.
  y, g = _reference(x, 1e-5), np.float64(g)
  sigma = np.sqrt(np.float64(x).var((1, 2), keepdims=True) + 1e-5)
  mean = functools.partial(np.mean, axis=(1, 2), keepdims=True)
  expected = (g - mean(g) - y * mean(g * y)) / sigma
  np.testing.assert_allclose(dx, expected, atol=2e-5)
  compiled = jax.jit(instance_norm)
  check_grads(compiled, (x,), order=2, modes=["rev"], atol=0.05, rtol=0.05)


def test_large_means_cost_no_accuracy():
  # A one-pass E[x^2] - E[x]^2 would lose all digits here.
  x = _random(1, 8, 8, 2) + np.float32(3000)
  np.testing.assert_allclose(
    jax.jit(instance_norm)(x), _reference(x, 1e-5), atol=2e-3
  )


def test_a_constant_picture_becomes_zero():
  y = instance_norm(jnp.full((1, 4, 4, 2), 7.0))
  np.testing.assert_array_equal(y, np.zeros((1, 4, 4, 2)))
  dx = jax.grad(lambda x: instance_norm(x).sum())(jnp.full((1, 4, 4, 2), 7.0))
  assert np.isfinite(dx).all()


def test_bfloat16_keeps_float32_statistics():
  x = jnp.asarray(_random(1, 64, 64, 2), jnp.bfloat16)
  y = jax.jit(instance_norm)(x)
  assert y.dtype == jnp.bfloat16
  # Half a unit in the last place of values up to 4; statistics add nothing.
  np.testing.assert_allclose(np.float64(y), _reference(x, 1e-5), atol=2**-7)


def test_pictures_are_independent():
  x = _random(3, 6, 6, 4)
  together = jax.jit(instance_norm)(x)
  for n in range(3):
    alone = jax.jit(instance_norm)(x[n : n + 1])
    np.testing.assert_allclose(together[n : n + 1], alone, atol=1e-6)
  mapped = jax.vmap(instance_norm)(x[:, None])
  np.testing.assert_allclose(mapped[:, 0], together, atol=1e-6)
