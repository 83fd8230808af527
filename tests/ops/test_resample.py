"""Resampling: closed forms on linear pictures, inverses, means, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.ops import resample

KEY = jax.random.key(0)


def ramp(height: int, width: int) -> jax.Array:
  """A picture whose two channels are x and y at the pixel centres."""
  y, x = jnp.mgrid[:height, :width] + 0.5
  return jnp.stack([x, y], -1)


def test_bilinear_is_exact_on_a_linear_picture() -> None:
  points = jax.random.uniform(KEY, (50, 2), minval=0.5, maxval=7.5)
  points = points.at[:, 0].multiply(1.4)
  found = resample.bilinear(ramp(8, 11), points)
  # float32 sums of numbers up to 11.
  np.testing.assert_allclose(found, points, atol=1e-5)


@pytest.mark.parametrize(
  ("border", "expected"), [("edge", 0.5), ("reflect", 2.5), ("zero", 0.0)]
)
def test_borders(border: str, expected: float) -> None:
  outside = jnp.array([-2.5, 3.0])
  found = resample.bilinear(ramp(6, 6), outside, border=border)
  np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_reflect_repeats_with_the_period_of_a_mirrored_picture() -> None:
  image = jax.random.normal(KEY, (5, 7, 1))
  points = jax.random.uniform(KEY, (20, 2), maxval=5.0)
  shifted = points + jnp.array([[14.0, -10.0]])
  np.testing.assert_allclose(
    resample.bilinear(image, points, border="reflect"),
    resample.bilinear(image, shifted, border="reflect"),
    atol=1e-4,  # Positions of 20 px leave 2e-6 of a pixel in float32.
  )


def test_affine_moves_a_pixel_where_the_transform_says() -> None:
  image = jnp.zeros((8, 8, 1)).at[2, 3, 0].set(1.0)
  # A quarter turn about the corner, then 8 to the right: (x, y) -> (8 - y, x).
  turn = jnp.array([[0.0, -1.0, 8.0], [1.0, 0.0, 0.0]])
  moved = resample.affine(image, turn, (8, 8))
  np.testing.assert_allclose(moved[..., 0], jnp.rot90(image[..., 0], -1))
  assert moved[3, 5, 0] == 1.0


def test_affine_with_samples_shrinks_like_area() -> None:
  image = jax.random.uniform(KEY, (12, 12, 3))
  third = jnp.array([[1 / 3, 0.0, 0.0], [0.0, 1 / 3, 0.0]])
  shrunk = resample.affine(image, third, (4, 4), samples=3)
  np.testing.assert_allclose(shrunk, resample.area(image, (4, 4)), atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 3), (4, 4), (9, 20), (12, 12)])
def test_area_keeps_the_mean(shape: tuple[int, int]) -> None:
  image = jax.random.uniform(KEY, (12, 12, 2))
  found = resample.area(image, shape)
  np.testing.assert_allclose(found.mean((0, 1)), image.mean((0, 1)), rtol=1e-5)


def test_area_weights_of_a_known_case() -> None:
  np.testing.assert_allclose(
    resample.area_weights(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]]
  )


def test_inverse_undoes() -> None:
  transform = jnp.array([[1.2, -0.5, 3.0], [0.4, 0.9, -7.0]])
  points = jax.random.normal(KEY, (9, 2)) * 10
  there = resample.apply_affine(transform, points)
  back = resample.apply_affine(resample.invert_affine(transform), there)
  np.testing.assert_allclose(back, points, atol=1e-4)


def test_gradients() -> None:
  image = jax.random.normal(KEY, (6, 6, 1))
  transform = jnp.array([[0.9, 0.1, 0.33], [-0.12, 1.1, -0.41]])

  def loss(image: jax.Array, transform: jax.Array) -> jax.Array:
    found = resample.affine(image, transform, (5, 5), samples=2)
    return jnp.sum(found**2)

  # Bilinear values have kinks at pixel centres; the step is below them.
  check_grads(
    jax.jit(loss), (image, transform), 1, ["rev"], eps=1e-3, atol=0.05
  )
  check_grads(jax.jit(lambda x: resample.area(x, (4, 3))), (image,), 1, ["rev"])


def test_works_batched_under_jit() -> None:
  images = jax.random.normal(KEY, (3, 6, 6, 1))
  transforms = jnp.tile(jnp.array([[[1.0, 0, 1], [0, 1, 0]]]), (3, 1, 1))
  move = jax.jit(jax.vmap(lambda x, t: resample.affine(x, t, (6, 6))))
  np.testing.assert_allclose(
    move(images, transforms)[:, :, 1:], images[:, :, :-1], atol=1e-6
  )


def test_crop_looks_up_what_bilinear_does() -> None:
  images = jax.random.uniform(jax.random.key(4), (2, 9, 11, 3))
  # Inside, and over two edges.
  boxes = jnp.array([[2.0, 1.5, 7.0, 6.5], [-3.0, 4.0, 6.0, 13.0]])
  cut = jax.jit(lambda x, b: resample.crop(x, b, (12, 10)))
  look = jax.jit(lambda x, p: resample.bilinear(x, p, border="zero"))
  found = cut(images, boxes)
  for image, (x0, y0, x1, y1), got in zip(images, boxes, found):
    x, y = jnp.meshgrid(
      x0 + (x1 - x0) * (jnp.arange(10) + 0.5) / 10,
      y0 + (y1 - y0) * (jnp.arange(12) + 0.5) / 12,
    )
    points = jnp.stack([x, y], -1)
    expected = look(image, points)
    np.testing.assert_allclose(got, expected, atol=1e-5)
  whole = jnp.array([[0.0, 0, 11, 9]] * 2)
  same = resample.crop(images, whole, (9, 11))
  np.testing.assert_allclose(same, images, atol=1e-6)


def test_node_weights_keep_straight_lines() -> None:
  weights = resample.node_weights(10, 4)
  at = (np.arange(10) + 0.5) / 10
  np.testing.assert_allclose(weights @ np.linspace(1, 3, 4), 1 + 2 * at, 1e-6)
