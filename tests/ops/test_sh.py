"""Spherical harmonics against Legendre's formula and their own definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.ops import sh
from tests.ops.splat import oracle


def directions(n=50):
  v = np.random.default_rng(3).normal(size=(n, 3))
  return v / np.linalg.norm(v, axis=-1, keepdims=True)


@pytest.mark.parametrize("degree", range(5))
def test_basis(degree):
  v = directions()
  values = sh.basis(jnp.asarray(v, jnp.float32), degree)
  expected = [
    oracle.harmonic(n, m, v)
    for n in range(degree + 1)
    for m in range(-n, n + 1)
  ]
  # Values reach 2; float32 polynomials of degree 4.
  np.testing.assert_allclose(values, np.stack(expected, axis=-1), 0, 3e-6)


def test_signs_of_files_of_splats():
  # What is published with the first papers: degree 1 is .4886 (-y, z, -x).
  v = jnp.array([[0.48, 0.6, 0.64]])
  x, y, z = v[0]
  values = sh.basis(v, 3)[0]
  expected = [0.28209479, -0.48860251 * y, 0.48860251 * z, -0.48860251 * x]
  expected += [1.09254843 * x * y, -1.09254843 * y * z]
  expected += [0.31539157 * (2 * z * z - x * x - y * y)]
  expected += [-1.09254843 * x * z, 0.54627422 * (x * x - y * y)]
  expected += [-0.59004359 * y * (3 * x * x - y * y), 2.89061144 * x * y * z]
  np.testing.assert_allclose(values[:11], jnp.stack(expected), 1e-5, 1e-7)


@pytest.mark.parametrize("count", [1, 4, 9, 16, 25])
def test_evaluate_sums_and_ignores_length(count):
  rng = np.random.default_rng(count)
  v = directions(6).reshape(2, 3, 3)
  coefficients = rng.normal(size=(2, 3, count, 5))
  degree = sh.degree_of(count)
  values = np.stack(
    [
      oracle.harmonic(n, m, v.reshape(-1, 3)).reshape(2, 3)
      for n in range(degree + 1)
      for m in range(-n, n + 1)
    ],
    axis=-1,
  )
  expected = np.einsum("abk,abkd->abd", values, coefficients)
  scaled = v * rng.uniform(0.1, 9, (2, 3, 1))
  actual = sh.evaluate(
    jnp.asarray(coefficients, jnp.float32), jnp.asarray(scaled, jnp.float32)
  )
  np.testing.assert_allclose(actual, expected, 0, 1e-5)


def test_gradients():
  rng = np.random.default_rng(1)
  coefficients = jnp.asarray(rng.normal(size=(2, 25, 2)), jnp.float32)
  v = jnp.asarray(directions(2) * 1.7, jnp.float32)
  # Float32 differences.
  check_grads(jax.jit(sh.evaluate), (coefficients, v), 1, ["rev"], 1e-2, 1e-2)


def test_zero_direction_is_finite():
  zero = jnp.zeros((1, 3))
  coefficients = jnp.ones((1, 25, 1))
  value, gradient = jax.value_and_grad(
    lambda v: sh.evaluate(coefficients, v).sum()
  )(zero)
  assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("count", [0, 2, 8, 36])
def test_refuses_other_counts(count):
  with pytest.raises(ValueError, match=rf"{count} .* expected 1, 4, 9, 16 or"):
    sh.degree_of(count)
