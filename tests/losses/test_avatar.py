"""Losses of Gaussian heads: PyTorch's numbers, exact neighbours, memory."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from chibijax.losses import avatar, translation

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "avatar_losses.npz"
WEIGHTS = {"l1": 0.5, "box": 0.5, "perceptual": 0.01, "lifting": 10.0}


def test_terms_and_gradients_are_pytorchs() -> None:
  with np.load(GOLDEN) as file:
    golden = {k: jnp.asarray(v) for k, v in file.items()}

  def perceptual(x: jax.Array, y: jax.Array) -> jax.Array:
    a, b = (
      jax.nn.relu(
        jax.lax.conv_general_dilated(
          z, golden["kernel"], (1, 1), "VALID",
          dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
      )
      for z in (x, y)
    )  # fmt: skip
    return translation.l1(a, b)

  @jax.jit
  def loss(coarse: jax.Array, fine: jax.Array, points: jax.Array) -> tuple:
    terms = avatar.picture_terms(
      coarse, fine, golden["target"], golden["boxes"], 16, perceptual
    )
    terms["lifting"] = avatar.lifting(golden["vertices"], points)
    return sum(WEIGHTS[k] * v for k, v in terms.items()), terms

  grads, terms = jax.grad(loss, (0, 1, 2), has_aux=True)(
    *(golden[k] for k in ("coarse", "fine", "points"))
  )
  assert terms.keys() == WEIGHTS.keys()
  for name, value in terms.items():
    np.testing.assert_allclose(value, golden[name], 2e-6)
  # Sums in another order; the gradients are about 1e-4.
  for name, grad in zip(("coarse", "fine", "points"), grads):
    expected = golden[f"grad_{name}"]
    assert np.abs(expected).max() > 1e-5
    np.testing.assert_allclose(grad, expected, 1e-4, 2e-9)


def test_perceptual_term_is_optional() -> None:
  picture = jnp.zeros((1, 8, 8, 3))
  box = jnp.array([[2.0, 2, 6, 6]])
  terms = avatar.picture_terms(picture, picture + 0.25, picture, box, 8)
  assert terms.keys() == {"l1", "box"}
  np.testing.assert_allclose(terms["l1"], 0.25)


def test_uncovered_compares_where_something_covers() -> None:
  target = jax.random.uniform(jax.random.key(3), (1, 4, 4, 3))
  alpha = jnp.zeros((1, 4, 4)).at[0, :2].set(0.5)
  right = 0.5 * target.at[0, 2:].set(0)
  np.testing.assert_allclose(avatar.uncovered(right, alpha, target), 0)
  wrong = right.at[0, :2].add(0.1)
  np.testing.assert_allclose(
    avatar.uncovered(wrong, alpha, target), 0.05, rtol=1e-5
  )


def test_nearest_is_exact_where_the_fast_form_is_not() -> None:
  rng = np.random.default_rng(0)
  # Far from the origin, targets that differ in their last digits: |a|^2 - 2ab
  # + |b|^2 in float32 cannot tell them apart. Not a multiple of the block.
  sources = np.float32(100 + rng.normal(size=(40, 3)) * 0.05)
  targets = np.float32(100 + rng.normal(size=(3001, 3)) * 0.05)
  found = jax.jit(avatar.nearest)(sources, targets)
  square = np.square(
    np.float64(sources)[:, None] - np.float64(targets)[None]
  ).sum(-1)
  np.testing.assert_array_equal(found, square.argmin(1))
  fast = (targets**2).sum(1) - 2 * sources @ targets.T
  assert (fast.argmin(1) != square.argmin(1)).any()
  # The first of equals, and fewer targets than a block.
  np.testing.assert_array_equal(
    avatar.nearest(jnp.ones((2, 3)), jnp.zeros((5, 3))), 0
  )


def test_gradient_is_the_naive_ones() -> None:
  keys = jax.random.split(jax.random.key(1))
  vertices = jax.random.normal(keys[0], (2, 25, 3))
  points = jax.random.normal(keys[1], (2, 600, 3))

  def naive(vertices: jax.Array, points: jax.Array) -> jax.Array:
    away = vertices[:, :, None] - points[:, None]
    return jnp.square(away).sum(-1).min(-1).mean()

  got, expected = (
    jax.jit(jax.value_and_grad(f, (0, 1)))(vertices, points)
    for f in (avatar.lifting, naive)
  )
  for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
    np.testing.assert_allclose(x, y, 1e-5, 1e-9)


def test_all_distances_never_stand_in_memory() -> None:
  # The paper's sizes, compiled only: 5,023 x 175,232 floats are 3.3 GiB.
  shapes = [
    jax.ShapeDtypeStruct((1, n, 3), jnp.float32) for n in (5_023, 175_232)
  ]
  compiled = (
    jax.jit(jax.value_and_grad(avatar.lifting, (0, 1))).lower(*shapes).compile()
  )
  memory = compiled.memory_analysis()
  assert memory.temp_size_in_bytes < 64 * 2**20
