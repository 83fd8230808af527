"""The rasterizer's definition in plain JAX, differentiable by JAX itself.

Slow, but it runs on every platform. The native kernels compute the same two
stages, and are tested against these.

Shapes: B scenes of N Gaussians, C cameras each, D channels. All arrays are
float32. A dropped Gaussian has radii 0, zeros everywhere and, whatever its
numbers are, gradients of exactly 0: wherever a `where` drops it, the side not
taken computes with harmless numbers, so that no 0 * inf arises.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from chibijax.ops import camera, rotation
from chibijax.ops.splat.scene import Composition, Options, Projection

# A contribution below this is not seen (one step of 8 bits).
MIN_ALPHA = 1 / 255
# A pixel is finished when a Gaussian would let through no more than this.
MIN_TRANSMITTANCE = 1e-4
# The least factor of antialiasing.
MIN_COMPENSATION = 0.005
# Radii are held below this, so that they fit an int32.
MAX_RADIUS = 2.0**30
# Pixels along a tile's side, and Gaussians composited between two checkpoints.
_TILE = 32
_BLOCK = 64
_HIGHEST = lax.Precision.HIGHEST


@functools.partial(jax.jit, static_argnames=("width", "height", "options"))
def project(
  means: Array,
  quats: Array,
  scales: Array,
  opacities: Array,
  viewmats: Array,
  Ks: Array,
  *,
  width: int,
  height: int,
  options: Options,
) -> Projection:
  """Projects Gaussians into pictures by the affine approximation of EWA.

  Args:
    means: [B, N, 3].
    quats: [B, N, 4], wxyz.
    scales: [B, N, 3].
    opacities: [B, N].
    viewmats: [B, C, 4, 4].
    Ks: [B, C, 3, 3].
    width: pixels.
    height: pixels.
    options: see `Options`.

  Returns:
    See `Projection`; radii have no gradient.

  References:
    Zwicker et al., EWA splatting, 2002; Kerbl et al. 2023; gsplat 1.6.
  """
  run = functools.partial(_project, size=(width, height), options=options)
  arrays = (means, quats, scales, opacities, viewmats, Ks)
  b, c, n = *viewmats.shape[:2], means.shape[1]
  everything = jnp.ones((b, c, n), bool)
  result = run(*map(lax.stop_gradient, arrays), everything)
  radii = _radii(result, (width, height), options)
  seen = _finite(arrays) & (radii > 0).any(-1)
  # Again, with harmless numbers in place of what was dropped.
  used, looking = seen.any(1), seen.any(2)
  unit = jnp.array([1.0, 0.0, 0.0, 0.0])
  result = run(
    _select(used, means, jnp.zeros(3)),
    _select(used, quats, unit),
    _select(used, scales, jnp.ones(3)),
    _select(used, opacities, jnp.ones(())),
    _select(looking, viewmats, jnp.eye(4)),
    _select(looking, Ks, jnp.eye(3)),
    seen,
  )
  kept = (_select(seen, x, jnp.zeros(x.shape[3:])) for x in result[:4])
  return Projection(*kept, jnp.where(seen[..., None], radii, 0))


def _finite(arrays: tuple[Array, ...]) -> Array:
  """Whether all numbers of a Gaussian and its camera are, [B, C, N]."""
  whole = [jnp.isfinite(x).all(tuple(range(2, x.ndim))) for x in arrays]
  gaussians = functools.reduce(jnp.logical_and, whole[:4])
  cameras = functools.reduce(jnp.logical_and, whole[4:])
  return gaussians[:, None] & cameras[:, :, None]


def _select(condition: Array, x: Array, instead: Array) -> Array:
  """Takes x where a condition on its leading axes holds."""
  tail = x.ndim - condition.ndim
  instead = instead.reshape(*(1,) * condition.ndim, *x.shape[x.ndim - tail :])
  return jnp.where(
    condition.reshape(*condition.shape, *(1,) * tail), x, instead
  )


def _project(
  means: Array,
  quats: Array,
  scales: Array,
  opacities: Array,
  viewmats: Array,
  Ks: Array,
  seen: Array,
  *,
  size: tuple[int, int],
  options: Options,
) -> tuple[Array, ...]:
  """Returns means2d, conics, opacities, depths, covariances (xx, yy), det."""
  points = camera.to_camera(
    jnp.broadcast_to(means[:, None], (*seen.shape, 3)), viewmats
  )
  points = _select(seen, points, jnp.array([0.0, 0.0, 1.0]))
  model = options.camera_model
  means2d = camera.to_pixels(points, Ks, model)
  jacobian = camera.jacobian(points, Ks, model, size)
  axes = rotation.to_matrix(quats, normalize=options.normalize_quats)
  axes = axes * scales[..., None, :]
  axes = jnp.einsum(
    "bcij,bnjk->bcnik", viewmats[..., :3, :3], axes, precision=_HIGHEST
  )
  axes = _select(seen, axes, jnp.eye(3))
  # The picture's covariance is F F^T, and its determinant |row x row|^2: no
  # cancellation even for needles, and never below 0.
  factor = jnp.einsum("bcnij,bcnjk->bcnik", jacobian, axes, precision=_HIGHEST)
  x, y = factor[..., 0, :], factor[..., 1, :]
  xx, xy, yy = (x * x).sum(-1), (x * y).sum(-1), (y * y).sum(-1)
  det0 = jnp.square(jnp.cross(x, y)).sum(-1)
  eps = options.eps2d
  det = det0 + eps * (xx + yy) + eps * eps
  xx, yy = xx + eps, yy + eps
  positive = jnp.where(det > 0, det, 1.0)
  conics = jnp.stack([yy, -xy, xx], axis=-1) / positive[..., None]
  opacities = jnp.broadcast_to(opacities[:, None], seen.shape)
  if options.antialiased:
    ratio = det0 / positive
    low = MIN_COMPENSATION**2
    opacities = opacities * jnp.sqrt(jnp.where(ratio > low, ratio, low))
  return means2d, conics, opacities, points[..., 2], xx, yy, det


def _radii(
  projected: tuple[Array, ...], size: tuple[int, int], options: Options
) -> Array:
  """Half sizes of the boxes, int32 [B, C, N, 2]; 0 for what is dropped."""
  means2d, conics, opacities, depths, xx, yy, det = projected
  visible = opacities >= MIN_ALPHA
  # Where exp(-sigma) has dimmed the opacity to the least alpha.
  extent = jnp.sqrt(2 * jnp.log(jnp.where(visible, opacities, 1.0) * 255))
  radii = jnp.ceil(extent[..., None] * jnp.sqrt(jnp.stack([xx, yy], axis=-1)))
  visible &= (depths >= options.near) & (depths <= options.far)
  visible &= (det > 0) & jnp.isfinite(det) & jnp.isfinite(conics).all(-1)
  visible &= (radii > options.radius_clip).any(-1)
  limit = jnp.array(size, jnp.float32).reshape(1, 1, 1, 2)
  inside = (means2d + radii > 0) & (means2d - radii < limit)
  visible &= inside.all(-1)
  radii = jnp.where(visible[..., None], radii, 0)
  return jnp.minimum(radii, MAX_RADIUS).astype(jnp.int32)


@functools.partial(jax.jit, static_argnames=("width", "height", "options"))
def composite(
  means2d: Array,
  conics: Array,
  opacities: Array,
  colors: Array,
  depths: Array,
  radii: Array,
  background: Array,
  offset: Array | None,
  *,
  width: int,
  height: int,
  options: Options,
) -> Composition:
  """Composites projected Gaussians front to back.

  At a pixel, with d = mean - pixel centre and sigma = d^T conic d / 2, a
  Gaussian has alpha = min(max_alpha, opacity exp(-sigma)). It is seen if sigma
  >= 0 and alpha >= 1/255, and ends the pixel, unseen itself, if it would let
  through no more than 1e-4 of what is behind. All decisions are in float32.

  Args:
    means2d: [B, C, N, 2].
    conics: [B, C, N, 3].
    opacities: [B, C, N].
    colors: [B, C or 1, N, D].
    depths: [B, C, N]; the order, equal ones by their index.
    radii: int32 [B, C, N, 2], half sizes of boxes that hold all that is seen;
      0 drops a Gaussian.
    background: [B, C, D].
    offset: [B, C, N, 2] or None; added to `means2d`. With `options.absgrad`
      its gradient is a sum of absolute values over pixels.
    width: pixels.
    height: pixels.
    options: see `Options`.

  Returns:
    See `Composition`.
  """
  if offset is None:
    offset = jnp.zeros_like(means2d)
  shared = colors.shape[1] == 1
  one = functools.partial(_composite_one, size=(width, height), options=options)

  def scene(x: tuple[Array, ...]) -> tuple[Array, ...]:
    *own, colors = x

    def picture(x: tuple[Array, ...]) -> tuple[Array, ...]:
      return one(*x, colors[0]) if shared else one(*x)

    return lax.map(picture, tuple(own) if shared else x)

  arrays = (means2d, conics, opacities, depths, radii, background, offset)
  return Composition(*lax.map(scene, (*arrays, colors)))


def _composite_one(
  means2d: Array,
  conics: Array,
  opacities: Array,
  depths: Array,
  radii: Array,
  background: Array,
  offset: Array,
  colors: Array,
  *,
  size: tuple[int, int],
  options: Options,
) -> tuple[Array, Array, Array]:
  """One picture: [H, W, D], [H, W], [H, W] or [0, 0]."""
  seen = (radii > 0).all(-1)
  if not options.absgrad:
    means2d, offset = means2d + offset, jnp.zeros_like(offset)
  else:
    # Its value counts here, its gradient at every pixel.
    value = lax.stop_gradient(offset)
    means2d, offset = means2d + value, offset - value
  # One row per Gaussian, sorted, then an empty row for the ends of lists.
  key = jnp.where(seen, lax.stop_gradient(depths), jnp.inf)
  order = jnp.argsort(key, stable=True)
  columns = [means2d, offset, conics, opacities[:, None], colors]
  if options.depth != "none":
    columns.append(depths[:, None])
  table = jnp.where(seen[:, None], jnp.concatenate(columns, axis=-1), 0.0)
  table = jnp.pad(table[order], ((0, 1), (0, 0)))
  radii = jnp.where(seen[:, None], radii, -MAX_RADIUS)[order]
  side = (min(_TILE, size[0]), min(_TILE, size[1]))
  across, down = (-(-n // s) for n, s in zip(size, side, strict=True))

  @jax.checkpoint
  def tile(index: Array) -> tuple[Array, Array]:
    corner = jnp.stack([index % across * side[0], index // across * side[1]])
    rows = _gather(table, radii, corner.astype(jnp.float32), side)
    return _composite_tile(*rows, corner, side, options)

  sums, transmittance = lax.map(tile, jnp.arange(across * down))

  def assemble(x: Array) -> Array:
    x = x.reshape(down, across, side[1], side[0], *x.shape[2:])
    x = jnp.swapaxes(x, 1, 2)
    x = x.reshape(down * side[1], across * side[0], *x.shape[4:])
    return x[: size[1], : size[0]]

  sums, transmittance = assemble(sums), assemble(transmittance)
  channels = background.shape[-1]
  behind = background.reshape(1, 1, -1) * transmittance[..., None]
  depth = jnp.zeros((0, 0))
  if options.depth != "none":
    depth = sums[..., -1]
  return sums[..., :channels] + behind, transmittance, depth


def _gather(
  table: Array, radii: Array, corner: Array, side: tuple[int, int]
) -> tuple[Array, Array]:
  """Compacts the rows whose boxes touch a tile.

  Returns:
    Blocks of rows [blocks, _BLOCK, columns], the touching ones first and in
    order, empty rows after them; and which blocks hold any, bool [blocks].
  """
  count = radii.shape[0]
  # Boxes are a pixel too large here, so that rounding never loses a pixel.
  low = table[:count, :2] - radii - 1
  high = table[:count, :2] + radii + 1
  first = corner.reshape(1, 2)
  last = first + jnp.array([side], jnp.float32)
  hits = ((high > first) & (low < last)).all(-1)
  blocks = -(-count // _BLOCK)
  index = jnp.nonzero(hits, size=blocks * _BLOCK, fill_value=count)[0]
  rows = table[index].reshape(blocks, _BLOCK, table.shape[1])
  return rows, index.reshape(blocks, _BLOCK)[:, 0] < count


def _composite_tile(
  rows: Array,
  filled: Array,
  corner: Array,
  side: tuple[int, int],
  options: Options,
) -> tuple[Array, Array]:
  """Sums [pixels, channels] and transmittances [pixels] of one tile."""
  pixel = jnp.arange(side[0] * side[1])
  x, y = corner[0] + pixel % side[0], corner[1] + pixel // side[0]
  pixels = jnp.stack([x, y], axis=-1) + 0.5

  @jax.checkpoint
  def block(state: tuple[Array, Array], x: tuple[Array, Array]):
    rows, filled = x
    channels = rows.shape[-1] - 8
    nothing = jnp.zeros((pixels.shape[0], channels))

    def blend(state: tuple[Array, Array]):
      alpha = _alpha(rows, pixels, options)
      state, weights = lax.scan(_attenuate, state, alpha, unroll=1)
      add = jnp.einsum("gp,gd->pd", weights, rows[:, 8:], precision=_HIGHEST)
      return state, add

    return lax.cond(
      filled & state[1].any(), blend, lambda s: (s, nothing), state
    )

  def step(carry: tuple, x: tuple[Array, Array]):
    state, total = carry
    state, add = block(state, x)
    return (state, total + add), None

  start = (jnp.ones(pixels.shape[0]), jnp.ones(pixels.shape[0], bool))
  total = jnp.zeros((pixels.shape[0], rows.shape[-1] - 8))
  ((transmittance, _), total), _ = lax.scan(
    step, (start, total), (rows, filled)
  )
  return total, transmittance


def _alpha(rows: Array, pixels: Array, options: Options) -> Array:
  """What each Gaussian covers of each pixel, [Gaussians, pixels]."""
  d = rows[:, None, :2] - pixels[None]
  d = d + _everywhere(rows[:, 2:4], pixels.shape[0])
  dx, dy = d[..., 0], d[..., 1]
  a, b, c, opacity = (rows[:, i, None] for i in range(4, 8))
  sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
  # Beyond this exp(-sigma) would be slow denormal numbers, far below 1/255.
  covers = (sigma >= 0) & (sigma < 80)
  covered = opacity * jnp.exp(-jnp.where(covers, sigma, 0.0))
  # No gradient through the clamp, all of it at its edge.
  limit = options.max_alpha
  alpha = jnp.where(covered <= limit, covered, limit)
  return jnp.where(covers & (alpha >= MIN_ALPHA), alpha, 0.0)


def _attenuate(
  state: tuple[Array, Array], alpha: Array
) -> tuple[tuple[Array, Array], Array]:
  """One Gaussian: transmittance before it to after it, and its weight."""
  transmittance, alive = state
  after = transmittance * (1 - alpha)
  alive = alive & (after > MIN_TRANSMITTANCE)
  weight = jnp.where(alive, alpha * transmittance, 0.0)
  return (jnp.where(alive, after, transmittance), alive), weight


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _everywhere(zero: Array, pixels: int) -> Array:
  """Repeats [G, 2] for all pixels; the gradient sums absolute values."""
  return jnp.broadcast_to(zero[:, None], (zero.shape[0], pixels, 2))


_everywhere.defvjp(
  lambda zero, pixels: (_everywhere(zero, pixels), None),
  lambda pixels, _, cotangent: (jnp.abs(cotangent).sum(1),),
)
