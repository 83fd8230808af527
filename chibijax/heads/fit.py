"""Fits a head to 68 landmarks: Levenberg and Marquardt's steps, jitted.

Several frames of one person share a shape; each has a camera, a jaw and an
expression of its own. What is minimised, over all frames and landmarks, is

    sum of w rho(|projected - seen| / NOISE) + squared coefficients / sigmas

with Geman and McClure's rho(r) = r^2 / (1 + r^2 / c^2), which stops caring for
landmarks far off; c shrinks from step to step. Each step solves the damped
normal equations. They are arrow-shaped, since frames meet in the shape only,
so that the frames are eliminated first (Schur's complement; B. Triggs et al.,
"Bundle adjustment: a modern synthesis", 1999, section 6.1).

Points and the camera are those of `heads.marks`. Everything is pure.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chibijax.heads import marks
from chibijax.heads.marks import JAW, RIGID, Fit, Marks
from chibijax.heads.motion import WORLD_SCALE

# Standard deviation of a landmark: 2 pixels of 512.
NOISE = 0.008
# Geman and McClure's c in units of NOISE, from far to near.
WIDE, NARROW = 16.0, 4.0
# The least and the first damping; factors after good and bad steps.
_LEAST, _FIRST, _DOWN, _UP = 1e-5, 1e-2, 0.2, 5.0
# Weight of a landmark of the jaw, which is defined less well than the others.
_CONTOUR_WEIGHT = 0.3
# How much of a difference along the jaw counts.
_ALONG = 0.1
# Sigmas. A jaw opens, and hardly turns otherwise.
_JAW_SIGMAS = (0.2, 0.03, 0.01)
# Coefficients that mean something between 0 and 1 may leave it this far.
_BELOW, _ABOVE = 0.04, 0.15


def weigh(weights: Float[Array, "n 68"]) -> Float[Array, "n 68"]:
  """Confidences in landmarks, with less for those of the jaw."""
  own = np.ones(68, np.float32)
  own[:17] = _CONTOUR_WEIGHT
  return weights * jnp.asarray(own)[None]


def start(
  head: Marks,
  seen: Float[Array, "n 68 2"],
  weights: Float[Array, "n 68"],
  focal: Float[Array, ""] | float,
  shape: Float[Array, " s"],
) -> Fit:
  """Poses from afar: the best affine camera of the head at rest, made rigid.

  D. DeMenthon and L. Davis, "Model-based object pose in 25 lines of code"
  (1995), its first step; the outline takes no part.

  Args:
    head: from `marks.prepare`.
    seen: landmarks in half-pictures.
    weights: confidences, 0 for frames without a face.
    focal: focal length in half-pictures.
    shape: coefficients.

  Returns:
    Parameters without an expression.
  """
  expression = jnp.zeros_like(head.expression_sigma)
  rest = marks.skin(head, shape, expression, jnp.zeros(3))
  rest = WORLD_SCALE * rest[:68]

  def one(seen: Array, weights: Array) -> tuple[Array, Array]:
    weights = weights.at[:17].set(0.0)
    total = jnp.maximum(weights.sum(), 1e-6)
    middle = weights @ rest / total
    centre = weights @ seen / total
    a = (rest - middle[None]) * weights[:, None]
    gram = a.T @ (rest - middle[None]) + 1e-6 * total * jnp.eye(3)
    affine = jnp.linalg.solve(gram, a.T @ (seen - centre[None])).T
    # The nearest rigid camera: (A A^T)^-1/2 A, whose root has a closed form.
    square = affine @ affine.T
    root = jnp.sqrt(jnp.maximum(jnp.linalg.det(square), 1e-12))
    half = square + root * jnp.eye(2)
    half = half / jnp.sqrt(jnp.trace(half) + 1e-12)
    rows = jnp.linalg.solve(half + 1e-9 * jnp.eye(2), affine)
    rotation = jnp.concatenate([rows, jnp.cross(rows[0], rows[1])[None]])
    scale = jnp.maximum(jnp.trace(half) / 2, 1e-4)
    depth = focal / scale - (rotation[2] * middle).sum()
    depth = jnp.maximum(depth, 1.0)
    origin = centre - scale * (rotation[:2] @ middle)
    return rotation, jnp.concatenate([origin, jnp.log(depth)[None]])

  rotation, place = jax.vmap(one)(seen, weights)
  n = len(seen)
  return Fit(
    rotation=rotation,
    place=place,
    jaw=jnp.zeros((n, 3)),
    expression=jnp.zeros((n, len(head.expression_sigma))),
    shape=shape,
  )


def solve(
  head: Marks,
  first: Fit,
  seen: Float[Array, "n 68 2"],
  weights: Float[Array, "n 68"],
  focal: Float[Array, ""] | float,
  *,
  steps: int,
  shaped: bool = True,
  wide: float = WIDE,
) -> tuple[Fit, Float[Array, " n"]]:
  """Fits n frames of one person.

  Args:
    head: from `marks.prepare`.
    first: parameters to begin at.
    seen: landmarks in half-pictures.
    weights: confidences in them; without any, a frame comes to rest.
    focal: focal length in half-pictures.
    steps: number of Levenberg and Marquardt's steps.
    shaped: whether the shape is fitted too.
    wide: c of the first step, in units of `NOISE`.

  Returns:
    The parameters, and the robust cost of each frame.
  """
  share = jnp.clip(jnp.arange(steps) / max(steps * 0.6, 1.0), 0.0, 1.0)
  widths = wide ** (1 - share) * NARROW**share
  weights = weigh(weights)

  def body(
    carry: tuple[Fit, Array], width: Array
  ) -> tuple[tuple[Fit, Array], None]:
    at, damping = carry
    proposed, before = step(
      head, at, seen, weights, focal, damping, width, shaped
    )
    after = cost(head, proposed, seen, weights, focal, width)
    # Without a common shape, each frame is a problem of its own.
    if shaped:
      better = jnp.broadcast_to(after.sum() < before.sum(), before.shape)
    else:
      better = after < before
    shape = proposed.shape
    if shaped:
      shape = jnp.where(better[0], proposed.shape, at.shape)
    frames = [
      jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)
      for new, old in zip(of_frames(proposed), of_frames(at), strict=True)
    ]
    damping = jnp.where(better, damping * _DOWN, damping * _UP)
    return (Fit(*frames, shape), jnp.clip(damping, _LEAST, 1e6)), None

  damping = jnp.full(len(seen), _FIRST)
  (found, _), _ = jax.lax.scan(body, (first, damping), widths)
  return found, cost(head, found, seen, weights, focal, widths[-1])


def of_frames(fitted: Fit) -> tuple[Array, ...]:
  """The fields of a fit that differ between its frames, in order."""
  return fitted.rotation, fitted.place, fitted.jaw, fitted.expression


def cost(
  head: Marks,
  at: Fit,
  seen: Float[Array, "n 68 2"],
  weights: Float[Array, "n 68"],
  focal: Float[Array, ""] | float,
  width: Float[Array, ""] | float,
) -> Float[Array, " n"]:
  """What each frame adds to what is minimised; the shape's share in the first.

  Args:
    head: from `marks.prepare`.
    at: parameters.
    seen: landmarks in half-pictures.
    weights: from `weigh`.
    focal: focal length in half-pictures.
    width: Geman and McClure's c in units of `NOISE`.
  """
  off = (marks.points(head, at, focal) - seen) / NOISE
  off = (_across(seen) * off[..., None, :]).sum(-1)
  return _cost(head, at, (off * off).sum(-1), weights, width)


def _cost(
  head: Marks, at: Fit, squared: Array, weights: Array, width: Array | float
) -> Array:
  """`cost` of squared distances [n, 68] in units of `NOISE`."""
  data = (weights * squared / (1 + squared / width**2)).sum(-1)
  private = sum(_penalty(x, *sigmas)[0].sum(-1) for x, sigmas in _own(head, at))
  common = _penalty(at.shape, head.shape_sigma, head.shape_unit)[0].sum()
  return data + private + jnp.where(jnp.arange(len(data)) == 0, common, 0.0)


def _across(seen: Array) -> Array:
  """What of a difference counts, [..., 68, 2, 2]: of the jaw, that across it.

  Where on the jaw a landmark lies is a matter of taste, and tastes differ.
  """
  jaw = seen[..., :17, :]
  along = jnp.concatenate(
    [
      jaw[..., 1:2, :] - jaw[..., :1, :],
      jaw[..., 2:, :] - jaw[..., :-2, :],
      jaw[..., -1:, :] - jaw[..., -2:-1, :],
    ],
    -2,
  )
  squared = (along * along).sum(-1)[..., None, None]
  outer = along[..., :, None] * along[..., None, :]
  share = (1 - _ALONG) * outer / jnp.maximum(squared, 1e-12)
  rest = jnp.zeros((*seen.shape[:-2], 51, 2, 2))
  share = jnp.concatenate([share, rest], -3)
  return jnp.eye(2).reshape(*[1] * (share.ndim - 2), 2, 2) - share


def _own(head: Marks, at: Fit) -> list[tuple[Array, tuple[Array, Array]]]:
  """A frame's coefficients with sigmas, and whether they stay in [0, 1]."""
  opening = jnp.array([1.0, 0.0, 0.0])
  return [
    (at.jaw, (jnp.array(_JAW_SIGMAS), opening)),
    (at.expression, (head.expression_sigma, head.expression_unit)),
  ]


def _penalty(x: Array, sigma: Array, unit: Array) -> tuple[Array, Array, Array]:
  """Squares over sigmas; half their first and second derivatives."""
  shape = (1,) * (x.ndim - 1)
  sigma, unit = sigma.reshape(*shape, -1), unit.reshape(*shape, -1)
  below, above = (
    jnp.minimum(x, 0) / _BELOW**2,
    jnp.maximum(x - 1, 0) / _ABOVE**2,
  )
  value = x * x / sigma**2 + unit * (
    below * jnp.minimum(x, 0) + above * jnp.maximum(x - 1, 0)
  )
  first = x / sigma**2 + unit * (below + above)
  second = 1 / sigma**2 + unit * ((x < 0) / _BELOW**2 + (x > 1) / _ABOVE**2)
  return value, first, second


def step(
  head: Marks,
  at: Fit,
  seen: Float[Array, "n 68 2"],
  weights: Float[Array, "n 68"],
  focal: Float[Array, ""] | float,
  damping: Float[Array, " n"],
  width: Float[Array, ""] | float,
  shaped: bool,
) -> tuple[Fit, Float[Array, " n"]]:
  """One damped Gauss-Newton step.

  Args:
    head: from `marks.prepare`.
    at: parameters.
    seen: landmarks in half-pictures.
    weights: from `weigh`.
    focal: focal length in half-pictures.
    damping: added to the normal matrix's diagonal, in units of it.
    width: Geman and McClure's c in units of `NOISE`.
    shaped: whether the shape moves too.

  Returns:
    Parameters after it, and the cost of each frame before it.
  """
  matrix, vector, squared = _normal(head, at, seen, weights, focal, width)
  before = _cost(head, at, squared, weights, width)
  size, private = RIGID + JAW + at.expression.shape[1], _own(head, at)
  first = [_penalty(x, *sigmas)[1] for x, sigmas in private]
  second = [_penalty(x, *sigmas)[2] for x, sigmas in private]
  n = len(seen)
  # A frame without weights must not make the matrix singular.
  rigid = jnp.full((n, RIGID), 1e-3)
  diagonal = jnp.concatenate([rigid, *second], -1)
  gradient = vector[:, :size] + jnp.concatenate([0 * rigid, *first], -1)
  own = matrix[:, :size, :size] + _diagonal(diagonal)
  own = own + damping[:, None, None] * _diagonal(_diagonal_of(own))
  if not shaped:
    moved = -_solve(own, gradient[..., None])[..., 0]
    return _moved(at, moved, at.shape), before
  mixed = matrix[:, :size, size:]
  _, first, second = _penalty(at.shape, head.shape_sigma, head.shape_unit)
  common = matrix[:, size:, size:].sum(0) + jnp.diag(second)
  common = common + damping[0] * jnp.diag(jnp.diag(common))
  wanted = vector[:, size:].sum(0) + first
  # Eliminates the frames.
  both = jnp.concatenate([gradient[..., None], mixed], -1)
  solved = _solve(own, both)
  reduced = common - _product(mixed.swapaxes(1, 2), solved[..., 1:]).sum(0)
  rest = wanted - _product(mixed.swapaxes(1, 2), solved[..., :1]).sum(0)[:, 0]
  reshaped = -_solve(reduced[None], rest[None, :, None])[0, :, 0]
  moved = -solved[..., 0] - (solved[..., 1:] * reshaped[None, None]).sum(-1)
  return _moved(at, moved, at.shape + reshaped), before


def _normal(
  head: Marks,
  at: Fit,
  seen: Array,
  weights: Array,
  focal: Array | float,
  width: Array | float,
) -> tuple[Array, Array, Array]:
  """The data's share of normal matrix and gradient; squared distances."""

  def one(at: Fit, seen: Array, weights: Array) -> tuple[Array, ...]:
    found, columns = marks.linear(head, at, focal)
    across = _across(seen) / NOISE
    off = (across * (found - seen)[:, None]).sum(-1)
    squared = (off * off).sum(-1)
    robust = weights / (1 + squared / width**2) ** 2
    columns = _product(across, columns).reshape(2 * len(seen), -1)
    heavy = (columns * jnp.repeat(robust, 2)[:, None]).T
    return _product(heavy, columns), _product(heavy, off.reshape(-1)), squared

  return jax.vmap(one, (marks.AXES, 0, 0))(at, seen, weights)


def _product(a: Array, b: Array) -> Array:
  return jnp.matmul(a, b, precision="highest")


def _diagonal_of(matrix: Array) -> Array:
  return jnp.diagonal(matrix, axis1=-2, axis2=-1)


def _diagonal(values: Array) -> Array:
  return values[..., None] * jnp.eye(values.shape[-1])[None]


def _solve(matrix: Array, right: Array) -> Array:
  """Solves symmetric systems [b, n, n] x = [b, n, k], by Cholesky.

  Equations of one unit each keep 32 bits exact enough.
  """
  unit = jax.lax.rsqrt(jnp.maximum(_diagonal_of(matrix), 1e-20))
  scaled = matrix * unit[..., None] * unit[..., None, :]
  factor = jax.scipy.linalg.cho_factor(scaled, lower=True)
  solved = jax.scipy.linalg.cho_solve(factor, right * unit[..., None])
  return solved * unit[..., None]


def _moved(at: Fit, moved: Array, shape: Array) -> Fit:
  """Parameters after a step; turns too large to be meant are shortened."""
  turn = moved[:, :3]
  length = jnp.linalg.norm(turn, axis=-1, keepdims=True)
  turn = turn * jnp.minimum(1.0, 0.5 / jnp.maximum(length, 1e-9))
  place = moved[:, 3:RIGID]
  deeper = jnp.clip(place[:, 2:], -0.5, 0.5)
  return Fit(
    rotation=_product(jax.vmap(marks.rotation)(turn), at.rotation),
    place=at.place + jnp.concatenate([place[:, :2], deeper], -1),
    jaw=at.jaw + moved[:, RIGID : RIGID + JAW],
    expression=at.expression + moved[:, RIGID + JAW :],
    shape=shape,
  )
