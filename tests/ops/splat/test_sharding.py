"""Sharded rasterization: equal to one device's, and nothing is gathered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from chibijax.ops.splat import reference
from chibijax.ops.splat.scene import Options
from tests.ops.splat import ffi_scenes
from tests.ops.splat.ffi_scenes import assert_close, scene

GAUSSIANS = ("means", "quats", "scales", "opacities")
# How the mesh ("scene", "camera") splits scenes and cameras.
MESHES = {"scenes": (4, 1), "cameras": (1, 4), "both": (2, 2)}


@pytest.fixture
def native(monkeypatch):
  """Skips where there are no native calls."""
  if not ffi_scenes.choose_path("native", monkeypatch):
    pytest.skip("the native library is not built (python setup.py build_ext)")


@pytest.fixture
def definition(monkeypatch):
  """Runs what other platforms run."""
  ffi_scenes.choose_path("definition", monkeypatch)


def _mesh(shape):
  return jax.make_mesh(shape, ("scene", "camera"), (AxisType.Auto,) * 2)


def _specs(shared):
  """Gaussians are split by scene, cameras also among themselves."""
  both = P("scene", "camera")
  specs = dict.fromkeys(GAUSSIANS, P("scene"))
  specs["colors"] = P("scene") if shared else both
  return specs | dict.fromkeys(("viewmats", "Ks", "background", "offset"), both)


def _both(scene, options):
  """Results and gradients of everything."""
  results = ffi_scenes.render(scene, options)
  return results, jax.grad(ffi_scenes.loss)(scene, options)


def _collectives(compiled):
  text = compiled.as_text()
  names = ("all-gather", "all-to-all", "collective-permute", "all-reduce")
  return {name for name in names if name in text}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("split", MESHES)
def test_jit_keeps_the_split(split, shared, native):
  _compare_with_one_device(split, shared)


def test_jit_keeps_the_split_of_the_definition(definition):
  data = scene(4, 4)
  shardings = {
    k: NamedSharding(_mesh(MESHES["both"]), s) for k, s in _specs(True).items()
  }
  sharded = jax.device_put(data, shardings)
  compiled = jax.jit(ffi_scenes.render).lower(sharded).compile()
  results = compiled(sharded)
  expected = ffi_scenes.render(data, stages=reference)
  assert_close(results, expected)
  assert _collectives(compiled) == set()


def _compare_with_one_device(split, shared):
  mesh = _mesh(MESHES[split])
  options = Options(depth="D", absgrad=shared)
  data = scene(4, 4, shared=shared)
  function = jax.jit(functools.partial(_both, options=options))
  expected = function(data)
  shardings = {k: NamedSharding(mesh, s) for k, s in _specs(shared).items()}
  sharded = jax.device_put(data, shardings)
  compiled = function.lower(sharded).compile()
  results, gradients = compiled(sharded)
  assert_close((results, gradients), expected)
  # Gradients of Gaussians are sums over cameras; nothing else is exchanged.
  split_cameras = MESHES[split][1] > 1
  assert _collectives(compiled) == ({"all-reduce"} if split_cameras else set())
  images = NamedSharding(mesh, P("scene", "camera"))
  for x in results[:2]:
    assert x.sharding.is_equivalent_to(images, x.ndim)
  for k, x in gradients.items():
    assert x.sharding.is_equivalent_to(shardings[k], x.ndim), k


def test_replicated_gaussians_and_split_cameras(native):
  # The usual training on several devices: one scene, each device its cameras.
  mesh = _mesh((1, 4))
  data = scene(1, 8)
  function = jax.jit(functools.partial(_both, options=Options()))
  shardings = {k: NamedSharding(mesh, s) for k, s in _specs(True).items()}
  sharded = jax.device_put(data, shardings)
  compiled = function.lower(sharded).compile()
  assert_close(compiled(sharded), function(data))
  assert _collectives(compiled) == {"all-reduce"}


def test_one_mesh_axis_for_scenes_and_cameras(native):
  # Scenes take the axis, so that cameras have to be gathered.
  mesh = _mesh((1, 4))
  data = scene(4, 4)
  specs = dict.fromkeys(data, P(None, "camera"))
  specs |= dict.fromkeys((*GAUSSIANS, "colors"), P("camera"))
  sharded = jax.device_put(
    data, {k: NamedSharding(mesh, s) for k, s in specs.items()}
  )
  function = jax.jit(functools.partial(_both, options=Options()))
  assert_close(function(sharded), function(data))


def test_projection_may_split_gaussians(native):
  mesh = _mesh((2, 2))
  data = scene(1, 2, n=32)
  names = (*GAUSSIANS, "viewmats", "Ks")
  specs = dict.fromkeys(GAUSSIANS, P(None, "scene"))
  specs |= dict.fromkeys(("viewmats", "Ks"), P(None, "camera"))

  def both(*arrays):
    def project(*arrays):
      size = dict(width=ffi_scenes.WIDTH, height=ffi_scenes.HEIGHT)
      return ffi_scenes.ffi.project(*arrays, **size, options=Options())

    results, pullback = jax.vjp(lambda *a: project(*a)[:4], *arrays)
    return results, pullback(jax.tree.map(jnp.cos, results))

  function = jax.jit(both)
  arrays = [data[k] for k in names]
  sharded = [
    jax.device_put(data[k], NamedSharding(mesh, specs[k])) for k in names
  ]
  compiled = function.lower(*sharded).compile()
  assert_close(compiled(*sharded), function(*arrays))
  assert _collectives(compiled) == {"all-reduce"}


def test_batch_that_devices_do_not_divide(native):
  # Three cameras on four devices, by a constraint inside of the program.
  mesh = _mesh((1, 4))
  data = scene(1, 3)
  spread = NamedSharding(mesh, P(None, "camera"))

  def loss(scene):
    viewmats = jax.lax.with_sharding_constraint(scene["viewmats"], spread)
    return ffi_scenes.loss(scene | {"viewmats": viewmats})

  everywhere = jax.device_put(data, NamedSharding(mesh, P()))
  expected = jax.jit(jax.grad(ffi_scenes.loss))(data)
  assert_close(jax.jit(jax.grad(loss))(everywhere), expected)


@pytest.mark.parametrize("split", MESHES)
def test_shard_map(split, native):
  parts = MESHES[split]
  options = Options(absgrad=True)
  data = scene(4, 4)
  specs = _specs(True)
  shard = functools.partial(
    jax.shard_map, mesh=_mesh(parts), in_specs=(specs,), check_vma=False
  )

  def render(scene):
    return ffi_scenes.render(scene, options)[:2]

  images = jax.jit(shard(render, out_specs=P("scene", "camera")))
  assert_close(images(data), jax.jit(render)(data))

  # Each device's loss: gradients of Gaussians want the sum over the devices
  # with other cameras.
  def local(scene):
    gradients = jax.grad(ffi_scenes.loss)(scene, options)
    return {
      k: g if "camera" in specs[k] else jax.lax.psum(g, "camera")
      for k, g in gradients.items()
    }

  def whole(scene):
    losses = (
      ffi_scenes.loss(
        {k: _part(x, specs[k], place, parts) for k, x in scene.items()}, options
      )
      for place in np.ndindex(parts)
    )
    return sum(losses)

  actual = jax.jit(shard(local, out_specs=specs))(data)
  assert_close(actual, jax.jit(jax.grad(whole))(data))


def _part(x, spec, place, parts):
  """What the device at a place of the mesh holds of an array."""
  for axis in range(len(spec)):
    size = x.shape[axis] // parts[axis]
    start = place[axis] * size
    x = jax.lax.slice_in_dim(x, start, start + size, axis=axis)
  return x
