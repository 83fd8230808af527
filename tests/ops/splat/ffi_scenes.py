"""Small scenes for the tests of the native calls, in the stages' form."""

import jax
import jax.numpy as jnp
import numpy as np

from chibijax.ops.splat import ffi
from chibijax.ops.splat.scene import Options

WIDTH, HEIGHT = 21, 13
# Both sides are float32 and sum over pixels, Gaussians or cameras in another
# order; relative to the largest value of an array.
TOLERANCE = 2e-5
# Splats, cameras and backgrounds of one scene: what `render` takes.
NAMES = (
  *("means", "quats", "scales", "opacities", "colors"),
  *("viewmats", "Ks", "background", "offset"),
)


def scene(b=1, c=1, *, n=12, d=3, shared=True, seed=0):
  """Gaussians in front of cameras, as a dict of `NAMES`."""
  rng = np.random.default_rng(seed)
  viewmats = np.tile(np.eye(4), (b, c, 1, 1))
  viewmats[..., :3, 3] = rng.uniform(-0.2, 0.2, (b, c, 3))
  viewmats[..., 2, 3] += 4
  focal = rng.uniform(15, 20, (b, c, 1, 1))
  Ks = focal * np.diag([1, 1, 0])
  Ks[..., 2] += [WIDTH / 2, HEIGHT / 2, 1]
  arrays = (
    rng.uniform(-1.5, 1.5, (b, n, 3)) * [1, 0.7, 1],
    rng.standard_normal((b, n, 4)),
    rng.uniform(0.1, 0.5, (b, n, 3)),
    rng.uniform(0.1, 1, (b, n)),
    rng.uniform(0, 1, (b, 1 if shared else c, n, d)),
    viewmats,
    Ks,
    rng.uniform(0, 1, (b, c, d)),
    np.zeros((b, c, n, 2)),
  )
  arrays = (jnp.asarray(x, jnp.float32) for x in arrays)
  return dict(zip(NAMES, arrays, strict=True))


def render(scene, options=None, stages=ffi):
  """Both stages: image, transmittance, depth, projected means."""
  options = options or Options()
  s = scene
  size = dict(width=WIDTH, height=HEIGHT, options=options)
  p = stages.project(
    *(s["means"], s["quats"], s["scales"], s["opacities"]),
    *(s["viewmats"], s["Ks"]),
    **size,
  )
  image = stages.composite(
    *(p.means2d, p.conics, p.opacities, s["colors"], p.depths, p.radii),
    *(s["background"], s["offset"]),
    **size,
  )
  return *image, p.means2d


def loss(scene, options=None, stages=ffi):
  """A number that every result has its own part in."""
  return weigh(render(scene, options, stages))


def weigh(results):
  """Adds all numbers up, each with a weight of its own."""
  total = 0.0
  for i, x in enumerate(results):
    weights = jnp.cos(jnp.arange(x.size) * (0.37 + i)).reshape(x.shape)
    total += jnp.sum(weights * x)
  return total


def assert_close(actual, expected, tolerance=TOLERANCE):
  """Compares two trees of arrays."""
  actual, treedef = jax.tree.flatten(actual)
  expected, other = jax.tree.flatten(expected)
  assert treedef == other
  for a, e in zip(actual, expected, strict=True):
    assert a.shape == e.shape and a.dtype == e.dtype
    a, e = np.float64(a), np.float64(e)
    assert np.isfinite(a).all()
    if e.size:
      assert np.abs(a - e).max() <= tolerance * max(np.abs(e).max(), 1e-3)


def choose_path(path, monkeypatch):
  """Makes the stages run natively, or their definition for other platforms.

  The latter is reached on a CPU when only a GPU's library is said to exist.

  Args:
    path: "native" or "definition".
    monkeypatch: pytest's.

  Returns:
    Whether the choice could be made.
  """
  if path == "native":
    return ffi.available("cpu")
  monkeypatch.setattr(ffi, "_platforms", lambda: ("cuda",))
  return True
