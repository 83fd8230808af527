"""ADA's augmentations: nothing at p = 0, groups kept, gradients, ranges."""

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


_changed = jax.jit(ada.ada, static_argnums=3)


def _apply(images, p, name: str = "bgc"):
  images, p = jnp.asarray(images, jnp.float32), jnp.float32(p)
  return _changed(KEYS, images, p, ada.PIPELINES[name])


@pytest.mark.parametrize("name", ["bgc", "bgcfnc"])
def test_nothing_changes_at_zero_and_much_at_one(name: str) -> None:
  images = _images()
  np.testing.assert_array_equal(_apply(images, 0.0, name), images)
  images = np.asarray(images)
  changed = np.abs(_apply(images, 1.0, name) - images).max((1, 2, 3))
  assert np.isfinite(changed).all() and float((changed > 0.05).mean()) > 0.95
  # In between, what stays whole is (1 - p)^(about 11 or 17 changes).
  some = np.abs(_apply(images, 0.1, name) - images).max((1, 2, 3))
  assert 0.1 < float((some == 0).mean()) < 0.75


def test_each_picture_follows_its_own_key() -> None:
  # What becomes of a row depends on its key, not on its place or the others.
  images, p = _images(64), jnp.float32(0.7)
  whole = _apply(images, p)
  keys = KEYS[np.r_[32:64, 16:32, 16:32]]
  turned = _changed(keys, images, p, ada.PIPELINES["bgc"])
  np.testing.assert_allclose(turned[:32], whole[32:], atol=1e-5)
  np.testing.assert_allclose(turned[32:48], turned[48:], atol=1e-5)


def test_gradient_against_finite_differences() -> None:
  # All categories; a curved loss, along one way through all pictures.
  p, images = jnp.float32(0.8), _images()
  way = np.random.default_rng(1).normal(size=images.shape).astype(np.float32)
  names = ada.PIPELINES["bgcfnc"]

  def loss(images):
    return jnp.square(_changed(KEYS, images, p, names) - 0.3).sum()

  slope = jax.jit(jax.grad(loss))(images)
  # Of squares of what is affine, so central differences err by rounding only.
  ahead, behind = (
    np.square(np.asarray(_apply(images + h * way, p, "bgcfnc"), float) - 0.3)
    for h in (0.5, -0.5)
  )
  wanted = (ahead - behind).sum((1, 2, 3))
  found = np.asarray(slope * way, float).sum((1, 2, 3))
  np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
  assert np.abs(wanted).max() > 1


@pytest.mark.slow
def test_jit_is_eager() -> None:
  images = _images(2)
  eager = ada.ada(KEYS[:2], images, jnp.float32(1), ada.PIPELINES["bgcfnc"])
  found = _apply(_images(), 1.0, "bgcfnc")[:2]
  np.testing.assert_allclose(eager, found, atol=1e-4)


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


def test_blits_only_copy_pixels() -> None:
  x = np.arange(64, dtype=np.float32).reshape(8, 8, 1).repeat(3, -1)
  found = np.asarray(_apply(x[None].repeat(64, 0), 1.0, "blit"))
  assert np.isin(found, x).all()
  kinds = set()
  for one in found[..., 0]:
    down, across = one[4, 3] - one[3, 3], one[3, 4] - one[3, 3]
    # Neighbours stay such, turned and mirrored in eight ways.
    assert sorted((abs(down), abs(across))) == [1, 8]
    kinds.add((float(down), float(across)))
  assert len(kinds) == 8


def test_bands_keep_the_power_of_natural_pictures() -> None:
  normal = jnp.asarray(np.random.default_rng(4).normal(size=(50, 4)))
  power = np.array([10, 1, 1, 1]) / 13
  gains = jax.vmap(ada._gains)
  for band in range(4):
    only = jnp.broadcast_to(jnp.arange(4) == band, (50, 4))
    found = np.asarray(gains(only, normal.astype(jnp.float32)), float)
    np.testing.assert_allclose((found**2) @ power, 1, rtol=1e-5)
    # Against the others the band is log-normal, of one octave.
    ratio = np.log2(found[:, band] / found[:, band - 1])
    np.testing.assert_allclose(ratio, normal[:, band], atol=1e-4)
  every = gains(jnp.ones((50, 4), bool), normal.astype(jnp.float32))
  each = [
    gains(jnp.broadcast_to(jnp.arange(4) == b, (50, 4)), normal)
    for b in range(4)
  ]
  np.testing.assert_allclose(every, np.prod(each, 0), rtol=1e-4)


def test_noise_and_cutout_have_the_published_sizes() -> None:
  black, p = jnp.full((64, 8, 8, 3), -1.0), jnp.float32(1)
  found = np.asarray(_changed(KEYS, black, p, ("cutout", "noise")))
  cut = (found == 0).all(-1)
  for one in cut:
    rows, columns = one.any(1), one.any(0)
    # One rectangle, of half the sides where it lies inside.
    np.testing.assert_array_equal(one, rows[:, None] & columns[None])
    assert 2 <= rows.sum() <= 4 and 2 <= columns.sum() <= 4
  # Its centre lies anywhere: an eighth of each side is lost outside.
  assert cut.mean() == pytest.approx((0.5 * 7 / 8) ** 2, abs=0.03)
  sizes = [(x[~c] + 1).std() for x, c in zip(found, cut)]
  # A half-normal of deviation 0.1.
  assert np.mean(sizes) == pytest.approx(0.1 * np.sqrt(2 / np.pi), abs=0.02)
  assert np.std(sizes) == pytest.approx(0.06, abs=0.02)
  assert abs((found[~cut] + 1).mean()) < 0.01


def test_mistakes_are_said() -> None:
  with pytest.raises(ValueError, match="square"):
    ada.ada(KEYS[:1], jnp.zeros((1, 8, 4, 3)), jnp.float32(0))
  with pytest.raises(ValueError, match="unknown categories"):
    ada.ada(KEYS, _images(), jnp.float32(0), ("blits",))
