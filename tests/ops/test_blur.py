"""Binomial filters against PyTorch, and what they keep."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.ops import blur

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "cut_step.npz"


@pytest.mark.parametrize("name", ["down", "up"])
def test_against_torch(name: str) -> None:
  with np.load(GOLDEN) as file:
    x, y, dy, dx = (
      jnp.asarray(file[f"blur/{key}"])
      for key in ("x", f"{name}/y", f"{name}/dy", f"{name}/dx")
    )
  ours, pull = jax.vjp(getattr(blur, name), x)
  # Sums of at most 16 products in another order.
  np.testing.assert_allclose(ours, y, atol=1e-6)
  np.testing.assert_allclose(pull(dy)[0], dx, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (7, 4)])
def test_sizes_constants_and_gradients(shape: tuple[int, int]) -> None:
  flat = jnp.full((1, *shape, 2), 0.7)
  small, large = blur.down(flat), blur.up(flat)
  assert small.shape[1:3] == tuple(-(-n // 2) for n in shape)
  assert large.shape[1:3] == tuple(2 * n for n in shape)
  for y in (small, large):
    np.testing.assert_allclose(y, 0.7, atol=1e-6)
  x = jax.random.normal(jax.random.key(0), flat.shape)
  for function in (blur.down, blur.up):
    plain = jax.jit(function)  # check_grads passes NumPy arrays
    check_grads(plain, (x,), 1, ["rev"], atol=1e-2, rtol=1e-2)


def test_a_single_row_is_refused() -> None:
  with pytest.raises(ValueError, match="at least 2"):
    blur.down(jnp.zeros((1, 1, 4, 1)))
