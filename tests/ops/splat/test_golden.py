"""Projections, renders and gradients of a real scene, made with gsplat.

Tolerances are those that the golden files' notes give for float32.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops.splat import Camera, Gaussians, Options, rasterize
from chibijax.ops.splat.scene import Projection

VARIANTS = {
  "classic_maxalpha099": Options(),
  "classic_maxalpha0999": Options(max_alpha=0.999),
  "antialiased": Options(antialiased=True),
  "rgb_depth": Options(depth="D"),
}


@pytest.fixture(scope="module")
def golden(shared_data):
  """Loads one file's arrays by name."""

  @functools.cache
  def load(name):
    path = shared_data / "splat" / f"golden_{name}.npz"
    if not path.is_file():
      pytest.skip(f"no golden file {path}")
    with np.load(path) as arrays:
      return dict(arrays)

  return load


@pytest.mark.parametrize("model", ["pinhole", "ortho", "fisheye"])
def test_projection(model, golden, stages):
  arrays = golden("projection")
  names = ("means", "quats", "scales", "opacities", "viewmats", "Ks")
  value = stages.project(
    *(jnp.asarray(arrays[f"in_{name}"])[None] for name in names),
    width=int(arrays["in_width"]),
    height=int(arrays["in_height"]),
    options=Options(camera_model=model, antialiased=True),
  )
  value = Projection(*(np.asarray(x[0]) for x in value))
  radii = arrays[f"{model}/radii"]
  seen = (radii > 0).all(-1)
  assert seen.sum() > 3000
  # A radius is rounded up: one in ten thousand may fall to the other side.
  assert (value.radii != radii).any(-1).sum() <= 1
  seen &= (value.radii > 0).all(-1)
  for name in ("means2d", "depths", "conics"):
    np.testing.assert_allclose(
      getattr(value, name)[seen], arrays[f"{model}/{name}"][seen], 2e-5, 2e-4
    )
  opacities = arrays[f"{model}/compensations"] * arrays["in_opacities"]
  np.testing.assert_allclose(value.opacities[seen], opacities[seen], 2e-6)


def close_picture(actual, expected):
  """Float32's errors are small but where it decides otherwise."""
  error = np.abs(np.asarray(actual) - expected)
  assert error.mean() < 1e-5
  assert (error > 1e-4).mean() < 1e-3


@pytest.mark.parametrize("variant", VARIANTS)
def test_render_and_gradients(variant, golden, stages):
  arrays = golden("garden_sub")
  options = VARIANTS[variant]

  def wanted(name):
    # What a variant lacks equals the first variant's.
    key = f"{variant}/{name}"
    return arrays[key if key in arrays else f"classic_maxalpha099/{name}"]

  def given(name):
    return jnp.asarray(arrays[f"in_{name}"])

  def render(values):
    gaussians = Gaussians(
      means2d_offset=values["means2d"],
      **{
        name: values[name]
        for name in ("means", "quats", "scales", "opacities", "colors")
      },
    )
    camera = Camera(
      viewmat=values["viewmats"],
      K=given("Ks"),
      width=int(arrays["in_width"]),
      height=int(arrays["in_height"]),
    )
    r = rasterize(gaussians, camera, options, values["backgrounds"])
    return (r.image, r.alpha, r.depth), r

  names = "means quats scales opacities colors viewmats backgrounds".split()
  values = {name: given(name) for name in names}
  values["means2d"] = jnp.zeros((*arrays["in_v_rgb"].shape[:1], 4096, 2))
  _, pullback, rendering = jax.vjp(render, values, has_aux=True)
  close_picture(rendering.image, wanted("render_rgb"))
  close_picture(rendering.alpha, wanted("render_alpha")[..., 0])
  v_depth = None
  if options.depth != "none":
    close_picture(rendering.depth, wanted("depth_accum")[..., 0])
    expected = rendering.depth / jnp.maximum(rendering.alpha, 1e-10)
    close_picture(expected, wanted("depth_expected")[..., 0])
    v_depth = given("v_depth")[..., 0]
  np.testing.assert_array_equal(rendering.radii, wanted("radii"))
  (gradients,) = pullback((given("v_rgb"), given("v_alpha")[..., 0], v_depth))
  for name, actual in gradients.items():
    expected = wanted(f"grad_{name}")
    error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
    assert error < 2e-3, name
