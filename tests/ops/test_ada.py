"""ADA's augmentations: nothing at p = 0, groups kept, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import ada

KEYS = jax.random.split(jax.random.key(2), 64)


def _images(count: int = 64, side: int = 8) -> jax.Array:
  rng = np.random.default_rng(0)
  one = rng.uniform(-1, 1, (1, side, side, 3)).astype(np.float32)
  return jnp.asarray(np.repeat(one, count, 0))


_changed = jax.jit(ada.ada)


def _apply(images, p):
  return _changed(KEYS, jnp.asarray(images, jnp.float32), jnp.float32(p))


def test_nothing_changes_at_zero_and_much_at_one() -> None:
  images = _images()
  np.testing.assert_array_equal(_apply(images, 0.0), images)
  images = np.asarray(images)
  changed = np.abs(_apply(images, 1.0) - images).max((1, 2, 3))
  assert float((changed > 0.05).mean()) > 0.95
  # In between, what stays whole is (1 - p)^(about 11 changes).
  some = np.abs(_apply(images, 0.1) - images).max((1, 2, 3))
  assert 0.15 < float((some == 0).mean()) < 0.75


def test_each_picture_follows_its_own_key() -> None:
  # What becomes of a row depends on its key, not on its place or the others.
  images, p = _images(64), jnp.float32(0.7)
  whole = _apply(images, p)
  turned = _changed(KEYS[np.r_[32:64, 16:32, 16:32]], images, p)
  np.testing.assert_allclose(turned[:32], whole[32:], atol=1e-5)
  np.testing.assert_allclose(turned[32:48], turned[48:], atol=1e-5)


def test_gradient_is_the_transpose_of_a_linear_map() -> None:
  # Affine in the pictures: <J v, u> = <v, J^T u>, differentiated both ways.
  p, images = jnp.float32(0.8), _images()
  rng = np.random.default_rng(1)
  v, u = (
    jnp.asarray(rng.normal(size=images.shape), jnp.float32) for _ in range(2)
  )
  zero = _apply(jnp.zeros_like(images), p)
  forward = ((_apply(v, p) - zero) * u).sum()
  slope = jax.jit(jax.grad(lambda x: (ada.ada(KEYS, x, p) * u).sum()))(images)
  assert float(forward) == pytest.approx(float((v * slope).sum()), rel=1e-3)
  assert float(jnp.abs(slope).max()) > 0.1


def test_colours_stay_a_similarity_about_grey() -> None:
  # Of a plain picture the geometry shows nothing: only colours are changed.
  changed = np.asarray(_apply(np.full((64, 8, 8, 3), 0.25), 1.0))
  np.testing.assert_allclose(changed.std((1, 2)), 0.0, atol=1e-5)
  # Grey stays grey: hue and saturation turn about that axis.
  np.testing.assert_allclose(changed.std(-1), 0.0, atol=1e-5)
  # Contrast is log-normal around 1, brightness normal around 0.
  assert float(np.median(np.abs(changed))) == pytest.approx(0.25, abs=0.1)


def test_what_is_seen_most_is_what_is_there() -> None:
  # Does not leak: brighter below stays the commonest of what is seen.
  ramp = np.broadcast_to(
    np.linspace(-1, 1, 8)[None, :, None, None], (64, 8, 8, 3)
  )
  seen = np.asarray(_apply(ramp, 0.2)).mean((2, 3))
  rises = seen[:, -1] - seen[:, 0]
  assert float((rises > 0.5).mean()) > 0.6
  assert float((rises < -0.5).mean()) > 0.02
