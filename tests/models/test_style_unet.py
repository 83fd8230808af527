"""The neural renderer: sizes, noise, resampling (golden: test_avatar.py)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.models import rrdb, style_generator, style_unet
from tests.models import avatar_golden as golden

TINY = dict(
  channels=5, size=16, capacity=64, most=4, ratio=1, style=6, mapping=1
)


def _image(net: style_unet.StyleUnet) -> jax.Array:
  return jax.random.uniform(
    jax.random.key(0), (1, net.size, net.size, net.channels)
  )


@functools.cache
def _made(**changes):
  """A tiny network, its input and random parameters."""
  net = style_unet.StyleUnet(**(TINY | changes))
  params = golden.draw(net, _image(net))
  return net, _image(net), params


def test_noise_only_where_a_key_is_given() -> None:
  net, x, params = _made()
  run = jax.jit(net.apply)
  still = run({"params": params}, x)
  assert still.shape == (1, 16, 16, 3)
  assert 0 < still.min() and still.max() < 1
  # One picture differs from the next only by its noise.
  keys = jax.random.split(jax.random.key(1), 2)
  first, second = (run({"params": params}, x, k) for k in keys)
  assert np.abs(first - still).max() > 1e-3
  assert np.abs(first - second).max() > 1e-3
  np.testing.assert_array_equal(run({"params": params}, x, keys[0]), first)
  for noise, drawn in ((1.0, True), (0.0, False)):
    traced = jax.make_jaxpr(net.copy(noise=noise).apply)
    assert (
      "random_bits" in str(traced({"params": params}, x, keys[0]))
    ) == drawn


def test_modulation_scales_kernels() -> None:
  # Equations 1 and 3 of StyleGAN2, written out for each picture.
  net = style_generator.StyledConv(3)
  draws = np.random.default_rng(1)
  x, w = draws.normal(size=(2, 5, 6, 4)), draws.normal(size=(2, 7))
  x, w = jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)
  shapes = jax.eval_shape(net.init, jax.random.key(0), x, w)["params"]
  params = jax.tree.map(
    lambda s: np.asarray(draws.normal(size=s.shape), "f4"), shapes
  )
  made = net.apply({"params": jax.tree.map(jnp.asarray, params)}, x, w)
  dense = params["modulation"]
  for picture, code, result in zip(*map(np.asarray, (x, w, made)), strict=True):
    style = code @ dense["kernel"] + dense["bias"]
    kernel = params["kernel"] * style.reshape(1, 1, -1, 1)
    kernel = kernel / np.sqrt((kernel**2).sum((0, 1, 2)) + 1e-8)
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)))
    expected = sum(
      padded[i : i + 5, j : j + 6] @ kernel[i, j]
      for i in range(3)
      for j in range(3)
    )
    expected = expected * np.sqrt(2) + params["bias"]
    expected = np.where(expected > 0, expected, 0.2 * expected)
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_a_residual_starts_from_the_coarse_picture() -> None:
  net, x, params = _made(fold=2, residual=True)
  zero = jax.tree.map(jnp.zeros_like, params)
  made = jax.jit(net.apply)({"params": zero}, x)
  np.testing.assert_allclose(made, x[..., :3].clip(0.01, 0.99), atol=1e-5)


def test_unfold_undoes_fold() -> None:
  x = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
  there_and_back = jax.jit(lambda x: style_unet.unfold(rrdb.fold(x, 2), 2))
  np.testing.assert_array_equal(there_and_back(x), x)


def test_resampling_is_bilinear() -> None:
  x = jax.random.normal(jax.random.key(0), (1, 4, 6, 2))
  up = jax.jit(style_generator.upsample)(x)
  np.testing.assert_allclose(
    up, jax.image.resize(x, (1, 8, 12, 2), "linear"), atol=1e-6
  )
  down = jax.jit(style_generator.downsample)(x)
  np.testing.assert_allclose(
    down,
    jax.image.resize(x, (1, 2, 3, 2), "linear", antialias=False),
    atol=1e-6,
  )


@pytest.mark.slow
def test_bfloat16_stays_close() -> None:
  net, x, params = _made()
  exact = jax.jit(net.apply)({"params": params}, x)
  rough = jax.jit(net.copy(dtype=jnp.bfloat16).apply)({"params": params}, x)
  assert rough.dtype == jnp.float32
  # About 20 layers with 8 bits of mantissa.
  assert 0 < np.abs(exact - rough).max() < 0.05


def test_other_pictures_are_refused() -> None:
  net = style_unet.StyleUnet(**TINY)
  blank = jax.ShapeDtypeStruct((1, 16, 16, 4), jnp.float32)
  with pytest.raises(ValueError, match=r"\(16, 16, 5\) pictures"):
    jax.eval_shape(net.init, jax.random.key(0), blank)
