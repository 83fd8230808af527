"""U-GAT-IT's networks: counts as published, classifier, blends, sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.models import ugatit
from chibijax.ops import normalization

KEY = jax.random.key(5)
PICTURE = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)


def _count(net, x: jax.ShapeDtypeStruct = PICTURE) -> dict[str, int]:
  params = jax.eval_shape(net.init, KEY, x)["params"]
  return {
    name: sum(leaf.size for leaf in jax.tree.leaves(part))
    for name, part in params.items()
  }


def test_parameters_are_as_many_as_published() -> None:
  # 10.59 M and 278.96 M; 3.29 M and 53.13 M of each domain.
  assert sum(_count(ugatit.Generator()).values()) == 10_589_888
  assert sum(_count(ugatit.Generator(size=256)).values()) == 278_959_808
  assert _count(ugatit.Discriminators()) == {
    "local": 3_290_560,
    "global": 53_130_176,
  }


def test_shapes_at_256_pixels() -> None:
  made = jax.eval_shape(
    lambda k, x: ugatit.Generator().init_with_output(k, x)[0], KEY, PICTURE
  )
  assert made.images.shape == (1, 256, 256, 3)
  assert made.logits.shape == (1, 2) and made.heat.shape == (1, 64, 64)
  pair = jax.eval_shape(
    lambda k, x: ugatit.Discriminators().init_with_output(k, x)[0], KEY, PICTURE
  )
  assert [judged.scores.shape for judged in pair] == [
    (1, 30, 30, 1),
    (1, 6, 6, 1),
  ]
  assert [judged.logits.shape for judged in pair] == [(1, 2)] * 2


def _blend(x: np.ndarray, rho: np.ndarray) -> np.ndarray:
  """Equation 1 in float64."""
  x = x.astype(np.float64)

  def normal(axes: tuple[int, ...]) -> np.ndarray:
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(x.var(axes, ddof=1, keepdims=True) + 1e-5)

  return rho * normal((1, 2)) + (1 - rho) * normal((1, 2, 3))


def test_norms_against_numpy() -> None:
  rng = np.random.default_rng(0)
  x = rng.normal(3.0, 2.0, (2, 5, 4, 3)) * np.array([1.0, 0.1, 3.0])
  x = jnp.asarray(x, jnp.float32)
  rho, scale, bias = rng.uniform(0, 1, (3, 3)).astype(np.float32)
  expected = _blend(np.asarray(x), rho)
  given = {"params": {"rho": rho, "scale": scale, "bias": bias}}
  np.testing.assert_allclose(
    jax.jit(ugatit.Iln().apply)(given, x), expected * scale + bias, atol=2e-5
  )
  gamma, beta = rng.normal(size=(2, 2, 3)).astype(np.float32)
  np.testing.assert_allclose(
    jax.jit(ugatit.AdaLin().apply)({"params": {"rho": rho}}, x, gamma, beta),
    expected * gamma[:, None, None] + beta[:, None, None],
    atol=3e-5,
  )
  with pytest.raises(ValueError, match="more than one pixel"):
    normalization.instance_layer_norm(jnp.ones((1, 1, 1, 3)), jnp.ones(3))


def test_gradient_of_the_blend() -> None:
  x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 2, 2)), "f4")
  rho = jnp.array([0.3, 0.8])
  weights = jnp.asarray(np.random.default_rng(1).normal(size=x.shape), "f4")

  def loss(x, rho):
    return (normalization.instance_layer_norm(x, rho) * weights).sum()

  check_grads(jax.jit(loss), (x, rho), 1, ["rev"], atol=1e-2, rtol=1e-2)


def test_classifier_weighs_the_maps_that_it_judges_by() -> None:
  rng = np.random.default_rng(1)
  x = rng.normal(size=(2, 4, 6, 3)).astype(np.float32)
  gap, gmp = rng.normal(size=(2, 3, 1)).astype(np.float32)
  kernel = rng.normal(size=(1, 1, 6, 3)).astype(np.float32)
  bias = rng.normal(size=3).astype(np.float32)
  mix = {"kernel": kernel, "bias": bias}
  y, logits = jax.jit(ugatit.ClassActivation(jax.nn.relu).apply)(
    {"params": {"gap": gap, "gmp": gmp, "mix": mix}}, x
  )
  expected = [x.mean((1, 2)) @ gap[:, 0], x.max((1, 2)) @ gmp[:, 0]]
  np.testing.assert_allclose(logits, np.stack(expected, -1), atol=1e-5)
  maps = np.concatenate([x * gap[:, 0], x * gmp[:, 0]], -1) @ kernel[0, 0]
  np.testing.assert_allclose(y, np.maximum(maps + bias, 0), atol=1e-5)


def test_rhos_alone_are_clipped() -> None:
  values = jnp.array([-0.5, 0.25, 1.5])
  params = {
    "gen_ab": {"adalin_0": {"norm_0": {"rho": values}}},
    "gen_ba": {"norm_up_0": {"rho": values, "scale": values}},
  }
  clipped = ugatit.clip_rho(params)
  for rho in (
    clipped["gen_ab"]["adalin_0"]["norm_0"]["rho"],
    clipped["gen_ba"]["norm_up_0"]["rho"],
  ):
    assert rho.tolist() == [0.0, 0.25, 1.0]
  assert clipped["gen_ba"]["norm_up_0"]["scale"].tolist() == values.tolist()


def test_light_takes_other_sizes_and_full_does_not() -> None:
  nets = [ugatit.Generator(4, 1, size) for size in (0, 16)]
  spec = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
  light, full = (jax.eval_shape(net.init, KEY, spec) for net in nets)
  other = jax.ShapeDtypeStruct((2, 24, 12, 3), jnp.float32)
  made = jax.eval_shape(nets[0].apply, light, other)
  assert made.images.shape == other.shape
  with pytest.raises(ValueError, match="pictures of 16x16, got 24x12"):
    jax.eval_shape(nets[1].apply, full, other)
  with pytest.raises(ValueError, match="multiples of 4"):
    jax.eval_shape(
      nets[0].apply, light, jax.ShapeDtypeStruct((1, 18, 16, 3), jnp.float32)
    )
  with pytest.raises(ValueError, match="at least 96"):
    jax.eval_shape(
      ugatit.Discriminators().init,
      KEY,
      jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32),
    )
