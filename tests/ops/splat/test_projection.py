"""Projection against float64 NumPy, a golden file and hand-made cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops.splat import Options
from chibijax.ops.splat.scene import Projection
from tests.ops.splat import oracle, scenes

# Float32 through about 50 operations; conics lose more in thin Gaussians.
VALUE = 2e-5
# Relative L2 of the gradient of all Gaussians.
GRADIENT = 2e-4

CASES = {
  "pinhole": Options(),
  "all settings": Options(
    antialiased=True,
    normalize_quats=False,
    eps2d=0.5,
    near=1.6,
    far=2.9,
    radius_clip=2.0,
  ),
  "ortho": Options(camera_model="ortho", near=-10.0, eps2d=0.1),
  "fisheye": Options(camera_model="fisheye", antialiased=True),
}
# One size for all, so that each implementation compiles once per case.
COUNT = 61


def arguments(gaussians, camera):
  """The stage's arrays of one scene and its cameras."""
  g = gaussians
  arrays = (g.means, g.quats, g.scales, g.opacities, camera.viewmat, camera.K)
  return [x[None] for x in arrays]


def run(stages, arrays, options, size=(scenes.WIDTH, scenes.HEIGHT)):
  project = functools.partial(
    stages.project, width=size[0], height=size[1], options=options
  )
  return project(*arrays)


def with_gradients(stages, arrays, options):
  """The projection, cotangents for it, and the gradients."""

  def smooth(*arrays):
    *values, radii = run(stages, arrays, options)
    return values, radii

  values, pullback, radii = jax.vjp(smooth, *arrays, has_aux=True)
  rng = scenes.rng_of(3)
  cotangents = [scenes.array(rng.normal(size=x.shape)) for x in values]
  # Conics are 1 / pixel^2: give them a say.
  cotangents[1] = cotangents[1] * 30
  return Projection(*values, radii), cotangents, pullback(cotangents)


def relative(actual, expected):
  expected = np.asarray(expected)
  error = np.linalg.norm(np.float64(actual) - expected)
  return error / max(np.linalg.norm(expected), 1e-30)


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients_are_the_oracles(name, stages):
  options = CASES[name]
  focal = 0.45 if name == "ortho" else 1.3
  gaussians, camera = scenes.gaussians(COUNT), scenes.camera(focal=focal)
  arrays = arguments(gaussians, camera)
  value, cotangents, gradients = with_gradients(stages, arrays, options)
  settings = oracle.settings_of(options, camera.width, camera.height)
  expected = [0.0] * 4
  for c in range(2):
    inputs = scenes.inputs_of(gaussians, camera, c)
    p, seen = oracle.project_culled(inputs, settings)
    assert 15 < seen.sum() < 60  # some are dropped, but not most
    np.testing.assert_array_equal(value.radii[0, c], p["radii"])
    for field in oracle.NAMES:
      np.testing.assert_allclose(
        getattr(value, field)[0, c], p[field], VALUE, VALUE
      )
    v = {f: x[0, c] for f, x in zip(oracle.NAMES, cotangents, strict=True)}
    *own, v_viewmat, v_K = oracle.project_vjp(inputs, v, settings)
    expected = [a + b for a, b in zip(expected, own, strict=True)]
    assert relative(gradients[4][0, c], v_viewmat) < GRADIENT
    assert relative(gradients[5][0, c], v_K) < GRADIENT
  for actual, wanted in zip(gradients[:4], expected, strict=True):
    assert relative(actual[0], wanted) < GRADIENT


def by_hand(means, size, opacity=0.5):
  """Round Gaussians before two equal cameras at the origin."""
  means = jnp.asarray(means, jnp.float32)
  means = jnp.concatenate(
    [means, jnp.broadcast_to(means[-1], (COUNT - len(means), 3))]
  )
  unit = jnp.broadcast_to(jnp.array([1.0, 0, 0, 0]), (COUNT, 4))
  K = jnp.array([[30.0, 0, 18], [0, 30, 15], [0, 0, 1]])
  arrays = [means, unit, jnp.full((COUNT, 3), size), jnp.full(COUNT, opacity)]
  cameras = [jnp.stack([x, x]) for x in (jnp.eye(4), K)]
  return [x[None] for x in (*arrays, *cameras)]


def test_gaussians_on_the_axis_of_a_fisheye(stages):
  # theta / r and its derivatives are quotients of zeros there.
  offsets = np.array([0.0, 1e-20, 1e-6, 1e-3, 0.1, 0.2])
  z = np.linspace(0.5, 3.0, 6)
  arrays = by_hand(np.stack([offsets * z, 0 * z, z], axis=-1), 0.05)
  value, _, gradients = with_gradients(stages, arrays, CASES["fisheye"])
  np.testing.assert_allclose(
    value.means2d[0, 0, :6, 0], 18 + 30 * np.arctan(offsets), 1e-6
  )
  variance = (30 * 0.05 / z[0]) ** 2 + 0.3
  np.testing.assert_allclose(
    value.conics[0, 0, 0], [1 / variance, 0, 1 / variance], 1e-5, 1e-7
  )
  for gradient in gradients:
    assert np.isfinite(gradient).all()


def test_jacobian_is_held_far_outside_but_not_the_mean(stages):
  # Two Gaussians with the same depth, beyond the widened frame: the same J.
  arrays = by_hand([[3.0, 0.2, 2.0], [5.0, 0.2, 2.0]], 2.0, 0.9)
  value, _, _ = with_gradients(stages, arrays, CASES["pinhole"])
  np.testing.assert_allclose(value.means2d[0, 0, :2, 0], [63, 93], 1e-6)
  np.testing.assert_allclose(
    value.conics[0, 0, 0], value.conics[0, 0, 1], 1e-5, 1e-8
  )


def test_radius_clip_and_depth_limits_drop_exactly(stages):
  gaussians, camera = scenes.gaussians(COUNT), scenes.camera()
  arrays = arguments(gaussians, camera)
  everything, _, _ = with_gradients(stages, arrays, CASES["pinhole"])
  radii, depths = np.array(everything.radii), np.array(everything.depths)
  kept = (radii > 0).all(-1)
  limits = dict(
    radius_clip=float(np.median(radii[kept])),
    near=float(np.quantile(depths[kept], 0.2)),
    far=float(np.quantile(depths[kept], 0.8)),
  )
  fewer = run(stages, arrays, Options(**limits))
  expected = kept & (radii.max(-1) > limits["radius_clip"])
  expected &= (depths >= np.float32(limits["near"])) & (
    depths <= np.float32(limits["far"])
  )
  assert 0 < expected.sum() < kept.sum()
  np.testing.assert_array_equal((np.array(fewer.radii) > 0).all(-1), expected)
  for before, after in zip(everything, fewer, strict=True):
    mask = expected.reshape(*expected.shape, *(1,) * (before.ndim - 3))
    # Constants are compiled in, and sums then rounded in another order.
    np.testing.assert_allclose(after, np.where(mask, before, 0), 1e-5, 1e-6)
