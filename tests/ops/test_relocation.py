"""Moves of a fixed number of Gaussians, against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import relocation, rotation

KEY = jax.random.key(3)


@pytest.mark.parametrize("copies", [2, 3, 10, 51])
@pytest.mark.parametrize("opacity", [0.01, 0.3, 0.9, 0.99])
def test_split_keeps_the_picture(opacity: float, copies: int) -> None:
  each, factor = relocation.split(
    jnp.array([opacity]), jnp.array([copies], jnp.int32)
  )
  each, factor = float(each[0]), float(factor[0])
  # In the middle n copies let through what the one did.
  assert (1 - each) ** copies == pytest.approx(1 - opacity, rel=1e-4)
  # Along a line through it they cover as much, by quadrature in float64.
  x = np.linspace(-12, 12, 40_001)
  whole = np.trapezoid(opacity * np.exp(-(x**2) / 2), x)
  cover = 1 - (1 - each * np.exp(-((x / factor) ** 2) / 2)) ** copies
  # float32 sums of alternating terms up to 1 / (1 - opacity).
  assert np.trapezoid(cover, x) == pytest.approx(whole, rel=1e-3)
  assert factor < 1


def test_one_copy_and_too_many() -> None:
  opacities = jnp.array([0.3, 0.3, 0.3])
  each, factor = relocation.split(opacities, jnp.array([1, 51, 400]))
  assert float(each[0]) == pytest.approx(0.3, rel=1e-6)
  assert float(factor[0]) == 1
  assert float(each[1]) == float(each[2])


def test_dead_move_onto_live_in_proportion_to_opacity() -> None:
  count = 4000
  opacities = jnp.where(jnp.arange(count) % 2 == 0, 0.001, 0.2)
  opacities = opacities.at[1].set(0.8)
  scales = jnp.ones((count, 3)) * (1 + jnp.arange(count)[:, None])
  plan = relocation.relocate(KEY, opacities, scales)
  dead = np.asarray(plan.dead)
  np.testing.assert_array_equal(dead, np.arange(count) % 2 == 0)
  source = np.asarray(plan.source)
  np.testing.assert_array_equal(source[~dead], np.flatnonzero(~dead))
  assert (source[dead] % 2 == 1).all()
  # 2000 draws at 0.8 / (0.8 + 1999 * 0.2) are 4 on average.
  assert 1 <= (source[dead] == 1).sum() <= 12
  # Everything at one place has one opacity and scale, and their one picture.
  changed = np.asarray(plan.changed)
  assert changed[dead].all()
  for place in np.unique(source[changed])[:50]:
    group = np.flatnonzero(source == place)
    assert len(group) > 1 and changed[group].all()
    for x in (plan.opacities, plan.scales):
      assert np.ptp(np.asarray(x)[group], axis=0).max() == 0
    kept = (1 - float(plan.opacities[place])) ** len(group)
    assert kept == pytest.approx(1 - float(opacities[place]), rel=1e-4)
  same = ~changed
  np.testing.assert_array_equal(plan.opacities[same], opacities[same])
  np.testing.assert_array_equal(plan.scales[same], scales[same])


@pytest.mark.parametrize("opacity", [0.5, 0.001, float("nan")])
def test_nothing_moves_without_dead_or_without_live(opacity: float) -> None:
  opacities = jnp.full(5, opacity)
  plan = jax.jit(relocation.relocate)(KEY, opacities, jnp.ones((5, 3)))
  np.testing.assert_array_equal(plan.source, np.arange(5))
  assert not plan.dead.any() and not plan.changed.any()


def test_exploration_has_the_gaussians_covariance_and_spares_the_opaque() -> (
  None
):
  quat = jnp.array([0.3, -0.5, 0.7, 0.4])
  scale = jnp.array([0.5, 1.0, 0.1])
  count = 20_000
  opacities = jnp.where(jnp.arange(count) < count // 2, 0.0, 0.5)
  steps = relocation.explore(
    KEY, jnp.tile(quat, (count, 1)), jnp.tile(scale, (count, 1)), opacities
  )
  assert float(jnp.abs(steps[count // 2 :]).max()) < 1e-12
  turn = np.asarray(rotation.to_matrix(quat), np.float64)
  covariance = turn @ np.diag(np.square(scale)) @ turn.T
  gate = 1 / (1 + np.exp(-0.5))
  expected = gate**2 * covariance @ covariance
  found = np.cov(np.asarray(steps[: count // 2]).T)
  # 10,000 draws: a relative error of about 1 / sqrt(5,000) for each entry.
  np.testing.assert_allclose(found, expected, atol=0.06 * expected.max())
