"""The CUDA kernels: on the CPU by emulation, and on a GPU.

The emulation (cuda_emulation.h) runs the kernels' own source, so that what is
left for a GPU to show is what the emulation does not model: concurrency beyond
the order of threads and blocks, and the precision of the GPU's arithmetic.
"""

import dataclasses
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import splat
from chibijax.ops.splat import Options, ffi
from tests.ops.splat import emulated_cuda
from tests.ops.splat import stage_checks as checks


@pytest.fixture(scope="module")
def library(tmp_path_factory):
  """The emulated kernels, registered."""
  flags = os.environ.get("CHIBIJAX_EMULATION_FLAGS", "").split()
  path = emulated_cuda.build(tmp_path_factory.mktemp("emulated"), *flags)
  emulated_cuda.register(path)


@pytest.mark.parametrize("name", checks.CASES)
def test_emulated_equals_the_reference(name, library):
  with emulated_cuda.installed():
    tolerances = checks.TOLERANCE, checks.GRADIENT_TOLERANCE
    checks.check_stages(name, "emulation", tolerances)


def test_tiles_and_overflow_change_nothing(library):
  """Bit for bit: they only save work."""
  data = checks.deep()
  choices = [dict(tile_size=size) for size in (8, 16, 32)]
  choices += [dict(capacity=1), dict(capacity=30, tile_size=32)]
  with emulated_cuda.installed():
    images = [
      splat.rasterize(*data[:2], Options(**choice), data[2]).image
      for choice in choices
    ]
  for image in images[1:]:
    np.testing.assert_array_equal(image, images[0])
  assert np.ptp(images[0]) > 0.1


def lists_of(arrays, radii, tile_size, row):
  """Calls the handler itself: the order [B, C, N] and the bins [B, C, row]."""
  b, c, n = radii.shape[:3]
  size = (b, c, checks.HEIGHT, checks.WIDTH)
  floats = ((*size, arrays["colors"].shape[-1]), size, (b, c, 0, 0))
  integers = (size, (b, c, n), (b, c, row))
  call = jax.ffi.ffi_call(
    "emulated_composite",
    [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in floats]
    + [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in integers],
  )
  order = ("means2d", "conics", "opacities", "colors", "depths")
  results = call(
    *(arrays[name] for name in order),
    *(radii, arrays["background"]),
    max_alpha=np.float32(0.99),
    tile_size=np.int64(tile_size),
    with_depth=np.bool_(False),
  )
  return np.asarray(results[4]), np.asarray(results[5])


def visible_tiles(p, camera, tile_size):
  """Which Gaussians are seen at a pixel of each tile, [tiles, N], float64."""
  x, y = np.arange(checks.WIDTH) + 0.5, np.arange(checks.HEIGHT) + 0.5
  mean, conic, opacity = (
    np.float64(v[0, camera]) for v in (p.means2d, p.conics, p.opacities)
  )
  dx = mean[:, 0, None, None] - x
  dy = mean[:, 1, None, None] - y[:, None]
  a, b, c = conic.T[..., None, None]
  sigma = (a * dx**2 + c * dy**2) / 2 + b * dx * dy
  seen = opacity[:, None, None] * np.exp(-sigma) >= 1 / 255
  tall, wide = -(-checks.HEIGHT // tile_size), -(-checks.WIDTH // tile_size)
  whole = np.zeros((len(mean), tall * tile_size, wide * tile_size), bool)
  whole[:, : checks.HEIGHT, : checks.WIDTH] = seen
  whole = whole.reshape(-1, tall, tile_size, wide, tile_size)
  return whole.any((2, 4)).reshape(-1, tall * wide).T


@pytest.mark.parametrize("tile_size", [8, 16, 32])
def test_tile_lists(tile_size, library):
  """In order, complete, hardly longer than need be, or marked as overflown."""
  projecting, compositing = checks.stage_inputs(checks.far_away())
  p, _ = checks.project_by_reference(projecting, Options())
  arrays = {key: getattr(p, key) for key in checks.PROJECTED} | compositing
  tiles = -(-checks.WIDTH // tile_size) * -(-checks.HEIGHT // tile_size)
  counts, room = [], 5000
  for _ in range(2):
    order, bins = lists_of(arrays, p.radii, tile_size, tiles + 1 + room)
    for camera in range(2):
      culled = np.asarray(p.radii[0, camera, :, 0]) == 0
      depths = np.where(culled, np.inf, p.depths[0, camera])
      by_depth = np.argsort(depths, stable=True)
      np.testing.assert_array_equal(order[0, camera], by_depth)
      rank = np.argsort(by_depth)
      row = bins[0, camera]
      if row[0] < 0:
        assert camera == 0 and room == counts[0] - 1
        continue
      starts, ids = row[: tiles + 1], row[tiles + 1 :]
      needed = visible_tiles(p, camera, tile_size)
      for tile in range(tiles):
        listed = ids[starts[tile] : starts[tile + 1]]
        assert (np.diff(rank[listed]) > 0).all()
        assert set(np.flatnonzero(needed[tile])) <= set(listed)
      if room == 5000:
        counts.append(int(starts[-1]))
      assert starts[0] == 0 and starts[-1] == counts[camera] <= room
      assert starts[-1] <= 1.15 * needed.sum() + 5
    room = counts[0] - 1
  # The camera that sees everything small needs less room than there was.
  assert (bins[0, :, 0] < 0).tolist() == [True, False]


def test_tall_picture(library):
  """Some Gaussians meet more rows of tiles than a warp has lanes."""
  gaussians, camera, background = checks.scene(30, cameras=())
  gaussians = dataclasses.replace(
    gaussians,
    scales=gaussians.scales.at[::2].multiply(20.0),
    means2d_offset=None,
  )
  camera = dataclasses.replace(camera, width=29, height=290)
  with emulated_cuda.installed():
    images = [
      splat.rasterize(gaussians, camera, options, background).image
      for options in (
        Options(tile_size=8, capacity=9999),
        Options(tile_size=32, capacity=1),
      )
    ]
  np.testing.assert_array_equal(*images)
  assert np.ptp(images[0]) > 0.1


def rasterize_with_gradients(data):
  """Pictures and every gradient by the public function, traced anew."""
  gaussians, camera, background = data

  def loss(gaussians, viewmat, K, background):
    view = dataclasses.replace(camera, viewmat=viewmat, K=K)
    result = splat.rasterize(gaussians, view, checks.ABSOLUTE, background)
    outputs = result.image, result.alpha, result.depth
    waves = (jnp.sin(0.3 * jnp.arange(x.size)) for x in outputs)
    parts = [x.reshape(-1) @ wave for x, wave in zip(outputs, waves)]
    return sum(parts), outputs

  gradient = jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True)
  gradients, outputs = jax.jit(gradient)(
    gaussians, camera.viewmat, camera.K, background
  )
  leaves = jax.tree.leaves_with_path(gradients)
  return outputs, {jax.tree_util.keystr(path): x for path, x in leaves}


def check_public_function(run):
  """Compares `run(rasterize_with_gradients, data)` with the reference."""
  data = checks.scene(120, channels=5)
  outputs, gradients = run(rasterize_with_gradients, data)
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("CHIBIJAX_NATIVE", "0")
    expected_outputs, expected = rasterize_with_gradients(data)
  checks.assert_near(outputs, expected_outputs, checks.GPU_TOLERANCE, 1e-3)
  checks.assert_gradients_near(
    gradients, expected, checks.GPU_GRADIENT_TOLERANCE
  )
  assert len(gradients) == 9 and all(x.any() for x in gradients.values())


def test_public_function(library):
  def emulated(function, data):
    with emulated_cuda.installed():
      return jax.block_until_ready(function(data))

  check_public_function(emulated)


@pytest.mark.gpu
def test_public_function_on_a_gpu():
  assert ffi.available("cuda"), "libsplat_cuda.so is not built; see setup.py"
  check_public_function(lambda function, data: function(data))


@pytest.mark.parametrize("order", [1, 2])
def test_order_of_threads_changes_nothing(order, library, monkeypatch):
  """In reverse and at random: a missing barrier would show."""
  projecting, compositing = checks.stage_inputs(checks.scene(90, channels=33))
  weights = jnp.ones(33), jnp.float32(1)
  results = []
  with emulated_cuda.installed():
    for which in (0, order):
      monkeypatch.setenv("CHIBIJAX_EMULATION_ORDER", str(which))
      p, _ = first = checks.project(projecting, checks.ABSOLUTE, "emulation")
      arrays = {key: getattr(p, key) for key in checks.PROJECTED} | compositing
      last = checks.composite(
        arrays, p.radii, weights, checks.ABSOLUTE, "emulation"
      )
      # The kernels read the order when they start.
      results.append(jax.block_until_ready((first, last)))
  for actual, expected in zip(*results, strict=True):
    for a, e in zip(actual[0], expected[0], strict=True):
      np.testing.assert_array_equal(a, e)
    # Atomic sums depend on the order.
    checks.assert_gradients_near(actual[1], expected[1], 1e-5)


SANITIZERS = "address,bounds,alignment,shift,signed-integer-overflow"


@pytest.mark.slow
def test_emulated_under_address_sanitizer():
  """No access outside of an array, shared memory included."""
  found = [
    subprocess.run(
      ["g++", f"-print-file-name={name}"],
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()
    # The last one, because the first must find what throws.
    for name in ("libasan.so", "libubsan.so", "libstdc++.so")
  ]
  environment = os.environ | {
    "LD_PRELOAD": ":".join(found),
    "ASAN_OPTIONS": "detect_leaks=0:alloc_dealloc_mismatch=0",
    "CHIBIJAX_EMULATION_FLAGS": f"-g -fsanitize={SANITIZERS}"
    " -fno-sanitize-recover=all",
    "CHIBIJAX_EMULATION_ORDER": "5",
  }
  command = [sys.executable, "-m", "pytest", "-q", __file__]
  command += ["-k", "overflow or huge or order", "-p", "no:cacheprovider"]
  done = subprocess.run(
    command, env=environment, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
def test_what_the_cpu_kernels_pass_the_emulated_pass_too():
  """Golden data, failures, batching, sharding."""
  skipped = ("export", "calls_are_native", "native_math", "threads", "agree")
  chosen = f"(cpu or native) and not ({' or '.join(skipped)})"
  command = [sys.executable, "-m", "pytest", "-q", str(emulated_cuda.HERE)]
  command += ["-p", "tests.ops.splat.emulated_everywhere", "-k", chosen]
  command += ["-p", "no:cacheprovider", f"--ignore={__file__}"]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
  passed = re.search(r"(\d+) passed", done.stdout)
  assert int(passed[1]) > 80


@pytest.mark.gpu
@pytest.mark.parametrize("name", checks.CASES)
def test_gpu_equals_the_reference(name):
  if not ffi.available("cuda"):
    pytest.fail("libsplat_cuda.so is not built; see setup.py")
  tolerances = checks.GPU_TOLERANCE, checks.GPU_GRADIENT_TOLERANCE
  checks.check_stages(name, "GPU", tolerances, exceptions=1e-3)
