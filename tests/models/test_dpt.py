"""The DPT head's resizing and shapes; its golden is in test_avatar.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.models import dpt
from tests.models import avatar_golden as golden


def _inputs(side: int, width: int):
  level = jax.ShapeDtypeStruct((2, side, side, width), jnp.float32)
  picture = jax.ShapeDtypeStruct((2, 14 * side, 14 * side, 3), jnp.float32)
  return (level,) * 4, picture


def test_published_size() -> None:
  net = dpt.DptHead()
  made, variables = jax.eval_shape(
    net.init_with_output, jax.random.key(0), *_inputs(37, 768)
  )
  assert made.shape == (2, 296, 296, 256)
  count = sum(x.size for x in jax.tree.leaves(variables))
  assert count == 30_511_872 and round(count / 1e6, 2) == 30.51


def test_no_gradient_reaches_the_picture() -> None:
  net = dpt.DptHead((2, 2, 2, 2), hidden=2, features=2)
  levels, picture = jax.tree.map(
    lambda s: jax.random.normal(jax.random.key(s.size), s.shape), _inputs(2, 3)
  )
  params = golden.draw(net, levels, picture)

  def total(params, picture):
    return jnp.sum(net.apply({"params": params}, levels, picture) ** 2)

  grads, at_picture = jax.jit(jax.grad(total, (0, 1)))(params, picture)
  assert not at_picture.any()
  # The first fusion has nothing to add: its first unit is only stored.
  unused = grads["fusion_0"].pop("unit_1")
  assert not any(x.any() for x in jax.tree.leaves(unused))
  assert grads["project_0"]["kernel"].any() and grads["last"]["bias"].all()


@pytest.mark.parametrize("size", [(5, 7), (3, 4), (1, 1)])
def test_corners_stay_in_the_corners(size) -> None:
  # A linear map is reproduced exactly, between its corners.
  x = jnp.arange(3.0)[:, None] * 10 + jnp.arange(4.0)[None]
  made = dpt.resize_corners(x[None, :, :, None], size)[0, :, :, 0]
  rows, columns = (
    np.linspace(0, n - 1, m) for n, m in zip(x.shape, size, strict=True)
  )
  np.testing.assert_allclose(
    made, rows[:, None] * 10 + columns[None], atol=1e-5
  )


def test_four_levels_are_needed() -> None:
  levels, picture = _inputs(2, 3)
  with pytest.raises(ValueError, match="four levels, got 3"):
    jax.eval_shape(dpt.DptHead().init, jax.random.key(0), levels[:3], picture)
