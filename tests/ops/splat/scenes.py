"""Small scenes that the rasterizer's tests share."""

import jax.numpy as jnp
import numpy as np

from chibijax.ops import camera as cameras
from chibijax.ops.splat import Camera, Gaussians

WIDTH, HEIGHT = 37, 29


def rng_of(*seed):
  return np.random.default_rng([20240, *seed])


def array(x):
  return jnp.asarray(x, jnp.float32)


def gaussians(n=41, channels=3, *, seed=0, batch=(), sh=None, size=0.12):
  """Around the origin, of many shapes; a tenth far outside the picture."""
  rng = rng_of(seed, n, channels)
  shape = (*batch, n)
  means = rng.normal(size=(*shape, 3)) * 0.45
  means[..., ::10, 0] *= 5
  colors = rng.uniform(size=(*shape, channels))
  return Gaussians(
    means=array(means),
    quats=array(rng.normal(size=(*shape, 4))),
    scales=array(size * np.exp(0.6 * rng.normal(size=(*shape, 3)))),
    opacities=array(rng.uniform(0.02, 0.999, shape)),
    colors=array(colors) if sh is None else None,
    sh=None if sh is None else array(rng.normal(size=(*shape, sh, channels))),
  )


def camera(batch=(2,), *, seed=0, width=WIDTH, height=HEIGHT, focal=1.3):
  """Cameras around the origin with principal points off centre."""
  rng = rng_of(seed, 7)
  eye = rng.normal(size=(*batch, 3))
  eye *= 2.4 / np.linalg.norm(eye, axis=-1, keepdims=True)
  target = rng.normal(size=(*batch, 3)) * 0.1
  up = rng.normal(size=(*batch, 3))
  K = np.zeros((*batch, 3, 3))
  K[..., 0, 0] = focal * width
  K[..., 1, 1] = 1.1 * focal * width
  K[..., 0, 2] = width * rng.uniform(0.35, 0.6, batch)
  K[..., 1, 2] = height * rng.uniform(0.35, 0.6, batch)
  K[..., 2, 2] = 1
  viewmat = cameras.look_at(array(eye), array(target), array(up))
  return Camera(viewmat=viewmat, K=array(K), width=width, height=height)


def inputs_of(gaussians, camera, c=None):
  """What the oracle's projection takes, of camera c (or the only one)."""
  pick = (lambda x: x) if c is None else (lambda x: x[c])
  g = gaussians
  arrays = (g.means, g.quats, g.scales, g.opacities)
  return [*map(np.array, (*arrays, pick(camera.viewmat), pick(camera.K)))]
