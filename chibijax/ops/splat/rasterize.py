"""The rasterizer's one function: colours, projection, compositing."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from chibijax.ops import camera as cameras
from chibijax.ops import sh
from chibijax.ops.splat import ffi
from chibijax.ops.splat.scene import (
  Batch,
  Camera,
  Composition,
  Gaussians,
  Options,
  Projection,
  Rendering,
  validate,
)


def rasterize(
  gaussians: Gaussians,
  camera: Camera,
  options: Options = Options(),  # noqa: B008 (frozen)
  background: Float[Array, "*L D"] | None = None,
) -> Rendering:
  """Renders Gaussians by sorted alpha compositing (Kerbl et al. 2023).

  Everything is differentiable: Gaussians, cameras (Ks too) and background. A
  Gaussian with a number that is not finite is dropped; dropped ones have
  gradients of exactly 0. Works under `jit`, `grad`, `vmap` (one launch) and
  `shard_map`, and computes in float32.

  Args:
    gaussians: leading axes *G; see `Gaussians`.
    camera: leading axes *C; *G must begin with *C or *C with *G.
    options: static settings.
    background: [D], or [*L, D] with the longer of the leading axes; zeros if
      None.

  Returns:
    Pictures with leading axes *L, the longer of *G and *C.

  Raises:
    ValueError: if shapes do not fit; the sentence has both.
  """
  batch = validate(gaussians, camera, background)
  scenes, pictures = (batch.scenes,), (batch.scenes, batch.cameras)
  means = _fold(gaussians.means, 2, scenes)
  viewmats = _fold(_spread(camera.viewmat, 2, batch), 2, pictures)
  size = dict(width=camera.width, height=camera.height, options=options)
  projection = ffi.project(
    means,
    _fold(gaussians.quats, 2, scenes),
    _fold(gaussians.scales, 2, scenes),
    _fold(gaussians.opacities, 1, scenes),
    viewmats,
    _fold(_spread(camera.K, 2, batch), 2, pictures),
    **size,
  )
  if gaussians.sh is not None:
    coefficients = _fold(gaussians.sh, 3, scenes)
    colors = _shade(coefficients, means, viewmats, projection.radii)
  else:
    shared = jnp.ndim(gaussians.colors) == jnp.ndim(gaussians.means)
    lead = (batch.scenes, 1) if shared else pictures
    colors = _fold(gaussians.colors, 2, lead)
  if background is None:
    background = jnp.zeros(colors.shape[-1])
  offset = gaussians.means2d_offset
  composition = ffi.composite(
    projection.means2d,
    projection.conics,
    projection.opacities,
    colors,
    projection.depths,
    projection.radii,
    _fold(_spread(background, 1, batch), 1, pictures),
    None if offset is None else _fold(offset, 2, pictures),
    **size,
  )
  return _rendering(projection, composition, batch.shape, options.depth)


def _fold(x: Array, tail: int, lead: tuple[int, ...]) -> Array:
  """Float32 with `lead` in place of all axes but the last `tail`."""
  x = jnp.asarray(x, jnp.float32)
  return x.reshape(*lead, *x.shape[x.ndim - tail :])


def _rendering(
  projection: Projection,
  composition: Composition,
  batch: tuple[int, ...],
  depth: str,
) -> Rendering:
  """Gives the results their leading axes, and depths their meaning."""
  alpha = 1 - composition.transmittance
  depths = composition.depth
  if depth == "ED":
    depths = depths / jnp.where(alpha > 1e-10, alpha, 1e-10)

  def unfold(x: Array) -> Array:
    return x.reshape(*batch, *x.shape[2:])

  return Rendering(
    image=unfold(composition.image),
    alpha=unfold(alpha),
    depth=None if depth == "none" else unfold(depths),
    means2d=unfold(projection.means2d),
    radii=unfold(projection.radii),
    depths=unfold(projection.depths),
  )


def _spread(x: Array, tail: int, batch: Batch) -> Array:
  """Repeats an array along the leading axes that it lacks."""
  x = jnp.asarray(x)
  lead, rest = x.shape[: x.ndim - tail], x.shape[x.ndim - tail :]
  x = x.reshape(*lead, *(1,) * (len(batch.shape) - len(lead)), *rest)
  return jnp.broadcast_to(x, (*batch.shape, *rest))


def _shade(
  coefficients: Array, means: Array, viewmats: Array, radii: Array
) -> Array:
  """Colours [B, C, N, D] seen from each camera's centre."""
  seen = (radii > 0).any(-1, keepdims=True)
  # What was dropped may hold NaN, which must not reach a gradient.
  looking = seen.any(2)[..., None]
  viewmats = jnp.where(looking, viewmats, jnp.eye(4).reshape(1, 1, 4, 4))
  away = means[:, None] - cameras.centre(viewmats)[:, :, None]
  away = jnp.where(seen, away, 1.0)
  shade = functools.partial(sh.evaluate, coefficients)
  colors = jax.vmap(shade, in_axes=1, out_axes=1)(away)
  return jnp.where(seen, lax.max(colors + 0.5, 0.0), 0.0)
