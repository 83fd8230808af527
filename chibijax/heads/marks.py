"""What a camera sees of a head's 68 landmarks, and how that changes.

Of a `HeadModel` only what the landmarks need is kept, in a form that costs next
to nothing: with the neck and the eyes at rest, a landmark is

    a + (R - 1) b,    a and b linear in the coefficients, R the jaw's rotation,

where b gathers what of the corners of its face hangs on the jaw. It is the same
as `model.landmarks(model.vertices(...))`.

Points are in half-pictures from the middle (x right, y down), the camera has
OpenCV axes and one focal length, in half-pictures too. The world is the head
model's frame times `WORLD_SCALE`.
"""

import re

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from chibijax.heads import contour
from chibijax.heads.model import JOINTS, HeadModel
from chibijax.heads.motion import WORLD_SCALE

# Numbers of a frame before its expression: turn and place, jaw.
RIGID, JAW = 6, 3
# Sigmas of expressions between 0 and 1, and of those in standard deviations.
_UNIT_SIGMA, _FLAME_SIGMA = 0.4, 1.0
_SHAPE_SIGMA, _PROCEDURAL_SIGMA = 1.0, 0.6
# Expressions that another parameter stands for: the jaw, the gaze.
_HELD = re.compile(r"jaw_?drop|jaw_?open|eye_?look|pupil", re.IGNORECASE)
_HELD_SIGMA = 0.02
# How exactly the outline is the outermost candidate, metres.
_SOFT = 0.001


class Marks(flax.struct.PyTreeNode):
  """What of a head the landmarks show.

  Attributes:
    mean: a and b of the 68 landmarks, then of the outline's candidates.
    basis: what shapes, expressions, their products and the jaw's matrix minus
      1 add to them.
    pairs: shape and expression of each product.
    shape_sigma: of the first s shapes, those that are fitted.
    expression_sigma: of the first e expressions.
    shape_unit: 1 where a shape is only meant for values in [0, 1].
    expression_unit: the same of expressions.
  """

  mean: Float[Array, "2 m 3"]
  basis: Float[Array, "2 m 3 c"]
  pairs: Int[Array, "p 2"]
  shape_sigma: Float[Array, " s"]
  expression_sigma: Float[Array, " e"]
  shape_unit: Float[Array, " s"]
  expression_unit: Float[Array, " e"]


class Fit(flax.struct.PyTreeNode):
  """Parameters of n frames of one person.

  Attributes:
    rotation: from the head to the camera, OpenCV axes.
    place: the head's origin in half-pictures, and the logarithm of its depth.
    jaw: axis-angle.
    expression: the first coefficients.
    shape: the first coefficients, of all frames.
  """

  rotation: Float[Array, "n 3 3"]
  place: Float[Array, "n 3"]
  jaw: Float[Array, "n 3"]
  expression: Float[Array, "n e"]
  shape: Float[Array, " s"]


# For `jax.vmap`: what belongs to a frame.
AXES = Fit(0, 0, 0, 0, None)


def prepare(
  model: HeadModel, *, shapes: int = 100, expressions: int = 60
) -> Marks:
  """Prepares a head for fitting.

  Args:
    model: any head.
    shapes: the most coefficients of shape that are fitted, the first ones.
    expressions: the most coefficients of expression.

  Returns:
    Arrays on the device.
  """
  shape_names = model.shape_names[:shapes]
  names = model.expression_names[:expressions]
  pairs = [
    (i, pair)
    for i, pair in enumerate(model.combinations)
    if pair[0] < len(shape_names) and pair[1] < len(names)
  ]
  jaw = JOINTS.index("jaw")
  # The correctives of the jaw's matrix; the first joint has none.
  poses = np.asarray(model.pose_basis)[..., 9 * (jaw - 1) : 9 * jaw]
  regressor = np.asarray(model.joint_regressor)[jaw]
  template = np.asarray(model.template)[..., None]
  shape_basis = np.asarray(model.shape_basis)[..., : len(shape_names)]
  still = [
    np.asarray(model.expression_basis)[..., : len(names)],
    np.asarray(model.combination_basis)[..., [i for i, _ in pairs]],
    poses,
  ]
  faces, weights = contour.candidates(model)
  corners = np.asarray(model.faces)[
    np.concatenate([model.landmark_faces, faces.ravel()])
  ]
  share = np.concatenate([model.landmark_barycentric, weights.reshape(-1, 3)])
  hanging = share * np.asarray(model.skinning)[corners, jaw]

  def gather(basis: np.ndarray, joint: bool) -> np.ndarray:
    a = np.einsum("mk,mkdc->mdc", share, basis[corners])
    b = np.einsum("mk,mkdc->mdc", hanging, basis[corners])
    if joint:
      place = np.tensordot(regressor, basis, 1)
      b = b - hanging.sum(1)[:, None, None] * place[None]
    return np.stack([a, b]).astype(np.float32)

  moving = [gather(shape_basis, True), *(gather(x, False) for x in still)]
  flame = model.name == "FLAME"
  sigma = _FLAME_SIGMA if flame else _UNIT_SIGMA
  sigmas = [_HELD_SIGMA if _HELD.search(name) else sigma for name in names]
  own = _PROCEDURAL_SIGMA if model.name == "procedural" else _SHAPE_SIGMA
  ready = Marks(
    mean=gather(template, True)[..., 0],
    basis=np.concatenate(moving, -1),
    pairs=np.array([p for _, p in pairs], np.int32).reshape(-1, 2),
    shape_sigma=np.full(len(shape_names), own, np.float32),
    expression_sigma=np.array(sigmas, np.float32),
    shape_unit=np.array([n == "chibi" for n in shape_names], np.float32),
    expression_unit=np.full(len(names), not flame, np.float32),
  )
  return jax.device_put(ready)


def points(
  head: Marks, fitted: Fit, focal: Float[Array, ""] | float
) -> Float[Array, "n 68 2"]:
  """Where the landmarks are seen: those of the jaw on the outline.

  Args:
    head: from `prepare`.
    fitted: parameters.
    focal: focal length in half-pictures.

  Returns:
    Points in half-pictures.
  """

  def one(at: Fit) -> Array:
    found = skin(head, at.shape, at.expression, at.jaw)
    found = _blend(found, _outline(found, at, focal))
    return _project(found, at, focal)[0]

  return jax.vmap(one, (AXES,))(fitted)


def skin(head: Marks, shape: Array, expression: Array, jaw: Array) -> Array:
  """Landmarks and candidates [m, 3] of one head, in its frame, metres."""
  turn = rotation(jaw)
  a, b = _linear(head, shape, expression, turn)
  return a + jnp.matmul(b, (turn - jnp.eye(3)).T, precision="highest")


def linear(
  head: Marks, at: Fit, focal: Float[Array, ""] | float
) -> tuple[Float[Array, "68 2"], Float[Array, "68 2 d"]]:
  """The landmarks of one frame, and their derivatives.

  Args:
    head: from `prepare`.
    at: parameters of one frame, without the axis of frames.
    focal: focal length in half-pictures.

  Returns:
    Points, and derivatives with respect to a turn of the camera (a rotation
    vector on the left), place, jaw, expression and shape. Which candidates the
    outline takes is held.
  """
  s, e = len(at.shape), len(at.expression)
  turn = rotation(at.jaw)
  hanging = turn - jnp.eye(3)
  a, b = _linear(head, at.shape, at.expression, turn)
  found = a + jnp.matmul(b, hanging.T, precision="highest")
  share = _outline(found, at, focal)
  # [m, 3, c]: what each coefficient does.
  basis = head.basis[0] + jnp.einsum(
    "ij,mjc->mic", hanging, head.basis[1], precision="highest"
  )
  shaping, expressing = basis[..., :s], basis[..., s : s + e]
  products = basis[..., s + e : s + e + len(head.pairs)]
  by_shape, by_expression = head.pairs[:, 0], head.pairs[:, 1]
  shaping = shaping.at[..., by_shape].add(
    products * at.expression[by_expression][None, None]
  )
  expressing = expressing.at[..., by_expression].add(
    products * at.shape[by_shape][None, None]
  )
  turning = jax.jacfwd(rotation)(at.jaw)
  jawing = jnp.einsum("mj,ijk->mik", b, turning, precision="highest")
  if head.basis.shape[-1] > s + e + len(head.pairs):
    poses = basis[..., s + e + len(head.pairs) :]
    jawing = jawing + jnp.einsum(
      "mic,ck->mik", poses, turning.reshape(9, 3), precision="highest"
    )
  found = _blend(found, share)
  moving = _blend(jnp.concatenate([jawing, expressing, shaping], -1), share)
  seen, rigid, slope = _project(found, at, focal)
  columns = jnp.einsum("mij,mjc->mic", slope, moving, precision="highest")
  return seen, jnp.concatenate([rigid, columns], -1)


def rotation(vector: Float[Array, "3"]) -> Float[Array, "3 3"]:
  """Rodrigues' formula, smooth at 0."""
  squared = (vector * vector).sum()
  small = squared < 1e-6
  angle = jnp.sqrt(jnp.where(small, 1.0, squared))
  sine = jnp.where(small, 1 - squared / 6, jnp.sin(angle) / angle)
  rest = (1 - jnp.cos(angle)) / angle**2
  rest = jnp.where(small, 0.5 - squared / 24, rest)
  cross = _cross(vector)
  square = jnp.matmul(cross, cross, precision="highest")
  return jnp.eye(3) + sine * cross + rest * square


def _cross(vector: Array) -> Array:
  """The matrix [..., 3, 3] of the cross product with a vector."""
  x, y, z = (vector[..., i] for i in range(3))
  zero = jnp.zeros_like(x)
  flat = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1)
  return flat.reshape(*vector.shape, 3)


def _linear(head: Marks, shape: Array, expression: Array, turn: Array) -> Array:
  """a and b, [2, m, 3]."""
  products = shape[head.pairs[:, 0]] * expression[head.pairs[:, 1]]
  parts = [shape, expression, products]
  count = sum(len(part) for part in parts)
  if head.basis.shape[-1] > count:
    parts.append((turn - jnp.eye(3)).reshape(9))
  moved = jnp.matmul(head.basis, jnp.concatenate(parts), precision="highest")
  return head.mean + moved


def _outline(found: Array, at: Fit, focal: Array | float) -> Array:
  """How much each candidate is the outermost one, [lines, 1 + k]."""
  seen = _project(found, at, focal)[0]
  lines = _lines(seen)
  # Outwards is across the picture of the head's vertical axis.
  up = at.rotation[:2, 1]
  right = jnp.stack([-up[1], up[0]]) / jnp.linalg.norm(up)
  outwards = (lines * right[None, None]).sum(-1)
  outwards = outwards * jnp.asarray(contour.SIDES)[:, None]
  soft = WORLD_SCALE * focal * jnp.exp(-at.place[2]) * _SOFT
  return jax.nn.softmax(outwards / soft, axis=-1)


def _lines(values: Array) -> Array:
  """The landmark, then the candidates of each line: [lines, 1 + k, ...]."""
  own = values[jnp.asarray(contour.SLIDING)]
  others = values[68:].reshape(len(own), contour.CANDIDATES, *own.shape[1:])
  return jnp.concatenate([own[:, None], others], 1)


def _blend(values: Array, share: Array) -> Array:
  """The 68 landmarks of values [m, 3, ...], on the outline."""
  weights = share.reshape(*share.shape, *[1] * (values.ndim - 1))
  mixed = (_lines(values) * weights).sum(1)
  return values[:68].at[jnp.asarray(contour.SLIDING)].set(mixed)


def _project(
  found: Array, at: Fit, focal: Array | float
) -> tuple[Array, Array, Array]:
  """Points [m, 2] of the picture, and their slopes.

  The slopes are [m, 2, 6] with respect to turn and place, and [m, 2, 3] with
  respect to the points in the head's frame.
  """
  turned = WORLD_SCALE * jnp.matmul(found, at.rotation.T, precision="highest")
  depth = jnp.exp(at.place[2])
  z = turned[:, 2:] + depth
  # The origin is at (x, y, z) = (place depth / focal, depth).
  seen = (focal * turned[:, :2] + depth * at.place[None, :2]) / z
  zoom = jnp.broadcast_to(jnp.eye(2) * focal, (len(found), 2, 2))
  slope = jnp.concatenate([zoom, -seen[..., None]], -1) / z[..., None]
  turning = -jnp.matmul(slope, _cross(turned), precision="highest")
  placing = (depth / z)[..., None] * jnp.eye(2)[None]
  nearing = depth * (at.place[None, :2] - seen) / z
  rigid = jnp.concatenate([turning, placing, nearing[..., None]], -1)
  inner = WORLD_SCALE * jnp.matmul(slope, at.rotation, precision="highest")
  return seen, rigid, inner
