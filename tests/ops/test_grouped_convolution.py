"""Grouped convolution against lax, to the second derivative; DiffAugment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from chibijax.ops import diff_augment, grouped_convolution


def _definition(x, kernel, groups):
  return lax.conv_general_dilated(
    x,
    kernel,
    (1, 1),
    ((1, 1), (1, 1)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=groups,
  )


# One group, a few (one dense convolution) and many (one for each).
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_grouped_conv_and_its_derivatives(groups: int) -> None:
  keys = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(keys[0], (2, 5, 4, 2 * groups))
  kernel = jax.random.normal(keys[1], (3, 3, 2, 3 * groups))
  seen = jax.random.normal(keys[2], x.shape)

  def both(f):
    def slope(x, kernel):
      # A gradient within: its own gradient is the second derivative.
      inner = jax.grad(lambda x: jnp.sin(f(x, kernel)).sum())(x)
      return (inner * seen).sum()

    return f(x, kernel), jax.grad(slope, (0, 1))(x, kernel)

  ours = both(grouped_convolution.grouped_conv)
  theirs = both(lambda x, k: _definition(x, k, groups))
  # Float32 sums in another order; values up to about 30.
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
    np.testing.assert_allclose(a, b, atol=2e-4)


def test_the_form_is_that_of_the_platform_compiled_for() -> None:
  x, kernel = jnp.zeros((1, 4, 4, 4)), jnp.zeros((3, 3, 2, 4))
  slope = jax.grad(
    lambda x, k: (grouped_convolution.grouped_conv(x, k) ** 2).sum(), (0, 1)
  )
  traced = jax.jit(slope).trace(x, kernel)
  for platform, grouped in (("cpu", False), ("tpu", True), ("cuda", True)):
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("feature_group_count = 2" in text) == grouped, platform


def test_channels_that_do_not_split_are_refused() -> None:
  with pytest.raises(ValueError, match="groups of 2"):
    grouped_convolution.grouped_conv(
      jnp.zeros((1, 4, 4, 3)), jnp.zeros((3, 3, 2, 6))
    )


def test_diff_augment_is_per_picture_and_differentiable() -> None:
  images = jax.random.uniform(
    jax.random.key(0), (4, 16, 16, 3), minval=-1, maxval=1
  )
  keys = jax.random.split(jax.random.key(1), 4)
  whole = diff_augment.diff_augment(keys, images)
  part = diff_augment.diff_augment(keys[2:], images[2:])
  np.testing.assert_allclose(whole[2:], part, atol=1e-6)
  assert not np.allclose(whole, images)
  moved = diff_augment.diff_augment(keys, images, ("translation",))
  # Every pixel is a pixel of the picture, or what moved in.
  for one, of in zip(np.asarray(moved), np.asarray(images)):
    assert set(one.ravel()) <= set(of.ravel()) | {0.0}
  blank = diff_augment.diff_augment(keys, images, ("cutout",))
  share = np.mean(np.asarray(blank) == 0)
  assert 0 < share <= 0.25
  slope = jax.grad(lambda x: diff_augment.diff_augment(keys, x).sum())(images)
  assert np.isfinite(slope).all() and slope.any()
  with pytest.raises(ValueError, match="unknown policies"):
    diff_augment.diff_augment(keys, images, ("colour",))
