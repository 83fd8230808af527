"""What keeps an adapted generator like its source: on rows that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.losses import correspondence

ROWS = jnp.asarray(
  np.random.default_rng(0).normal(size=(5, 2, 2, 3)), jnp.float32
)


def test_consistency_sees_likeness_and_not_size() -> None:
  loss = correspondence.distance_consistency
  assert float(loss(ROWS, 7 * ROWS)) == pytest.approx(0, abs=1e-6)
  assert float(loss(ROWS, ROWS[::-1])) > 0.01
  close = jax.jit(lambda x: loss(ROWS, x))
  check_grads(lambda x: close(jnp.asarray(x)), (ROWS + 0.5,), 1, modes=["rev"])


def test_consistency_equals_the_papers_formula() -> None:
  rows = [np.asarray(x).reshape(5, -1) for x in (ROWS, jnp.sin(3 * ROWS))]
  spread = []
  for x in rows:
    norm = np.linalg.norm(x, axis=1)
    cosine = x @ x.T / np.outer(norm, norm)
    np.fill_diagonal(cosine, -np.inf)
    share = np.exp(cosine)
    spread.append(share / share.sum(1, keepdims=True))
  p, q = spread
  off = ~np.eye(5, dtype=bool)
  expected = (p[off] * np.log(p[off] / q[off])).sum() / 5
  found = correspondence.distance_consistency(ROWS, jnp.sin(3 * ROWS))
  assert float(found) == pytest.approx(expected, rel=1e-4)


def test_order_is_that_of_distances() -> None:
  kept = correspondence.order_kept
  # A shift and a scale change no order; rows in another order do.
  assert float(kept(ROWS, 2 - 3 * ROWS)) == pytest.approx(1, abs=1e-4)
  assert float(kept(ROWS, jnp.roll(ROWS[::-1], 1, 0) ** 3)) < 0.9
  assert abs(float(kept(ROWS, jnp.ones_like(ROWS)))) < 1e-3
  flat = jnp.ones_like(ROWS)
  slope = jax.jit(jax.grad(lambda x: kept(ROWS, x)))(flat)
  assert np.isfinite(slope).all()
