"""The CPU kernels against the definition in JAX, and against themselves.

The shared mathematics in float64 is tested in test_native_math.py.
"""

import functools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import native_library
from chibijax.ops.splat import ffi, reference
from chibijax.ops.splat.scene import Options

WIDTH, HEIGHT, CAMERAS, GAUSSIANS, CHANNELS = 43, 29, 2, 150, 129
# float32 sums in another order, and exp to 2e-7; of an array's norm.
TOLERANCE = 1e-5
PROJECTED = ("means2d", "conics", "opacities", "depths")


@pytest.fixture(autouse=True)
def native():
  if not ffi.available("cpu") or jax.default_backend() != "cpu":
    pytest.skip("no native library for this CPU")


def splats(n=GAUSSIANS, huge=6, seed=0):
  """Arguments of `project`: small Gaussians, and some that fill pictures."""
  r = np.random.default_rng(seed)
  means = r.normal(size=(1, n, 3)) * [0.9, 0.7, 0.5] + [0, 0, 3]
  scales = np.exp(r.normal(size=(1, n, 3)) * 0.7 - 2.6)
  scales[:, :huge] *= 25
  opacities = r.uniform(0.05, 1, (1, n))
  # Three of these end a pixel, so that in most of them something is unseen.
  opacities[:, :huge] = np.resize([0.1, 0.97], huge)
  viewmats = np.tile(np.eye(4), (1, CAMERAS, 1, 1))
  viewmats[..., :3, 3] = r.normal(size=(1, CAMERAS, 3)) * 0.1
  Ks = np.tile(np.diag([WIDTH, 1.1 * WIDTH, 1.0]), (1, CAMERAS, 1, 1))
  Ks[..., :2, 2] = [0.45 * WIDTH, 0.6 * HEIGHT]
  quats = r.normal(size=(1, n, 4))
  arrays = (means, quats, scales, opacities, viewmats, Ks)
  return tuple(jnp.asarray(x, jnp.float32) for x in arrays)


def projected(**changes):
  return ffi.project(
    *splats(**changes), width=WIDTH, height=HEIGHT, options=Options()
  )


def layers(d, cameras=1, n=GAUSSIANS):
  """Colours and backgrounds: the first d of many channels."""
  r = np.random.default_rng(1)
  colors = r.uniform(size=(1, cameras, n, CHANNELS))[..., :d]
  background = r.uniform(size=(1, CAMERAS, CHANNELS))[..., :d]
  return jnp.asarray(colors, jnp.float32), jnp.asarray(background, jnp.float32)


def cotangents(d=CHANNELS):
  """Of image, transmittance and depth; 0 beyond d channels."""
  r = np.random.default_rng(2)
  image = r.normal(size=(1, CAMERAS, HEIGHT, WIDTH, CHANNELS))
  image[..., d:] = 0
  maps = r.normal(size=(2, 1, CAMERAS, HEIGHT, WIDTH))
  return tuple(jnp.asarray(x, jnp.float32) for x in (image, *maps))


@functools.partial(jax.jit, static_argnames=("stages", "options"))
def composite(stages, options, projection, colors, background, offset, v):
  """The image and all gradients of `composite`."""

  def run(means2d, conics, opacities, depths, colors, background, offset):
    return stages.composite(
      *(means2d, conics, opacities, colors, depths, projection.radii),
      *(background, offset),
      width=WIDTH,
      height=HEIGHT,
      options=options,
    )

  arguments = (getattr(projection, name) for name in PROJECTED)
  out, pull = jax.vjp(run, *arguments, colors, background, offset)
  return out, pull(type(out)(*v))


def no_offset():
  return jnp.zeros((1, CAMERAS, GAUSSIANS, 2))


def assert_close(got, expected, tolerance=TOLERANCE):
  for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    a, e = np.float64(a), np.float64(e)
    assert a.shape == e.shape and np.isfinite(a).all()
    assert np.linalg.norm(a - e) <= tolerance * np.linalg.norm(e)


def assert_same(got, expected):
  for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    np.testing.assert_array_equal(np.array(a), np.array(e))


def test_pixels_end():
  """The scene has pixels that end before their last Gaussian."""
  p = projected()
  colors, background = layers(3)
  out, _ = composite(
    *(ffi, Options(), p, colors, background, no_offset()),
    cut(cotangents(), 3),
  )
  ended = np.array(out.transmittance) < 3e-3
  assert 0.2 < ended.mean() < 1
  assert np.array(out.transmittance).min() > 1e-4


def test_calls_are_native():
  """Else all that follows would compare the definition with itself."""
  lowered = composite.lower(
    ffi, Options(), projected(), *layers(3), no_offset(), cut(cotangents(), 3)
  )
  for name in ("composite", "composite_grad"):
    assert f"chibijax_splat_{name}" in lowered.as_text()


def cut(v, d, depth=False):
  """The cotangents of fewer channels, and of no depth."""
  maps = v[2] if depth else jnp.zeros((1, CAMERAS, 0, 0))
  return v[0][..., :d], v[1], maps


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 32, 33, 128, 129])
def test_channels(d):
  """d channels are the first d of the definition's 129."""
  p, v = projected(), cotangents(d)
  expected, gradients = composite(
    reference, Options(depth="D"), p, *layers(CHANNELS), no_offset(), v
  )
  out, got = composite(
    ffi, Options(depth="D"), p, *layers(d), no_offset(), cut(v, d, True)
  )
  assert_close(out.image, expected.image[..., :d])
  assert_close(out[1:], expected[1:])
  *geometry, v_colors, v_background, v_offset = gradients
  assert_close(
    got, (*geometry, v_colors[..., :d], v_background[..., :d], v_offset)
  )


@pytest.mark.parametrize(
  ("changes", "cameras"),
  [
    ({"max_alpha": 0.999}, CAMERAS),  # colours of each camera's own
    ({"max_alpha": 0.5, "depth": "D", "absgrad": True}, 1),
  ],
)
def test_composite_options(changes, cameras):
  options, d = Options(**changes), 6
  arguments = (projected(), *layers(d, cameras), no_offset())
  v = cut(cotangents(), d, options.depth != "none")
  assert_close(
    composite(ffi, options, *arguments, v),
    composite(reference, options, *arguments, v),
  )


@functools.partial(jax.jit, static_argnames=("stages", "options"))
def project(stages, options, arguments, v):
  """All results and gradients of `project`."""

  def run(*arguments):
    p = stages.project(*arguments, width=WIDTH, height=HEIGHT, options=options)
    return tuple(getattr(p, name) for name in PROJECTED), p.radii

  out, pull, radii = jax.vjp(run, *arguments, has_aux=True)
  return out, radii, pull(v)


@pytest.mark.parametrize(
  "changes",
  [
    {"antialiased": True, "eps2d": 0.05, "normalize_quats": False},
    {"camera_model": "ortho", "radius_clip": 4.0},
    {"camera_model": "fisheye", "near": 2.5, "far": 3.5},
  ],
)
def test_project(changes):
  options, arguments = Options(**changes), splats(n=203)
  r = np.random.default_rng(3)
  v = tuple(
    jnp.asarray(r.normal(size=(1, CAMERAS, 203, *tail)), jnp.float32)
    for tail in ((2,), (3,), (), ())
  )
  out, radii, got = project(ffi, options, arguments, v)
  expected, its_radii, gradients = project(reference, options, arguments, v)
  seen = np.array(radii > 0).all(-1)
  assert 20 < seen.sum() < seen.size
  assert_same(radii, its_radii)
  assert_close(out, expected)
  assert_close(got, gradients)
  unseen = ~seen.any((0, 1))
  for array in got[:4]:
    np.testing.assert_array_equal(np.array(array)[0, unseen], 0)


@pytest.mark.parametrize("d", [3, 32])
def test_tile_size_changes_no_bit(d):
  p, v = projected(), cut(cotangents(), d)
  runs = [
    composite(ffi, Options(tile_size=t), p, *layers(d), no_offset(), v)
    for t in (8, 16, 32)
  ]
  for out, gradients in runs[1:]:
    assert_same(out, runs[0][0])
    # Sums over tiles are in the order of tiles.
    assert_close(gradients, runs[0][1], 1e-6)


def test_more_rows_than_are_kept_at_once():
  """Gradients of 600 Gaussians in all of 1024 tiles: 329 MB of rows."""
  n, side, d = 600, 256, 128
  r = np.random.default_rng(5)
  means2d = jnp.asarray(r.uniform(0, side, (1, 1, n, 2)), jnp.float32)
  conics = jnp.tile(jnp.array([1e-4, 0, 1e-4]), (1, 1, n, 1))
  depths = jnp.asarray(r.uniform(1, 2, (1, 1, n)), jnp.float32)
  colors = jnp.asarray(r.uniform(size=(1, 1, n, d)), jnp.float32)

  def gradient(tile_size):
    def total(means2d, opacities):
      out = ffi.composite(
        *(means2d, conics, opacities, colors, depths),
        jnp.full((1, 1, n, 2), 400, jnp.int32),
        jnp.zeros((1, 1, d)),
        None,
        width=side,
        height=side,
        options=Options(tile_size=tile_size),
      )
      return jnp.sum(jnp.square(out.image))

    opacities = jnp.full((1, 1, n), 0.9)
    return jax.jit(jax.grad(total, (0, 1)))(means2d, opacities)

  # 600 x 1024 rows of 544 bytes are five groups, 600 x 64 are one.
  assert_close(gradient(8), gradient(32), 1e-4)


def test_bad_shapes_are_refused():
  """By the handler itself, whatever calls it."""
  call = jax.ffi.ffi_call(
    "chibijax_splat_project",
    tuple(
      jax.ShapeDtypeStruct((1, CAMERAS, GAUSSIANS, *tail), kind)
      for tail, kind in (
        ((2,), jnp.float32),
        ((2,), jnp.float32),  # must be 3
        ((), jnp.float32),
        ((), jnp.float32),
        ((2,), jnp.int32),
      )
    ),
  )
  numbers = ("eps2d", "near", "far", "radius_clip")
  with pytest.raises(Exception, match="shapes of the arrays disagree"):
    jax.block_until_ready(
      call(
        *splats(),
        width=np.int64(WIDTH),
        height=np.int64(HEIGHT),
        camera_model=np.int64(0),
        antialiased=np.bool_(False),
        normalize_quats=np.bool_(True),
        **dict.fromkeys(numbers, np.float32(0.3)),
      )
    )


# Run as a program: everything of a scene that is large enough for many tasks.
def everything(path: str, instruction_set: str) -> None:
  if instruction_set == "generic":
    native_library._cpu_flags = set
  assert ffi.available("cpu")
  n, results = 5000, {}
  p = ffi.project(*splats(n=n), width=WIDTH, height=HEIGHT, options=Options())
  for d in (3, 9):
    out, gradients = composite(
      *(ffi, Options(depth="D", absgrad=True), p, *layers(d, n=n)),
      jnp.zeros((1, CAMERAS, n, 2)),
      cut(cotangents(), d, True),
    )
    for i, array in enumerate((*out, *gradients)):
      results[f"composite{d}_{i}"] = array
  v = tuple(jnp.ones_like(getattr(p, name)) for name in PROJECTED)
  _, _, gradients = project(ffi, Options(antialiased=True), splats(n=n), v)
  results |= {f"project_{i}": x for i, x in enumerate(gradients)}
  np.savez(path, **results)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Results by 1, 2 and 4 threads, and by the code for any CPU."""
  folder = tmp_path_factory.mktemp("runs")
  root = pathlib.Path(__file__).resolve().parents[3]
  cases = [("1", "best"), ("2", "best"), ("4", "best"), ("2", "generic")]
  processes = {}
  for threads, instructions in cases:
    path = folder / f"{threads}_{instructions}.npz"
    environment = os.environ | {
      "NPROC": threads,
      "JAX_PLATFORMS": "cpu",
      "PYTHONPATH": str(root),
    }
    command = [sys.executable, __file__, str(path), instructions]
    process = subprocess.Popen(command, env=environment)
    processes[threads, instructions] = process, path
  results = {}
  for case, (process, path) in processes.items():
    assert process.wait() == 0
    results[case] = dict(np.load(path))
  return results


@pytest.mark.parametrize("threads", ["2", "4"])
def test_threads_change_no_bit(runs, threads):
  assert runs["1", "best"].keys() == runs[threads, "best"].keys()
  for name, array in runs["1", "best"].items():
    np.testing.assert_array_equal(array, runs[threads, "best"][name], name)


def test_instruction_sets_agree(runs):
  """To rounding: another order of sums, and no fused multiply-add."""
  some, other = runs["2", "best"], runs["2", "generic"]
  for name, array in some.items():
    a, e = np.float64(array), np.float64(other[name])
    assert np.linalg.norm(a - e) <= 1e-4 * np.linalg.norm(e), name


if __name__ == "__main__":
  everything(*sys.argv[1:])
