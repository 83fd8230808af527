"""Degradation: kernels, resizes against PyTorch, JPEG against Pillow."""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import special

from chibijax.ops import blur_kernels, degrade, jpeg


def _picture(side: int = 64) -> np.ndarray:
  """A smooth picture with edges, in [0, 1]."""
  y, x = np.mgrid[:side, :side] / side
  picture = np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x * y)], -1)
  picture[(x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.06] = (0.9, 0.3, 0.2)
  return picture.astype(np.float32)


def test_gaussian_kernel_is_the_rotated_density() -> None:
  kernel = blur_kernels.gaussian_kernel(
    jnp.array([2.5, 1.2]), jnp.float32(0.6), jnp.float32(1)
  )
  places = np.arange(21) - 10
  x, y = np.meshgrid(places, places)
  turn = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
  inverse = np.linalg.inv(turn @ np.diag([2.5**2, 1.2**2]) @ turn.T)
  points = np.stack([x, y], -1)
  q = np.einsum("hwi,ij,hwj->hw", points, inverse, points)
  expected = np.exp(-q / 2)
  np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-7)
  flat = blur_kernels.gaussian_kernel(
    jnp.array([2.5, 1.2]), jnp.float32(0.6), jnp.float32(2), plateau=True
  )
  expected = 1 / (1 + q**2)
  np.testing.assert_allclose(flat, expected / expected.sum(), atol=1e-7)


def test_sinc_kernel_follows_bessel() -> None:
  cutoff = 1.9
  kernel = blur_kernels.sinc_kernel(jnp.float32(cutoff))
  places = np.arange(21) - 10
  radius = np.hypot(*np.meshgrid(places, places))
  radius[10, 10] = 1
  expected = cutoff * special.j1(cutoff * radius) / (2 * np.pi * radius)
  expected[10, 10] = cutoff**2 / (4 * np.pi)
  # The integral is summed in float32.
  np.testing.assert_allclose(kernel, expected / expected.sum(), atol=3e-6)
  assert kernel.min() < 0


def test_drawn_kernels_are_symmetric_and_differ() -> None:
  draws = jax.random.uniform(jax.random.key(0), (64, 8))
  draw = functools.partial(blur_kernels.draw_kernel, sigma=(0.2, 3.0))
  kernels = np.asarray(jax.jit(jax.vmap(draw))(draws))
  np.testing.assert_allclose(kernels.sum((1, 2)), 1, atol=1e-5)
  np.testing.assert_allclose(kernels, kernels[:, ::-1, ::-1], atol=1e-6)
  sides = [(np.abs(k).sum(0) > 0).sum() for k in kernels]
  assert min(sides) < 12 and max(sides) > 16
  ringing = kernels.min((1, 2)) < -1e-3
  assert 1 <= ringing.sum() <= 16  # One in ten, of 64.


def test_blur_is_a_convolution_of_the_continued_picture() -> None:
  x = _picture(24)
  kernel = blur_kernels.gaussian_kernel(
    jnp.array([2.0, 1.0]), jnp.float32(1.0), jnp.float32(1)
  )
  padded = np.pad(x, ((10, 10), (10, 10), (0, 0)), mode="edge")
  windows = np.lib.stride_tricks.sliding_window_view(padded, (21, 21), (0, 1))
  expected = np.einsum("ijcuv,uv->ijc", windows, np.asarray(kernel))
  # Two Fourier transforms in float32.
  np.testing.assert_allclose(
    degrade.blur(jnp.asarray(x), kernel), expected, atol=1e-5
  )


@functools.lru_cache(maxsize=1)
def _resize():
  def run(pixels, have, want, method):
    return degrade.resize(degrade.Canvas(pixels, have), want, 32, method)

  return jax.jit(run)


@pytest.mark.parametrize("method", degrade.METHODS)
@pytest.mark.parametrize("want", [(9, 13), (20, 12), (31, 32)])
def test_resize_is_pytorchs(method: str, want: tuple[int, int]) -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  x, have = _picture(24)[:20, :18], (20, 18)
  canvas = np.pad(x, ((0, 4), (0, 6), (0, 0)), mode="edge")
  found = _resize()(
    canvas, jnp.array(have), jnp.array(want), degrade.METHODS.index(method)
  )
  options = {} if method == "area" else {"align_corners": False}
  if method == "area":
    # PyTorch's is not exact where sizes do not divide; ours is.
    rows, columns = (_area(n, m) for n, m in zip(have, want))
    expected = np.einsum("in,jm,nmc->ijc", rows, columns, x)
  else:
    theirs = torch.nn.functional.interpolate(
      torch.from_numpy(x.transpose(2, 0, 1)[None].copy()),
      want, mode=method, **options,
    )  # fmt: skip
    expected = theirs[0].numpy().transpose(1, 2, 0)
  height, width = want
  np.testing.assert_allclose(found.pixels[:height, :width], expected, atol=1e-5)
  # What lies outside repeats the border.
  np.testing.assert_array_equal(
    found.pixels[height:],
    np.asarray(found.pixels)[[height - 1] * (32 - height)],
  )
  assert tuple(found.size) == want


def _area(source: int, target: int) -> np.ndarray:
  fine = np.repeat(np.eye(source), target, 0)
  return fine.reshape(target, source, source).mean(1)


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_jpeg_is_a_files(quality: int) -> None:
  x = _picture()
  pixels = np.round(x * 255).astype(np.uint8)
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
  theirs = np.asarray(Image.open(file), np.float32) / 255
  found = np.asarray(
    jax.jit(jpeg.compress)(
      jnp.asarray(pixels / 255, jnp.float32), quality * 1.0
    )
  )
  lost = np.abs(theirs - pixels / 255.0).mean()
  # libjpeg rounds colours to bytes before it transforms, in integers; the
  # rest is far less than what compression changes.
  assert np.abs(found - theirs).mean() < 0.2 * lost + 0.5 / 255
  np.testing.assert_allclose(found * 255, np.round(found * 255), atol=1e-3)
  with pytest.raises(ValueError, match="multiples of 16"):
    jpeg.compress(jnp.zeros((16, 24, 3)), jnp.float32(50))


def test_noise_has_the_variance_that_was_drawn() -> None:
  x = jnp.full((64, 64, 3), 0.5)

  def spread(draws):
    y = degrade.noise(jax.random.key(1), x, jnp.array(draws), degrade.FIRST)
    return np.asarray(y - x)

  coloured = spread([0.0, 0.5, 0.9])
  assert coloured.std() == pytest.approx(15.5 / 255, rel=0.05)
  grey = spread([0.0, 0.5, 0.1])
  np.testing.assert_array_equal(grey[..., 0], grey[..., 1])
  shot = spread([0.9, 0.5, 0.9])
  expected = 1.525 * np.sqrt(0.5 / 256)
  assert shot.std() == pytest.approx(expected, rel=0.05)


@functools.lru_cache(maxsize=1)
def _two_order():
  return jax.jit(functools.partial(degrade.two_order, scale=2))


def test_two_orders_wear_pictures_down() -> None:
  images = jnp.asarray(np.stack([_picture(32)] * 4))
  keys = jax.random.split(jax.random.key(5), 4)
  found = np.asarray(_two_order()(keys, images))
  assert found.shape == (4, 16, 16, 3)
  assert found.min() >= 0 and found.max() <= 1
  np.testing.assert_allclose(found * 255, np.round(found * 255), atol=1e-3)
  # Each by its own key, the same again, and still the same picture.
  np.testing.assert_array_equal(found, _two_order()(keys, images))
  assert np.abs(found[0] - found[1]).mean() > 0.01
  small = images.reshape(4, 16, 2, 16, 2, 3).mean((2, 4))
  errors = np.abs(found - small).mean((1, 2, 3))
  assert (errors > 0.005).all() and (errors < 0.3).all()
  # A picture's result does not depend on its neighbours.
  turned = np.asarray(_two_order()(keys[::-1], images))
  np.testing.assert_allclose(turned[::-1], found, atol=1 / 255 + 1e-6)


def test_sizes_that_do_not_suit_are_said() -> None:
  keys = jax.random.split(jax.random.key(0), 1)
  with pytest.raises(ValueError, match="squares whose side 4 divides"):
    degrade.two_order(keys, jnp.zeros((1, 18, 18, 3)), 4)
