"""`vmap` of the rasterizer's stages: equal to a loop, and one native launch."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from chibijax.ops.splat.scene import Options
from tests.ops.splat import ffi_scenes
from tests.ops.splat.ffi_scenes import assert_close, scene

GAUSSIANS = ("means", "quats", "scales", "opacities", "colors")
CAMERAS = ("viewmats", "Ks", "background", "offset")
# What is mapped, the batch of scenes and of cameras below the mapped axis,
# whether colours are shared by the cameras.
CASES = {
  "cameras": (CAMERAS, 1, 2, True),
  "cameras_of_scenes": (CAMERAS, 2, 2, True),
  "cameras_own_colors": (CAMERAS, 1, 2, False),
  "viewmats": (("viewmats",), 1, 1, True),
  "background": (("background",), 1, 2, True),
  "gaussians": (GAUSSIANS, 1, 2, True),
  "gaussians_of_scenes": (GAUSSIANS, 2, 1, True),
  "colors": (("colors",), 1, 2, True),
  "own_colors": (("colors",), 2, 2, False),
  "both": (GAUSSIANS + CAMERAS, 2, 2, True),
}
SIZE = 3
OPTIONS = Options(depth="D")


@pytest.fixture
def native(monkeypatch):
  """Skips where there are no native calls."""
  if not ffi_scenes.choose_path("native", monkeypatch):
    pytest.skip("the native library is not built (python setup.py build_ext)")


@pytest.fixture
def cuda(monkeypatch):
  """Traces native calls for GPUs only: a CPU runs the definition."""
  ffi_scenes.choose_path("definition", monkeypatch)


def _mapped_scene(case):
  """A scene with a leading axis on what is mapped, and `in_axes`."""
  mapped, b, c, shared = CASES[case]
  scenes = [scene(b, c, shared=shared, seed=i) for i in range(SIZE)]
  axes = {k: 0 if k in mapped else None for k in scenes[0]}
  joined = {
    k: jnp.stack([s[k] for s in scenes]) if axes[k] == 0 else scenes[0][k]
    for k in axes
  }
  return joined, axes


def _loop(function, joined, axes):
  """What `vmap` of a function of one scene means."""
  results = [
    function({k: x if axes[k] is None else x[i] for k, x in joined.items()})
    for i in range(SIZE)
  ]
  return jax.tree.map(lambda *xs: jnp.stack(xs), *results)


def _launches(function, *args):
  """Native calls in the program for a GPU, which needs no GPU to be made."""
  traced = jax.jit(function).trace(*args)
  text = traced.lower(lowering_platforms=("cuda",)).as_text()
  assert "while" not in text
  return sorted(re.findall(r"custom_call @chibijax_splat_(\w+)", text))


# Once for all cases of a shape.
@functools.partial(jax.jit, static_argnames="options")
def _both(scene, options=OPTIONS):
  """Results, and gradients with respect to everything, mapped or not."""

  def loss(scene):
    results = ffi_scenes.render(scene, options)
    return ffi_scenes.weigh(results), results

  gradients, results = jax.grad(loss, has_aux=True)(scene)
  return results, gradients


@pytest.mark.parametrize("case", CASES)
def test_vmap_equals_a_loop(case, native):
  joined, axes = _mapped_scene(case)
  actual = jax.jit(jax.vmap(_both, (axes,)))(joined)
  expected = _loop(_both, joined, axes)
  assert_close(actual, expected)

  # Of the sum over the index: what is not mapped gathers all of it.
  def total(joined):
    losses = jax.vmap(ffi_scenes.loss, (axes, None))(joined, OPTIONS)
    return losses.sum()

  summed = {
    k: x if axes[k] == 0 else x.sum(axis=0) for k, x in expected[1].items()
  }
  assert_close(jax.jit(jax.grad(total))(joined), summed)


def test_vmap_of_the_definition_equals_a_loop(cuda):
  # A function of its own: `_both` remembers what it was traced for.
  joined, axes = _mapped_scene("cameras_of_scenes")
  render = jax.jit(lambda scene: ffi_scenes.render(scene))
  actual = jax.jit(jax.vmap(ffi_scenes.render, (axes,)))(joined)
  assert_close(actual, _loop(render, joined, axes))


def test_nested_vmap(native):
  # 3 scenes, each seen by the same 2 cameras.
  options = Options(absgrad=True)
  scenes = [scene(1, 1, seed=i) for i in range(5)]
  splats = {k: jnp.stack([s[k] for s in scenes[:3]]) for k in GAUSSIANS}
  cameras = {k: jnp.stack([s[k] for s in scenes[3:]]) for k in CAMERAS}

  def both(splats, cameras):
    return _both(splats | cameras, options=options)

  nested = jax.vmap(jax.vmap(both, (None, 0)), (0, None))
  actual = jax.jit(nested)(splats, cameras)
  for i in range(3):
    for j in range(2):
      expected = both(
        {k: x[i] for k, x in splats.items()},
        {k: x[j] for k, x in cameras.items()},
      )
      assert_close(jax.tree.map(lambda x: x[i, j], actual), expected)  # noqa: B023


@pytest.mark.parametrize("case", CASES)
def test_one_launch(case, cuda):
  joined, axes = _mapped_scene(case)
  render = jax.vmap(ffi_scenes.render, (axes,))
  assert _launches(render, joined) == ["composite", "project"]
  gradient = jax.vmap(jax.grad(ffi_scenes.loss), (axes,))
  assert _launches(gradient, joined) == [
    *("composite", "composite_grad", "project", "project_grad")
  ]
  # Mapped twice, the second time everything.
  again = jax.tree.map(lambda x: jnp.stack([x, x]), joined)
  assert _launches(jax.vmap(render), again) == ["composite", "project"]


def test_shared_gaussians_are_not_copied(cuda):
  # Cameras mapped over one scene: the call gets [1, N, ...] and all cameras.
  joined, axes = _mapped_scene("cameras")
  traced = jax.jit(jax.vmap(ffi_scenes.render, (axes,))).trace(joined)
  text = traced.lower(lowering_platforms=("cuda",)).as_text()
  calls = [line for line in text.splitlines() if "custom_call @chibi" in line]
  project, composite = calls
  assert "(tensor<1x12x3xf32>" in project and "tensor<1x6x4x4xf32>" in project
  assert "tensor<1x1x12x3xf32>" in composite
  assert "tensor<1x6x12x2xf32>" in composite
