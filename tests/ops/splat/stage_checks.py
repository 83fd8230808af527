"""Compares the rasterizer's stages with reference.py, case by case.

Both stages get the reference's inputs: else rounding in the projection could
let a pixel decide otherwise about a Gaussian that it hardly sees.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from chibijax.ops.splat import Options, ffi, reference
from tests.ops.splat import scenes

WIDTH, HEIGHT = 53, 35
# The reference is compiled for these, and smaller scenes are padded.
MOST, MOST_CHANNELS = 420, 70
# Largest error of values, then the error's norm of gradients, both relative:
# sums in another order.
TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 5e-5
# Of gradients where rounding counts for more: sigma of needles across the
# picture cancels, and of many faint Gaussians one is at the edge of being seen.
LOOSE = {"huge": 2e-2, "deep": 1e-2, "deep overflow": 1e-2}
# On a GPU exp, division and roots differ in the last places, and a pixel may
# decide otherwise about a Gaussian that it hardly sees.
GPU_TOLERANCE, GPU_GRADIENT_TOLERANCE = 1e-4, 2e-3


def scene(n=200, channels=3, cameras=(2,), batch=(), **kwargs):
  """Gaussians with an offset, cameras and a background."""
  gaussians = scenes.gaussians(n, channels, batch=batch, **kwargs)
  longer = max(batch, cameras, key=len)
  offset = jnp.zeros((*longer, n, 2))
  gaussians = dataclasses.replace(gaussians, means2d_offset=offset)
  camera = scenes.camera(cameras, width=WIDTH, height=HEIGHT)
  return gaussians, camera, jnp.linspace(0.1, 0.9, channels)


def changed(scene, **changes):
  """The scene with other arrays of its Gaussians."""
  return dataclasses.replace(scene[0], **changes), *scene[1:]


def deep():
  """Lists of several batches in which no pixel ends early."""
  data = scene(420, 5, size=0.3)
  return changed(data, opacities=0.02 + 0.03 * data[0].opacities)


def opaque():
  """A stack that ends every pixel it covers, at equal depths in pairs."""
  data = scene(60, size=0.3)
  means = jnp.repeat(data[0].means[::2] * 0.3, 2, axis=0)
  return changed(data, means=means, opacities=jnp.full(60, 0.999))


def broken():
  """NaN and infinities in every array."""
  data = scene(40)
  values = {
    name: getattr(data[0], name).at[3 * i].set((jnp.nan, jnp.inf)[i % 2])
    for i, name in enumerate(("means", "quats", "scales", "opacities"))
  }
  return changed(data, **values)


def behind():
  data = scene(40)
  return changed(data, means=data[0].means + 1e3)


def huge():
  data = scene(50)
  scales = data[0].scales.at[::3].multiply(40.0).at[1::3, 0].multiply(100.0)
  return changed(data, scales=scales)


def far_away():
  """One of the cameras sees everything small: few tiles."""
  gaussians, camera, background = scene(80, 2)
  away = camera.viewmat.at[1, 2, 3].add(60.0)
  return gaussians, dataclasses.replace(camera, viewmat=away), background


def two_scenes():
  """Of two cameras each, which have colours of their own."""
  data = scene(70, 6, (2, 2), (2,))
  colors = jnp.stack([data[0].colors, 1 - data[0].colors], axis=1)
  return changed(data, colors=colors)


ABSOLUTE = Options(absgrad=True, depth="D")
CASES = {
  "1 channel": (lambda: scene(channels=1), Options(depth="D")),
  "3 channels": (scene, ABSOLUTE),
  "12 channels": (lambda: scene(90, channels=12), Options(tile_size=32)),
  "32 channels": (
    lambda: scene(90, channels=32),
    Options(tile_size=8, capacity=4000),
  ),
  "33 channels": (lambda: scene(90, channels=33), Options(depth="D")),
  "70 channels": (lambda: scene(90, channels=70), ABSOLUTE),
  "overflow": (scene, Options(capacity=20)),
  "partial overflow": (far_away, Options(capacity=200, tile_size=8)),
  "deep": (deep, Options(depth="D")),
  "deep overflow": (deep, Options(capacity=1, tile_size=8)),
  "opaque": (opaque, Options(depth="D")),
  "broken": (broken, Options()),
  "nothing visible": (behind, ABSOLUTE),
  "no Gaussians": (lambda: scene(0), Options(depth="D")),
  "no Gaussians, room": (lambda: scene(0), Options(capacity=9)),
  "huge": (huge, Options(tile_size=8, capacity=4000)),
  "two scenes": (
    two_scenes,
    Options(
      antialiased=True,
      camera_model="fisheye",
      max_alpha=0.999,
      normalize_quats=False,
    ),
  ),
}


SCENE = ("means", "quats", "scales", "opacities", "viewmats", "Ks")
PROJECTED = ("means2d", "conics", "opacities", "depths")


def stage_inputs(scene):
  """Arrays of `project` and, but for the projection, of `composite`."""
  gaussians, camera, background = scene
  batch = gaussians.means.shape[:-2] or (1,)
  means = gaussians.means.reshape(*batch, -1, 3)
  cameras = camera.viewmat.shape[-3]
  channels = background.size
  count = means.shape[1]
  sets = 1 if gaussians.colors.ndim == gaussians.means.ndim else cameras
  projecting = {
    "means": means,
    "quats": gaussians.quats.reshape(*batch, -1, 4),
    "scales": gaussians.scales.reshape(*batch, -1, 3),
    "opacities": gaussians.opacities.reshape(*batch, -1),
    "viewmats": camera.viewmat.reshape(*batch, -1, 4, 4),
    "Ks": camera.K.reshape(*batch, -1, 3, 3),
  }
  compositing = {
    "colors": gaussians.colors.reshape(*batch, sets, count, channels),
    "background": jnp.broadcast_to(background, (*batch, cameras, channels)),
    "offset": jnp.zeros((*batch, cameras, count, 2)),
  }
  return projecting, compositing


def wave(shape, axis, speed):
  """Weights of a loss that vary along one axis, whatever its length."""
  line = jnp.sin(jnp.arange(shape[axis]) * speed) + 0.3
  return line.reshape(*(1,) * axis, -1, *(1,) * (len(shape) - axis - 1))


@functools.partial(jax.jit, static_argnames=("options", "by"))
def project(arrays, options, by):
  """Projection, and the gradients of a loss over all of it.

  Args:
    arrays: a dict.
    options: static.
    by: "reference", or a name of what runs the native calls (because traces
      are kept).
  """
  stages = reference if by == "reference" else ffi

  def loss(arrays):
    size = dict(width=WIDTH, height=HEIGHT, options=options)
    p = stages.project(*(arrays[name] for name in SCENE), **size)
    with jax.numpy_rank_promotion("allow"):
      parts = [
        jnp.sum(x * wave(x.shape, 2, 0.9 + i))
        for i, x in enumerate(getattr(p, name) for name in PROJECTED)
      ]
    return sum(parts), p

  return jax.grad(loss, has_aux=True)(arrays)[::-1]


@functools.partial(jax.jit, static_argnames=("options", "by"))
def composite(arrays, radii, weights, options, by):
  """Pictures, and the gradients of a loss over all of them.

  Args:
    arrays: a dict.
    radii: [B, C, N, 2].
    weights: of the channels and of the depth; 0 for those of padding.
    options: static.
    by: see `project`.
  """
  stages = reference if by == "reference" else ffi

  def loss(arrays):
    size = dict(width=WIDTH, height=HEIGHT, options=options)
    order = ("means2d", "conics", "opacities", "colors", "depths")
    result = stages.composite(
      *(arrays[name] for name in order),
      *(radii, arrays["background"], arrays["offset"]),
      **size,
    )
    pixel = jnp.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    with jax.numpy_rank_promotion("allow"):
      total = jnp.sum(result.image * weights[0] * jnp.sin(pixel)[..., None])
      total += jnp.sum(result.transmittance * jnp.cos(pixel * 0.6))
      if result.depth.size:
        total += weights[1] * jnp.sum(result.depth * jnp.cos(pixel * 0.5))
    return total, result

  return jax.grad(loss, has_aux=True)(arrays)[::-1]


def padded(x, count, axis):
  if axis >= x.ndim:
    return x
  return jnp.pad(
    x, [(0, count - n if i == axis else 0) for i, n in enumerate(x.shape)]
  )


def reference_options(options):
  """What says how to save work makes no difference to the reference."""
  plain = dict(tile_size=16, capacity=None, depth="D")
  return dataclasses.replace(options, **plain)


def project_by_reference(arrays, options):
  """At one size, because compiling takes longer."""
  cameras = ("viewmats", "Ks")
  larger = {
    name: x if name in cameras else padded(x, MOST, 1)
    for name, x in arrays.items()
  }
  n = arrays["means"].shape[1]
  options = dataclasses.replace(reference_options(options), absgrad=False)
  result, gradients = project(larger, options, "reference")
  result = type(result)(*(x[:, :, :n] for x in result))
  for name in gradients.keys() - set(cameras):
    gradients[name] = gradients[name][:, :n]
  return result, gradients


def composite_by_reference(arrays, radii, weights, options):
  """Likewise."""
  n, channels = arrays["colors"].shape[2:]
  larger = {
    name: x if name == "background" else padded(x, MOST, 2)
    for name, x in arrays.items()
  }
  larger["colors"] = padded(larger["colors"], MOST_CHANNELS, 3)
  larger["background"] = padded(larger["background"], MOST_CHANNELS, 2)
  more = padded(weights[0], MOST_CHANNELS, 0), weights[1]
  result, gradients = composite(
    larger,
    padded(radii, MOST, 2),
    more,
    reference_options(options),
    "reference",
  )
  depth = (
    result.depth if options.depth != "none" else result.depth[:, :, :0, :0]
  )
  result = result._replace(image=result.image[..., :channels], depth=depth)
  for name in gradients.keys() - {"background"}:
    gradients[name] = gradients[name][:, :, :n]
  for name in ("colors", "background"):
    gradients[name] = gradients[name][..., :channels]
  return result, gradients


def assert_near(actual, expected, tolerance, exceptions=0.0):
  """No value is further away than allowed, relative to the largest one.

  Args:
    actual: tuple of arrays.
    expected: likewise.
    tolerance: of values, relative to an array's largest, at least 1.
    exceptions: fraction of the values that may differ by more.
  """
  for a, e in zip(actual, expected, strict=True):
    assert a.shape == e.shape and a.dtype == e.dtype
    if e.size:
      a, e = np.float64(a), np.float64(e)
      limit = tolerance * max(1.0, np.abs(e).max())
      assert not np.isnan(a).any()
      assert (np.abs(a - e) > limit).mean() <= exceptions


def assert_gradients_near(actual, expected, tolerance):
  """Compares norms of whole arrays."""
  assert actual.keys() == expected.keys()
  for name, e in expected.items():
    a, e = np.float64(actual[name]), np.float64(e)
    assert a.shape == e.shape and np.isfinite(a).all()
    error = np.linalg.norm(a - e) / max(np.linalg.norm(e), 1e-6)
    assert error <= tolerance, name


def check_stages(name, by, tolerances, exceptions=0.0):
  """Compares a case, the second stage on the reference's projection.

  Args:
    name: of the case.
    by: see `project`.
    tolerances: of values and gradients.
    exceptions: see `assert_near`.
  """
  make, options = CASES[name]
  projecting, compositing = stage_inputs(make())
  values, gradients = tolerances
  if name in LOOSE:
    gradients, exceptions = LOOSE[name], 1e-3
  expected = project_by_reference(projecting, options)
  actual = project(projecting, options, by)
  assert_near(actual[0][:4], expected[0][:4], values, exceptions)
  seen = np.asarray(expected[0].radii > 0).all(-1)
  assert (np.asarray(actual[0].radii > 0).all(-1) == seen).all()
  assert_gradients_near(actual[1], expected[1], gradients)
  p, v_projected = expected[0], actual[1]
  for x in ("means", "quats", "scales", "opacities"):
    assert not np.asarray(v_projected[x])[~seen.any(1)].any()
  arrays = {key: getattr(p, key) for key in PROJECTED} | compositing
  channels = compositing["background"].shape[-1]
  weights = (
    jnp.cos(jnp.arange(channels) * 0.37) + 0.2,
    jnp.float32(options.depth != "none"),
  )
  expected = composite_by_reference(arrays, p.radii, weights, options)
  actual = composite(arrays, p.radii, weights, options, by)
  assert_near(actual[0], expected[0], values, exceptions)
  assert_gradients_near(actual[1], expected[1], gradients)
  for x in ("means2d", "conics", "opacities", "depths", "offset"):
    assert not np.asarray(actual[1][x])[~seen].any()
  # Something was compared.
  assert seen.any() == (not name.startswith("no"))
  assert actual[1]["conics"].any() == seen.any()
