"""The native calls inside of JAX: values, gradients, transformations, limits.

Numerics are tested in depth elsewhere; here it is what wraps the calls.
"""

import functools
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from chibijax.ops.splat import ffi, reference
from chibijax.ops.splat.scene import Options
from tests.ops.splat import ffi_scenes
from tests.ops.splat.ffi_scenes import assert_close, scene

# Gradients pass through divisions by 1 - alpha on one side only.
GRADIENT_TOLERANCE = 2e-4
# Options, and whether the cameras share colours.
CASES = {
  "all": (
    Options(antialiased=True, depth="ED", max_alpha=0.999, absgrad=True),
    False,
  ),
  "ortho": (
    Options(camera_model="ortho", near=3.5, far=4.5, normalize_quats=False),
    True,
  ),
  "fisheye": (
    Options(camera_model="fisheye", radius_clip=2.0, depth="D", tile_size=8),
    True,
  ),
}


@pytest.fixture(params=["native", "definition"])
def path(request, monkeypatch):
  """Chooses what computes on the CPU."""
  if not ffi_scenes.choose_path(request.param, monkeypatch):
    pytest.skip("the native library is not built (python setup.py build_ext)")
  return request.param


@pytest.fixture
def native(monkeypatch):
  """Skips where there are no native calls."""
  if not ffi_scenes.choose_path("native", monkeypatch):
    pytest.skip("the native library is not built (python setup.py build_ext)")


@pytest.fixture
def cuda(monkeypatch):
  """Makes native calls for GPUs, whether or not their library is there."""
  monkeypatch.setattr(ffi, "_platforms", lambda: ("cuda",))


def _lower(function, *args, platform="cuda"):
  traced = jax.jit(function).trace(*args)
  return traced.lower(lowering_platforms=(platform,)).as_text()


def _calls(text):
  return sorted(re.findall(r"custom_call @chibijax_splat_(\w+)", text))


@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(case, native):
  actual = _evaluate(case, ffi)
  assert_close(actual[0], (expected := _evaluate(case, reference))[0])
  assert_close(actual[1], expected[1], GRADIENT_TOLERANCE)
  assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(actual[1]))


def test_other_platforms_equal_the_native_calls(native, monkeypatch):
  # There the gradient is JAX's own, of a second evaluation.
  expected = _evaluate("all", ffi)
  ffi_scenes.choose_path("definition", monkeypatch)
  actual = _evaluate("all", ffi)
  assert_close(actual[0], expected[0])
  assert_close(actual[1], expected[1], GRADIENT_TOLERANCE)


def _evaluate(case, stages):
  """Results and gradients of everything."""
  options, shared = CASES[case]
  data = scene(2, 3, shared=shared)
  if case == "ortho":
    data["Ks"] *= jnp.float32([0.25, 0.25, 1]).reshape(1, 1, 3, 1)

  def both(data):
    results = ffi_scenes.render(data, options, stages)
    return ffi_scenes.weigh(results), results

  gradients, results = jax.jit(jax.grad(both, has_aux=True))(data)
  return results, gradients


def test_eager_equals_jit(native):
  data = scene(1, 2)
  actual = jax.value_and_grad(ffi_scenes.loss)(data)
  assert_close(actual, jax.jit(jax.value_and_grad(ffi_scenes.loss))(data))


def test_offset_may_be_absent(native):
  data = scene(1, 2)
  options = Options(absgrad=True)
  gradient = jax.jit(
    jax.grad(functools.partial(ffi_scenes.loss, options=options))
  )
  expected = gradient(data)
  without = gradient(data | {"offset": None})
  assert without.pop("offset") is None
  offset = expected.pop("offset")
  assert_close(without, expected)
  # Sums of absolute values, so no less than the absolute sums.
  signed = jax.jit(jax.grad(ffi_scenes.loss))(data)["offset"]
  assert (offset >= np.abs(signed) - 1e-4).all() and offset.max() > 0


def test_offset_moves_gaussians(native):
  data = scene(1, 2)
  shift = jnp.float32([1, 2])
  moved = data | {"offset": jnp.broadcast_to(shift, data["offset"].shape)}
  offset = data | {"Ks": data["Ks"].at[..., :2, 2].add(shift)}
  actual, expected = ffi_scenes.render(moved), ffi_scenes.render(offset)
  # The centre also decides what the clamp of the Jacobian sees: compare where
  # that is far away.
  assert_close(actual[:2], expected[:2], 1e-3)


@pytest.mark.parametrize("sizes", [(1, 2, 0, 3), (0, 2, 9, 3), (2, 0, 9, 3)])
def test_nothing_to_see(sizes, native):
  b, c, n, d = sizes
  data = scene(b, c, n=n, d=d)
  results = jax.jit(ffi_scenes.render)(data)
  background = data["background"][:, :, None, None]
  assert_close(results[0], jnp.broadcast_to(background, results[0].shape))
  assert_close(results[1], jnp.ones_like(results[1]))
  gradients = jax.jit(jax.grad(ffi_scenes.loss))(data)
  del data["background"], gradients["background"]
  assert_close(gradients, jax.tree.map(jnp.zeros_like, data))


def test_no_channels(native):
  data = scene(1, 2)
  empty = data | {k: data[k][..., :0] for k in ("colors", "background")}
  results = jax.jit(ffi_scenes.render)(empty)
  assert results[0].shape[-1] == 0
  assert_close(results[1:], ffi_scenes.render(data)[1:])
  gradients = jax.jit(jax.grad(ffi_scenes.loss))(empty)
  assert gradients["colors"].shape == empty["colors"].shape
  assert np.abs(gradients["means"]).max() > 0


def test_only_what_is_used_gets_a_gradient(path):
  # No gradient flows through radii, and results may go unused.
  data = scene(1, 1)

  def size(means):
    p = ffi.project(
      *(means, data["quats"], data["scales"], data["opacities"]),
      *(data["viewmats"], data["Ks"]),
      width=ffi_scenes.WIDTH,
      height=ffi_scenes.HEIGHT,
      options=Options(),
    )
    return p.radii.sum() * 1.0 + p.depths.sum(), p

  gradient, p = jax.grad(size, has_aux=True)(data["means"])
  seen = (np.asarray(p.radii[0, 0]) > 0).any(-1)
  expected = np.where(seen[:, None], np.float32([0, 0, 1]), 0)[None]
  assert_close(gradient, jnp.asarray(expected))


def test_transformations(native):
  data = scene(1, 2)
  expected = jax.jit(jax.grad(ffi_scenes.loss))(data)
  rematerialized = jax.grad(jax.checkpoint(ffi_scenes.loss))
  assert_close(jax.jit(rematerialized)(data), expected)
  assert_close(jax.grad(jax.jit(ffi_scenes.loss))(data), expected)
  shapes = jax.eval_shape(jax.grad(ffi_scenes.loss), data)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes) == jax.tree.map(
    lambda x: (x.shape, x.dtype), expected
  )

  def summed(data):
    def step(total, shift):
      moved = data | {"means": data["means"] + shift}
      return total + ffi_scenes.loss(moved), None

    return jax.lax.scan(step, 0.0, jnp.float32([0.0, 0.1]))[0]

  moved = data | {"means": data["means"] + jnp.float32(0.1)}
  both = jax.tree.map(jnp.add, expected, jax.grad(ffi_scenes.loss)(moved))
  assert_close(jax.jit(jax.grad(summed))(data), both)


def test_residuals_do_not_depend_on_what_is_asked(cuda):
  # Without a gradient there is one call of each stage, and no more of them
  # for a value together with its gradient.
  data = scene(1, 2)
  assert _calls(_lower(ffi_scenes.render, data)) == ["composite", "project"]
  text = _lower(jax.value_and_grad(ffi_scenes.loss), data)
  assert _calls(text) == [
    *("composite", "composite_grad", "project", "project_grad")
  ]


def test_other_platforms_run_the_definition(cuda):
  data = scene(1, 1)
  assert not _calls(_lower(ffi_scenes.render, data, platform="tpu"))
  assert not _calls(_lower(ffi_scenes.render, data, platform="cpu"))


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_export(platform, path):
  data = scene(1, 2)
  names = ["project", "composite", "project_grad", "composite_grad"]
  checks = [
    export.DisabledSafetyCheck.custom_call(f"chibijax_splat_{name}")
    for name in names
  ]
  gradient = jax.jit(jax.grad(ffi_scenes.loss))
  exported = export.export(
    gradient, platforms=(platform,), disabled_checks=checks
  )(data)
  native = platform in ffi._platforms()
  assert _calls(exported.mlir_module()) == (sorted(names) if native else [])
  if native and platform == "cpu":
    assert_close(jax.jit(exported.call)(data), gradient(data))


def test_is_not_traced_again():
  def size():
    return ffi._composite.cache_info(), ffi._project.cache_info()

  first = ffi._project(ffi._Setup(8, 8, Options(), ("cuda",)))
  misses = [info.misses for info in size()]
  again = ffi._project(ffi._Setup(8, 8, Options(), ("cuda",)))
  assert first is again
  assert [info.misses for info in size()] == misses
  data = scene(1, 1)
  arrays = [data[k] for k in ("means", "quats", "scales", "opacities")]
  arrays += [data["viewmats"], data["Ks"]]
  first(*arrays)
  count = first._cache_size()
  first(*arrays)
  assert first._cache_size() == count == 1


def test_switched_off(monkeypatch):
  monkeypatch.setenv("CHIBIJAX_NATIVE", "0")
  assert not ffi.available() and not ffi.available("cuda")
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    text = _lower(ffi_scenes.render, scene(1, 1), platform="cpu")
  assert not _calls(text)


def test_a_missing_library_is_said_once(monkeypatch):
  monkeypatch.delenv("CHIBIJAX_NATIVE", raising=False)
  monkeypatch.setattr(ffi, "_library", lambda platform: None)
  ffi._warn_once.cache_clear()
  data = scene(1, 1)
  with pytest.warns(RuntimeWarning, match=r"setup\.py build_ext"):
    actual = ffi_scenes.render(data)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert_close(actual, ffi_scenes.render(data, stages=reference))


def _shape_of_bins(options, *, n=1000, size=100):
  setup = ffi._Setup(size, size, options, ("cpu", "cuda"))
  room = ffi._room(setup, 1, n)
  assert ffi._room(setup._replace(platforms=("cpu",)), 1, n) == 0
  return room


def test_room_for_tile_lists():
  # 49 tiles of 16: never more pairs than there can be.
  assert _shape_of_bins(Options(capacity=500)) == 49 + 1 + 500
  assert _shape_of_bins(Options()) == 49 + 1 + 12 * 1000
  assert _shape_of_bins(Options(), size=30) == 4 + 1 + 4 * 1000


@pytest.mark.parametrize(
  ("n", "size", "capacity", "sentence"),
  [
    (2**30, 16, None, "got 2 images of 1073741824 Gaussians"),
    (1, 2**20, None, "got 2 images of 4294967296 tiles"),
    (10, 16, 2**30, "room for 1073741824 intersections"),
  ],
)
def test_counts_beyond_32_bits(n, size, capacity, sentence, cuda):
  floats = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
  arrays = (
    *(floats((1, 2, n, 2)), floats((1, 2, n, 3)), floats((1, 2, n))),
    *(floats((1, 1, n, 3)), floats((1, 2, n))),
    *(jax.ShapeDtypeStruct((1, 2, n, 2), jnp.int32), floats((1, 2, 3))),
  )
  composite = functools.partial(
    ffi.composite, width=size, height=size, options=Options(capacity=capacity)
  )
  with pytest.raises(ValueError, match=sentence):
    jax.eval_shape(lambda *args: composite(*args, None), *arrays)


def test_gpu_library_loads_without_a_gpu():
  if not (ffi._FOLDER / "libsplat_cuda.so").is_file():
    pytest.skip("the library for GPUs is not built (needs nvcc)")
  assert ffi._library("cuda") is not None
