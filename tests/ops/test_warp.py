"""Flows: identity, inverse, scaling, no folds; maps and sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import warp

FRAME = warp.Frame(64, 48, 8)


@jax.jit
def backward(fields: warp.Regions, time: float = 1.0) -> jnp.ndarray:
  """The map of the small frame, compiled once for all tests."""
  return warp.backward_map(48, 64, fields, FRAME, time=time)


def one(
  center: tuple = (32, 24),
  radii: tuple = (20, 14),
  matrix: tuple = ((0.4, 0), (0, 0.2)),
  shift: tuple = (0, 0),
  angle: float = 0.0,
) -> warp.Regions:
  """A single region."""
  c, s = np.cos(angle), np.sin(angle)
  values = (center, ((c, s), (-s, c)), radii, matrix, shift)
  return warp.Regions(*(jnp.asarray([v], jnp.float32) for v in values))


def schedule(regions: warp.Regions, steps: int = 10) -> warp.Regions:
  return jax.tree.map(lambda v: jnp.stack([v] * steps), regions)


def random_schedule(seed: int, count: int = 5) -> warp.Regions:
  """Strong overlapping fields."""
  rng = np.random.default_rng(seed)

  values = (
    rng.normal((32, 24), 10, (count, 2)),
    np.stack([np.eye(2)] * count),
    rng.uniform(8, 20, (count, 2)),
    rng.normal(0, 0.25, (count, 2, 2)),
    rng.normal(0, 1.5, (count, 2)),
  )
  regions = warp.Regions(*(jnp.asarray(v, jnp.float32) for v in values))
  return schedule(regions)


def centers(height: int, width: int) -> np.ndarray:
  return np.array(warp.pixel_centers(height, width))


def moved_map(coords: np.ndarray, matrix: tuple, shift: tuple) -> jnp.ndarray:
  """Maps through an affine map, in NumPy."""
  return jnp.asarray(coords @ np.array(matrix).T + shift, jnp.float32)


def test_window_is_one_in_the_middle_and_fades_along_its_own_axes() -> None:
  regions = one(radii=(20, 10), angle=np.pi / 2)
  points = jnp.asarray([[32.0, 24], [32, 44], [42, 24], [52, 24]])
  found = warp.window(points, regions)[:, 0]
  # The long axis points down; exp(-1) at one radius, exp(-16) at two.
  expected = [1, np.exp(-1), np.exp(-1), np.exp(-16)]
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_velocity_is_the_sum_of_windowed_affine_fields() -> None:
  both = [one(), one(center=(20, 20), shift=(3, -1), angle=0.3)]
  joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *both)
  points = jnp.asarray([[25.0, 22], [40, 30], [18, 19]])
  expected = 0
  for region in both:
    offset = np.asarray(points) - np.asarray(region.center[0])
    linear = offset @ np.asarray(region.matrix[0]).T
    linear += np.asarray(region.shift[0])
    expected += np.asarray(warp.window(points, region)) * linear
  found = warp.velocity(points, joined, FRAME)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_middle_of_a_window_is_scaled_by_the_exponential() -> None:
  # Near the centre the window is 1 - rho^4: flat.
  points = jnp.asarray([[33.0, 24], [32, 25], [31, 23]])
  moved = warp.flow(points, schedule(one()), FRAME, time=1.0)
  center = np.array([32, 24])
  expected = center + (np.asarray(points) - center) * np.exp([0.4, 0.2])
  np.testing.assert_allclose(moved, expected, atol=2e-3)


def test_time_zero_is_the_identity_bit_by_bit() -> None:
  coords = backward(random_schedule(0), 0.0)
  np.testing.assert_array_equal(coords, warp.pixel_centers(48, 64))
  image = np.random.default_rng(0).random((48, 64, 3), np.float32)
  np.testing.assert_array_equal(warp.sample(jnp.asarray(image), coords), image)


@pytest.mark.parametrize("seed", range(3))
def test_inverse_undoes_the_flow(seed: int) -> None:
  points = jnp.asarray(
    np.random.default_rng(seed).uniform((0, 0), (64, 48), (50, 2)), jnp.float32
  )
  fields = random_schedule(seed)
  there = warp.flow(points, fields, FRAME, time=1.0)
  assert float(jnp.abs(there - points).max()) > 1
  back = warp.flow(there, fields, FRAME, time=1.0, inverse=True)
  # Midpoint steps of a tenth: errors of the third order.
  np.testing.assert_allclose(back, points, atol=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_strong_fields_do_not_fold(seed: int) -> None:
  coords = backward(random_schedule(seed))
  assert float(jnp.abs(coords - warp.pixel_centers(48, 64)).max()) > 1
  assert float(warp.jacobian_determinant(coords).min()) > 0
  assert float(warp.cell_areas(coords).min()) > 0
  # A rectangle onto itself: nothing comes from outside.
  assert float(coords.min()) > 0
  assert (np.asarray(coords).max((0, 1)) < (64, 48)).all()


def test_border_slips_but_is_not_crossed() -> None:
  y = jnp.linspace(0, 48, 13)
  edge = jnp.stack([jnp.full_like(y, 64.0), y], -1)
  fields = schedule(one(center=(60, 24), shift=(9, 5)))
  moved = warp.flow(edge, fields, FRAME, time=1.0)
  np.testing.assert_array_equal(moved[:, 0], edge[:, 0])
  assert float(moved[6, 1] - edge[6, 1]) > 1


def test_map_agrees_with_the_flow_of_single_points() -> None:
  fields = random_schedule(1)
  coords = backward(fields)
  pixels = jnp.asarray(centers(48, 64).reshape(-1, 2))
  exact = warp.flow(pixels, fields, FRAME, time=1.0, inverse=True)
  np.testing.assert_allclose(coords.reshape(-1, 2), exact, atol=0.02)
  # With four pixels between nodes, as in pictures of 512.
  wide = fields._replace(
    center=fields.center * 8, radii=fields.radii * 8, shift=fields.shift * 8
  )
  frame = warp.Frame(512, 384, 64)
  coords = warp.backward_map(384, 512, wide, frame, time=1.0)[::16, ::16]
  pixels = jnp.asarray(centers(384, 512)[::16, ::16].reshape(-1, 2))
  exact = warp.flow(pixels, wide, frame, time=1.0, inverse=True)
  np.testing.assert_allclose(coords.reshape(-1, 2), exact, atol=0.03)


def test_windows_that_ride_scale_exactly() -> None:
  """A feature moved far keeps its rate only if its window follows it."""
  start = jnp.asarray([[20.0, 24], [22, 24], [18, 24]])

  def around(points: jnp.ndarray) -> warp.Regions:
    return one(
      radii=(8, 8), matrix=((0.3, 0), (0, 0.3)), shift=(12, 0)
    )._replace(center=points.mean(0, keepdims=True))

  moved, fields = warp.ride(start, around, FRAME, time=1.0, steps=48)
  assert fields.center.shape == (48, 1, 2)
  np.testing.assert_allclose(moved.mean(0), [32, 24], atol=0.2)
  spread = float(moved[1, 0] - moved[2, 0]) / 4
  np.testing.assert_allclose(spread, np.exp(0.3), rtol=0.02)
  again = warp.flow(start, fields, FRAME, time=1.0)
  np.testing.assert_allclose(again, moved, atol=1e-5)


def test_determinant_and_areas_of_a_linear_map() -> None:
  coords = moved_map(centers(6, 7), ((2.0, 0.5), (0.0, 0.5)), (0, 0))
  np.testing.assert_allclose(warp.jacobian_determinant(coords), 1, atol=1e-5)
  np.testing.assert_allclose(warp.cell_areas(coords), 1, atol=1e-5)
  assert float(warp.cell_areas(coords[:, ::-1]).max()) < 0
  # One folded corner is enough.
  torn = coords.at[3, 3].add(jnp.asarray([-4.0, 0.0]))
  assert float(warp.cell_areas(torn).min()) < 0


def test_shrinking_does_not_alias() -> None:
  stripes = np.tile(np.arange(64) % 2, (64, 1)).astype(np.float32)[..., None]
  # Twice as many pixels a step: each new one sees a dark or a light line.
  coords = centers(64, 64)[::2, ::2]
  aliased = warp.sample(
    jnp.asarray(stripes), jnp.asarray(coords), antialias=False
  )
  smooth = warp.sample(jnp.asarray(stripes), jnp.asarray(coords))
  assert float(jnp.abs(aliased - 0.5).max()) > 0.4
  np.testing.assert_allclose(smooth[1:-1, 2:-2], 0.5, atol=1e-5)


def test_hidden_colour_does_not_bleed() -> None:
  image = np.zeros((8, 8, 4), np.float32)
  image[:, :4] = (1, 0, 0, 1)
  image[:, 4:] = (0, 1, 0, 0)
  found = warp.sample_rgba(jnp.asarray(image), jnp.asarray(centers(8, 8) + 0.4))
  seen = np.asarray(found[..., 3]) > 0.01
  np.testing.assert_allclose(found[..., 0][seen], 1, atol=1e-5)
  np.testing.assert_allclose(found[..., 1], 0, atol=1e-6)
  assert 0.5 < float(found[4, 3, 3]) < 0.7


def test_gradients_match_finite_differences() -> None:
  rng = np.random.default_rng(3)
  # Smooth, so that the bilinear kinks stay small.
  y, x = np.mgrid[:48, :64]
  image = np.stack([np.sin(x / 9), np.cos(y / 7)], -1).astype(np.float32)
  fields = random_schedule(4)
  weight = jnp.asarray(rng.normal(size=(48, 64, 2)), jnp.float32)

  def loss(shift: jnp.ndarray, image: jnp.ndarray) -> jnp.ndarray:
    moved = fields._replace(shift=fields.shift + shift[None])
    coords = backward(moved, 0.7)
    return (warp.sample(image, coords) * weight).sum()

  fast = jax.jit(loss)
  for which in (0, 1):
    values = [jnp.zeros((5, 2)), jnp.asarray(image)]
    grad = jax.jit(jax.grad(loss, which))(*values)
    step = jnp.asarray(rng.normal(size=values[which].shape), jnp.float32)
    ends = []
    for sign in (1, -1):
      at = list(values)
      at[which] = at[which] + sign * 1e-2 * step
      ends.append(float(fast(*at)))
    slope = (ends[0] - ends[1]) / 2e-2
    np.testing.assert_allclose((grad * step).sum(), slope, rtol=0.03)


def test_batches_go_through_vmap() -> None:
  parts = [random_schedule(seed) for seed in (0, 1)]
  both = jax.tree.map(lambda *v: jnp.stack(v), *parts)
  batch = jax.vmap(backward)(both)
  for one_map, part in zip(batch, parts):
    alone = backward(part)
    np.testing.assert_allclose(one_map, alone, atol=1e-3)
