"""Style losses against float64 NumPy, and what masks and weights mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.losses import style


def _maps(seed: int, rows: int = 1) -> dict[str, jax.Array]:
  rng = np.random.default_rng(seed)
  shapes = {"one": (rows, 8, 8, 3), "two": (rows, 4, 4, 5)}
  return {
    name: jnp.asarray(rng.normal(0.5, 1, shape), jnp.float32)
    for name, shape in shapes.items()
  }


def _gram(x: jax.Array) -> np.ndarray:
  x = np.asarray(x, np.float64)
  flat = x.reshape(len(x), -1, x.shape[-1])
  return flat.transpose(0, 2, 1) @ flat / flat[0].size


def _distance(a: np.ndarray, b: np.ndarray, relative: bool) -> float:
  axes = tuple(range(1, a.ndim))
  scale = (b**2).mean(axes) if relative else 1
  return (((a - b) ** 2).mean(axes) / scale).mean()


@pytest.mark.parametrize("relative", [False, True])
def test_content_and_gram_against_float64(relative: bool) -> None:
  x, y = _maps(0, 2), _maps(1, 2)
  content = gram = 0.0
  for name in ("one", "two"):
    a, b = (np.asarray(m[name], np.float64) for m in (x, y))
    content += _distance(a, b, relative)
    a, b = _gram(x[name]), _gram(y[name])
    gram += _distance(a, b, relative)
  layers = ("one", "two")
  target = style.style_target(y, layers)
  assert float(style.content(x, y, layers, relative=relative)) == pytest.approx(
    content, rel=1e-5
  )
  assert float(style.gram(x, [target], relative=relative)) == pytest.approx(
    gram, rel=1e-5
  )


def test_moments_against_float64() -> None:
  x, y = _maps(0, 2), _maps(1, 2)
  expected = 0.0
  for name in ("one", "two"):
    moments = []
    for maps in (x, y):
      value = np.asarray(maps[name], np.float64)
      moments.append((value.mean((1, 2)), np.sqrt(value.var((1, 2)) + 1e-5)))
    expected += sum(((a - b) ** 2).mean() for a, b in zip(*moments))
  found = style.moments(x, y, ("one", "two"))
  assert float(found) == pytest.approx(expected, rel=1e-5)


def test_total_variation_against_float64() -> None:
  x = np.random.default_rng(0).uniform(-1, 1, (2, 6, 7, 3))
  expected = (np.diff(x, axis=1) ** 2).mean() + (np.diff(x, axis=2) ** 2).mean()
  found = style.total_variation(jnp.asarray(x, jnp.float32))
  assert float(found) == pytest.approx(expected, rel=1e-5)


def test_several_styles_are_weighted() -> None:
  x, layers = _maps(0), ("one", "two")
  each = [style.style_target(_maps(i), layers) for i in (1, 2)]
  alone = [float(style.gram(x, [target])) for target in each]
  both = style.gram(
    x, [each[0]._replace(weight=0.25), each[1]._replace(weight=0.75)]
  )
  assert float(both) == pytest.approx(0.25 * alone[0] + 0.75 * alone[1])


def test_a_masked_style_sees_its_region_alone() -> None:
  x, y = _maps(0), _maps(1)
  mask = jnp.zeros((1, 8, 8, 1)).at[:, :, :4].set(1)
  target = style.style_target(y, ("one", "two"), mask=mask)
  found, grad = jax.value_and_grad(lambda x: style.gram(x, [target]))(x)
  left = {name: value[:, :, : value.shape[2] // 2] for name, value in x.items()}
  alone = style.gram(left, [target._replace(mask=None)])
  # Half of the picture counts half.
  assert float(found) == pytest.approx(0.5 * float(alone), rel=1e-5)
  for value in grad.values():
    middle = value.shape[2] // 2
    assert not np.asarray(value[:, :, middle:]).any()
    assert np.asarray(value[:, :, :middle]).any()
  # A mask of everything is no mask.
  whole = style.gram(x, [target._replace(mask=jnp.ones((1, 8, 8, 1)))])
  plain = style.gram(x, [target._replace(mask=None)])
  assert float(whole) == pytest.approx(float(plain), rel=1e-5)


def test_losses_are_zero_at_their_targets_and_shapes_are_checked() -> None:
  x, layers = _maps(0), ("one", "two")
  assert float(style.content(x, x, layers)) == 0
  assert float(style.moments(x, x, layers)) == 0
  assert float(style.gram(x, [style.style_target(x, layers)])) == 0
  with pytest.raises(ValueError, match="target"):
    style.content(x, _maps(1, 2), layers)


def test_gradients() -> None:
  x, y = _maps(0), _maps(1)
  target = style.style_target(y, ("two",))

  def loss(x):
    x = jnp.asarray(x)
    maps = {"two": x}
    total = style.gram(maps, [target], relative=True)
    return total + style.moments(maps, y, ("two",)) + style.total_variation(x)

  check_grads(loss, (x["two"],), 1, ["rev"], rtol=1e-2, atol=1e-2)
