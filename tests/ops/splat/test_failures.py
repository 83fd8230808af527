"""What broke other rasterizers: none of it may touch the rest of a scene."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops.splat import Camera, Options, rasterize
from tests.ops.splat import oracle, scenes

COUNT, CAMERAS = 41, 2
INF, NAN = np.inf, np.nan
FIELDS = ("means", "quats", "scales", "opacities", "sh", "means2d_offset")
# The Gaussians that are spoilt: the first, one in the middle, the last.
BAD = np.array([0, 17, COUNT - 1])

SPOILT = {
  "mean is NaN": {"means": [NAN, 0, 0]},
  "mean is infinite": {"means": [0, -INF, 0]},
  "mean is huge": {"means": [3e38, 3e38, -3e38]},
  "quaternion is NaN": {"quats": [NAN, 0, 0, 1]},
  "quaternion is infinite": {"quats": [1, INF, 0, 0]},
  "quaternion is zero": {"quats": [0, 0, 0, 0]},
  "scale is infinite": {"scales": [0.1, INF, 0.1]},
  "scale is NaN": {"scales": [0.1, 0.1, NAN]},
  "scale is huge": {"scales": [1e30, 0.1, 0.1]},
  "all scales are the largest": {"scales": [3e38, 3e38, 3e38]},
  "opacity is NaN": {"opacities": NAN},
  "opacity is infinite": {"opacities": INF},
  "opacity is zero": {"opacities": 0},
  "opacity is negative": {"opacities": -1},
  "opacity is less than seen": {"opacities": 0.0039},
  "mean and color are NaN": {"means": [NAN] * 3, "sh": [[NAN] * 3] * 4},
  "everything is NaN": {
    "means": [NAN] * 3,
    "quats": [NAN] * 4,
    "scales": [NAN] * 3,
    "opacities": NAN,
    "sh": [[NAN] * 3] * 4,
  },
}


def whole_scene():
  gaussians = scenes.gaussians(COUNT, sh=4)
  return dataclasses.replace(
    gaussians, means2d_offset=jnp.zeros((CAMERAS, COUNT, 2))
  )


def spoil(gaussians, changes):
  """Writes values into the bad Gaussians."""
  changed = {
    name: getattr(gaussians, name).at[BAD].set(jnp.asarray(value, jnp.float32))
    for name, value in changes.items()
  }
  return dataclasses.replace(gaussians, **changed)


def differentiate(gaussians, camera):
  """Rendering and gradients of Gaussians, camera and background."""

  def function(gaussians, viewmat, K, background):
    view = dataclasses.replace(camera, viewmat=viewmat, K=K)
    r = rasterize(gaussians, view, Options(depth="D"), background)
    return (r.image, r.alpha, r.depth), r

  arrays = gaussians, camera.viewmat, camera.K, jnp.full((CAMERAS, 3), 0.3)
  pictures, pullback, rendering = jax.vjp(function, *arrays, has_aux=True)
  rng = scenes.rng_of(21)
  cotangents = tuple(scenes.array(rng.normal(size=x.shape)) for x in pictures)
  return rendering, pullback(cotangents)


@pytest.mark.parametrize("case", SPOILT)
def test_spoilt_gaussians_are_dropped(case, stages):
  del stages
  gaussians, camera = whole_scene(), scenes.camera((CAMERAS,))
  # Dropped in the plainest way: behind every camera.
  without = spoil(gaussians, {"opacities": 0.0})
  expected, slopes = differentiate(without, camera)
  actual, gradients = differentiate(spoil(gaussians, SPOILT[case]), camera)
  for name in ("image", "alpha", "depth", "means2d", "radii", "depths"):
    np.testing.assert_array_equal(
      getattr(actual, name), getattr(expected, name), name
    )
  assert np.isfinite(actual.image).all()
  for a, b in zip(
    jax.tree.leaves(gradients), jax.tree.leaves(slopes), strict=True
  ):
    assert np.isfinite(a).all()
    np.testing.assert_allclose(a, b, 1e-5, 1e-5)
  for name in FIELDS:
    slope = np.asarray(getattr(gradients[0], name))
    own = slope[:, BAD] if name == "means2d_offset" else slope[BAD]
    assert (own == 0).all(), name


@pytest.mark.parametrize(
  "changes",
  [
    {"quats": [1e30, 1e30, 0, 0]},
    {"quats": [1e-30, 0, 0, 0]},
    {"scales": [1e-30, 1e-30, 1e-30]},
    {"scales": [1e5, 1e5, 1e5]},
    {"means": [1e9, 1e9, 1e9]},
    {"opacities": 1e10},
  ],
)
def test_extreme_numbers_stay_finite(changes, stages):
  del stages
  gaussians = spoil(whole_scene(), changes)
  rendering, gradients = differentiate(gaussians, scenes.camera((CAMERAS,)))
  for value in jax.tree.leaves((rendering, gradients)):
    assert np.isfinite(value).all()


@pytest.mark.parametrize(
  "changes",
  [
    {"viewmat": NAN},
    {"K": NAN},
    {"K": INF},
    {"viewmat": -INF},
  ],
)
def test_a_spoilt_camera_sees_nothing_and_disturbs_nobody(changes, stages):
  del stages
  gaussians, good = whole_scene(), scenes.camera((CAMERAS,))
  expected, _ = differentiate(gaussians, good)
  camera = dataclasses.replace(
    good,
    **{n: getattr(good, n).at[1, 0, 0].set(v) for n, v in changes.items()},
  )
  actual, gradients = differentiate(gaussians, camera)
  np.testing.assert_array_equal(actual.image[0], expected.image[0])
  assert (actual.alpha[1] == 0).all() and (actual.radii[1] == 0).all()
  for slope in jax.tree.leaves(gradients):
    assert np.isfinite(slope).all()
  assert (gradients[1][1] == 0).all() and (gradients[2][1] == 0).all()


def test_none_is_visible(stages):
  del stages
  gaussians, camera = whole_scene(), scenes.camera((CAMERAS,))
  far = dataclasses.replace(gaussians, means=gaussians.means + 1e6)
  rendering, gradients = differentiate(far, camera)
  assert (rendering.alpha == 0).all() and (rendering.radii == 0).all()
  np.testing.assert_array_equal(
    rendering.image, jnp.full_like(rendering.image, 0.3)
  )
  for slope in jax.tree.leaves(gradients[0]):
    assert (slope == 0).all()


@pytest.mark.parametrize("shift", [-2.0, 3.0])
def test_principal_point_outside_the_picture(shift, stages):
  del stages
  gaussians, camera = whole_scene(), scenes.camera((CAMERAS,))
  # The Gaussians move with it, so that some stay visible.
  K = camera.K.at[:, 0, 2].set(shift * camera.width)
  viewmat = camera.viewmat.at[:, 0, 3].add(-shift / 1.3 * 2.4 + 0.9)
  camera = dataclasses.replace(camera, K=K, viewmat=viewmat)
  rendering, gradients = differentiate(gaussians, camera)
  assert float(rendering.alpha.mean()) > 0.03
  settings = oracle.settings_of(Options(depth="D"), camera.width, camera.height)
  for c in range(CAMERAS):
    inputs = scenes.inputs_of(gaussians, camera, c)
    colors = oracle.shade(
      np.float64(gaussians.sh), inputs[0], np.float64(viewmat[c])
    )
    image, _, _ = oracle.rasterize(inputs, colors, np.full(3, 0.3), settings)
    np.testing.assert_allclose(rendering.image[c], image, 0, 5e-5)
  for slope in jax.tree.leaves(gradients):
    assert np.isfinite(slope).all()


def test_flat_gaussians_and_needles(stages):
  # No determinant is left to cancel: eps2d is added to an exact one.
  del stages
  gaussians, camera = whole_scene(), scenes.camera((CAMERAS,))
  scales = gaussians.scales.at[::2, 0].set(1e-9).at[::4, 1].set(1e-9)
  scales = scales.at[1::6, 2].set(30.0)
  gaussians = dataclasses.replace(gaussians, scales=scales)
  rendering, gradients = differentiate(gaussians, camera)
  settings = oracle.settings_of(Options(depth="D"), camera.width, camera.height)
  for c in range(CAMERAS):
    inputs = scenes.inputs_of(gaussians, camera, c)
    colors = oracle.shade(
      np.float64(gaussians.sh), inputs[0], np.float64(camera.viewmat[c])
    )
    image, _, _ = oracle.rasterize(inputs, colors, np.full(3, 0.3), settings)
    error = np.abs(np.asarray(rendering.image[c]) - image)
    # Sigma is a small difference of large terms in a needle 500 pixels long.
    assert error.mean() < 1e-4 and (error > 1e-2).mean() < 2e-3
  for slope in jax.tree.leaves(gradients):
    assert np.isfinite(slope).all()


def test_no_gaussians_at_all(stages):
  del stages
  gaussians = scenes.gaussians(0)
  camera = scenes.camera((CAMERAS,))
  rendering, gradients = differentiate(gaussians, camera)
  assert (rendering.alpha == 0).all()
  np.testing.assert_array_equal(
    rendering.image, jnp.full_like(rendering.image, 0.3)
  )
  assert rendering.means2d.shape == (CAMERAS, 0, 2)
  assert gradients[0].means.shape == (0, 3)
  assert (gradients[1] == 0).all()


def test_no_cameras_at_all(stages):
  del stages
  camera = Camera(jnp.zeros((0, 4, 4)), jnp.zeros((0, 3, 3)), 37, 29)
  rendering = rasterize(scenes.gaussians(COUNT), camera)
  assert rendering.image.shape == (0, 29, 37, 3)
