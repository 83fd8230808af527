"""Ranges, luma and padding of pictures."""

import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import image


def test_bytes_survive_the_round_trip() -> None:
  x = jnp.arange(256, dtype=jnp.uint8)
  y = image.to_float(x)
  assert y[0] == -1.0
  assert y[255] == 1.0
  assert np.array_equal(image.to_uint8(y), x)
  assert np.array_equal(image.to_uint8(jnp.array([-3.0, 3.0])), [0, 255])


def test_unit_range() -> None:
  x = jnp.array([-1.5, -1.0, 0.0, 1.0])
  assert np.array_equal(image.to_unit(x), [0.0, 0.0, 0.5, 1.0])
  assert np.array_equal(image.to_signed(image.to_unit(x))[1:], x[1:])


def test_luminance_keeps_greys_and_orders_primaries() -> None:
  grey = jnp.full((2, 3, 3), 0.25)
  np.testing.assert_allclose(image.luminance(grey), 0.25, rtol=1e-6)
  red, green, blue = image.luminance(jnp.eye(3))
  assert green > red > blue


def test_luminance_correlation_sees_inversion() -> None:
  x = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3))
  x = jnp.asarray(x, jnp.float32)
  same = image.luminance_correlation(x, 0.3 * x + 0.1)
  np.testing.assert_allclose(same, 1.0, atol=1e-5)
  np.testing.assert_allclose(
    image.luminance_correlation(x, -x), -1.0, atol=1e-5
  )
  flat = image.luminance_correlation(x, jnp.zeros_like(x))
  assert np.array_equal(flat, [0.0, 0.0])


@pytest.mark.parametrize("shape", [(8, 12), (9, 11), (37, 50), (2, 3)])
def test_padding_is_undone_by_its_crop(shape: tuple[int, int]) -> None:
  x = np.random.default_rng(0).normal(size=(2, *shape, 3))
  x = jnp.asarray(x, jnp.float32)
  y, (top, left) = image.pad_to_multiple(x, 4, 8)
  assert all(side % 4 == 0 and side >= 8 for side in y.shape[1:3])
  crop = y[:, top : top + shape[0], left : left + shape[1]]
  assert np.array_equal(crop, x)
  # Mirrored about the border pixel, not repeated.
  if top:
    assert np.array_equal(y[:, top - 1], y[:, top + 1])
