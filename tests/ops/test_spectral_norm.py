"""Spectral norm: PyTorch's numbers, singular values, what is left alone."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import spectral_norm

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "ugatit_step.npz"
KEY = jax.random.key(3)


def test_equals_pytorch_with_its_gradient() -> None:
  with np.load(GOLDEN) as file:
    golden = {
      name.removeprefix("spectral/"): jnp.asarray(file[name])
      for name in file.files
      if name.startswith("spectral/")
    }

  @jax.jit
  def both(kernel: jax.Array) -> tuple:
    found, pull = jax.vjp(
      lambda k: spectral_norm.spectral_norm(k, golden["vector"]), kernel
    )
    # Nothing passes through the vectors, whatever their cotangent.
    return found, pull((golden["cotangent"], jnp.ones_like(found[1])))

  (normal, following), (gradient,) = both(golden["kernel"])
  np.testing.assert_allclose(normal, golden["normal"], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(following, golden["next"], rtol=1e-5)
  np.testing.assert_allclose(gradient, golden["gradient"], rtol=1e-4, atol=1e-5)


def test_iterations_find_the_largest_singular_value() -> None:
  rng = np.random.default_rng(0)
  kernel = jnp.asarray(rng.normal(size=(3, 3, 4, 6)), jnp.float32)
  vector = jnp.ones(6) / np.sqrt(6)
  iterate = jax.jit(spectral_norm.spectral_norm)
  for _ in range(60):
    normal, vector = iterate(kernel, vector)
  matrix = np.asarray(normal, np.float64).reshape(-1, 6)
  assert np.linalg.norm(matrix, 2) == pytest.approx(1, abs=1e-3)
  assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_trees_keep_what_has_no_vector() -> None:
  rng = np.random.default_rng(0)

  def draw(*shape: int) -> jax.Array:
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  params = {
    "a": {"kernel": draw(2, 2, 3, 4), "bias": draw(4)},
    "b": {"mix": {"kernel": draw(5, 2)}, "gap": draw(5, 1)},
  }
  vectors = jax.jit(lambda p: spectral_norm.start(KEY, p, plain=("mix",)))(
    params
  )
  assert jax.tree.map(jnp.shape, vectors) == {
    "a": {"kernel": (4,)},
    "b": {"gap": (1,)},
  }
  normal, following = jax.jit(spectral_norm.normalized)(params, vectors)
  assert jax.tree.structure(normal) == jax.tree.structure(params)
  assert jax.tree.structure(following) == jax.tree.structure(vectors)
  # One column is a vector, and its norm is its length.
  assert np.linalg.norm(normal["b"]["gap"]) == pytest.approx(1, abs=1e-5)
  for net, name in (("a", "bias"), ("b", "mix")):
    for x, y in zip(
      *map(jax.tree.leaves, (params[net][name], normal[net][name]))
    ):
      np.testing.assert_array_equal(x, y)
  assert not np.allclose(normal["a"]["kernel"], params["a"]["kernel"])
