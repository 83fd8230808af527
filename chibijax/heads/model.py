"""A morphable head: linear shapes, then linear blend skinning (FLAME's form).

Frame: metres, y up, z out of the face, x to the subject's left (right in the
picture); the origin lies between the ears. Joints in FLAME's order: global,
neck, jaw, left eye, right eye. Rotations are axis-angle vectors in radians.

The vertices of a head are T. Li et al., "Learning a model of facial shape and
expression from 4D scans" (SIGGRAPH Asia 2017), equations 1 to 4:

    skin(template + shape + expression + pose correctives, joints(shape), pose)
"""

import math
import types

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from chibijax.errors import UserError

JOINTS = ("global", "neck", "jaw", "left_eye", "right_eye")
# FLAME's kinematic tree: the jaw and the eyes hang on the neck.
PARENTS = (-1, 0, 1, 1, 1)

# Data workers use NumPy: JAX does not survive a fork.
AnyArray = Array | np.ndarray


class HeadModel(flax.struct.PyTreeNode):
  """The arrays of a head; V vertices, S shapes, E expressions, J joints.

  Loaders fill it with NumPy arrays, which every process may hold; where it is
  an argument of a jitted function many times, `jax.device_put` it once.

  Attributes:
    template: the mean head at rest, metres.
    shape_basis: displacements by identity, per unit of a coefficient.
    expression_basis: displacements by expression, per unit.
    pose_basis: FLAME's pose correctives; their coefficients are the elements of
      the rotation matrices of all joints but the first, minus the identity's.
      P is 9 (J - 1), or 0 where the model has none.
    combination_basis: corrections for a shape and an expression at once; their
      coefficients are products. None of them in published models.
    joint_regressor: joints are this times the shaped template.
    skinning: weights of the joints, summing to 1.
    landmark_faces: the face each of the 68 iBUG landmarks lies on.
    landmark_barycentric: where on it, summing to 1.
    faces: vertex numbers, counter-clockwise seen from outside.
    parents: the joint each joint hangs on; -1 for the first.
    shape_names: of the columns of `shape_basis`.
    expression_names: of the columns of `expression_basis`.
    combinations: (shape, expression) of the columns of `combination_basis`.
    name: of the model, for messages.
  """

  template: Float[AnyArray, "V 3"]
  shape_basis: Float[AnyArray, "V 3 S"]
  expression_basis: Float[AnyArray, "V 3 E"]
  pose_basis: Float[AnyArray, "V 3 P"]
  combination_basis: Float[AnyArray, "V 3 C"]
  joint_regressor: Float[AnyArray, "J V"]
  skinning: Float[AnyArray, "V J"]
  landmark_faces: Int[AnyArray, "68"]
  landmark_barycentric: Float[AnyArray, "68 3"]
  faces: Int[AnyArray, "F 3"]
  parents: tuple[int, ...] = flax.struct.field(pytree_node=False)
  shape_names: tuple[str, ...] = flax.struct.field(pytree_node=False)
  expression_names: tuple[str, ...] = flax.struct.field(pytree_node=False)
  combinations: tuple[tuple[int, int], ...] = flax.struct.field(
    pytree_node=False, default=()
  )
  name: str = flax.struct.field(pytree_node=False, default="head")

  def coefficients(self, **values: float) -> tuple[np.ndarray, np.ndarray]:
    """Shape and expression vectors with the named entries set.

    Raises:
      UserError: if neither basis has a name.
    """
    shape = np.zeros(len(self.shape_names), np.float32)
    expression = np.zeros(len(self.expression_names), np.float32)
    for name, value in values.items():
      if name in self.shape_names:
        shape[self.shape_names.index(name)] = value
      elif name in self.expression_names:
        expression[self.expression_names.index(name)] = value
      else:
        known = ", ".join((*self.shape_names, *self.expression_names))
        raise UserError(f"{self.name} has no shape {name!r}, but: {known}.")
    return shape, expression

  def reduced_to_landmarks(self) -> "HeadModel":
    """The same head with the landmarks' vertices only, for fast fitting.

    `landmarks(m, vertices(m, ...))` is that of the whole head. The joints are
    kept as vertices of their own, which the regressor picks.
    """
    corners = np.asarray(self.faces)[np.asarray(self.landmark_faces)]
    kept, inverse = np.unique(corners, return_inverse=True)
    regressor = np.asarray(self.joint_regressor)
    joints, extra = len(regressor), len(kept)

    def rows(values: AnyArray, regressed: bool) -> np.ndarray:
      values = np.asarray(values)
      ends = np.tensordot(regressor, values, 1) if regressed else None
      if ends is None:
        ends = np.zeros((joints, *values.shape[1:]))
      return np.concatenate([values[kept], ends]).astype(np.float32)

    return self.replace(
      template=rows(self.template, True),
      shape_basis=rows(self.shape_basis, True),
      expression_basis=rows(self.expression_basis, False),
      pose_basis=rows(self.pose_basis, False),
      combination_basis=rows(self.combination_basis, False),
      joint_regressor=np.eye(joints, extra + joints, extra, dtype=np.float32),
      skinning=rows(self.skinning, False),
      landmark_faces=np.arange(len(corners), dtype=np.int32),
      faces=inverse.reshape(corners.shape).astype(np.int32),
    )


def vertices(
  model: HeadModel,
  shape: Float[AnyArray, "*#batch s"],
  expression: Float[AnyArray, "*#batch e"],
  pose: Float[AnyArray, "*#batch 6"],
  eyes: Float[AnyArray, "*#batch 6"],
  *,
  neck: Float[AnyArray, "*#batch 3"] | None = None,
  xp: types.ModuleType = jnp,
) -> Float[AnyArray, "*batch V 3"]:
  """The vertices of heads.

  Args:
    model: the head.
    shape: the first s <= S coefficients; the others are 0.
    expression: the first e <= E coefficients; the others are 0.
    pose: rotations of global, then jaw.
    eyes: rotations of the left eye, then the right.
    neck: rotation of the neck; None: none.
    xp: `numpy` computes without JAX, for data workers. The default compiles
      once for each set of shapes and may be differentiated.

  Raises:
    UserError: if there are more coefficients than the model has.
  """
  _check(model, shape, model.shape_names, "shape")
  _check(model, expression, model.expression_names, "expression")
  if neck is None:
    neck = xp.zeros_like(pose[..., :3])
  given = (shape, expression, pose, eyes, neck)
  batch = np.broadcast_shapes(*(a.shape[:-1] for a in given))
  # One batch axis inside, so that ranks are known.
  count = math.prod(batch)
  rows = [
    xp.broadcast_to(a, (*batch, a.shape[-1])).reshape(count, a.shape[-1])
    for a in given
  ]
  if xp is np:
    result = _vertices(np, model, *rows)
  else:
    result = _compiled(model, *rows)
  return result.reshape(*batch, *result.shape[1:])


def landmarks(
  model: HeadModel, vertices: Float[AnyArray, "*batch V 3"]
) -> Float[AnyArray, "*batch 68 3"]:
  """The 68 landmarks of heads, in iBUG's order; NumPy in, NumPy out."""
  corners = model.faces[model.landmark_faces]
  batch = (1,) * (vertices.ndim - 2)
  weights = model.landmark_barycentric.reshape(*batch, *corners.shape, 1)
  return (vertices[..., corners, :] * weights).sum(axis=-2)


def joint_weights(
  points: Float[np.ndarray, "n 3"], goal: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "n"]:
  """The smallest weights, summing to 1, whose sum of points is a joint.

  For builders of regressors: such a joint moves, grows and turns with its
  points. They must not lie in a plane.
  """
  middle = points.mean(0)
  system = np.concatenate([(points - middle).T, np.ones((1, len(points)))])
  return np.linalg.pinv(system) @ np.array([*(goal - middle), 1.0])


def _check(
  model: HeadModel, given: AnyArray, names: tuple[str, ...], kind: str
) -> None:
  if given.shape[-1] > len(names):
    raise UserError(
      f"{model.name} has {len(names)} {kind} coefficients, but "
      f"{given.shape[-1]} were given."
    )


@jax.jit
def _compiled(model: HeadModel, *given: Array) -> Array:
  return _vertices(jnp, model, *given)


def _vertices(
  xp: types.ModuleType,
  model: HeadModel,
  shape: AnyArray,
  expression: AnyArray,
  pose: AnyArray,
  eyes: AnyArray,
  neck: AnyArray,
) -> AnyArray:
  """`vertices` in NumPy's or JAX's arithmetic, of rows of coefficients."""
  shaped = model.template[None] + _blend(xp, model.shape_basis, shape)
  joints = _matmul(xp, model.joint_regressor[None], shaped)
  # [N, J, 3], in the order of JOINTS.
  turns = [pose[:, :3], neck, pose[:, 3:], eyes[:, :3], eyes[:, 3:]]
  rotations = _rotation_matrices(xp, xp.stack(turns, 1))
  moved = shaped + _blend(xp, model.expression_basis, expression)
  columns = [
    i
    for i, (s, e) in enumerate(model.combinations)
    if s < shape.shape[1] and e < expression.shape[1]
  ]
  if columns:
    pairs = np.array(model.combinations)[columns]
    products = shape[:, pairs[:, 0]] * expression[:, pairs[:, 1]]
    basis = model.combination_basis
    if len(columns) < basis.shape[-1]:
      basis = basis[..., np.array(columns)]
    moved = moved + _blend(xp, basis, products)
  if model.pose_basis.shape[-1]:
    features = rotations[:, 1:] - np.eye(3, dtype=np.float32)[None, None]
    features = features.reshape(len(features), -1)
    moved = moved + _blend(xp, model.pose_basis, features)
  return _skin(xp, model, moved, joints, rotations)


def _skin(
  xp: types.ModuleType,
  model: HeadModel,
  rest: AnyArray,
  joints: AnyArray,
  rotations: AnyArray,
) -> AnyArray:
  """Moves vertices by the weighted transforms of their joints (equation 1)."""
  turned, shifts = [], []
  for j, parent in enumerate(model.parents):
    rotation, joint = rotations[:, j], joints[:, j]
    if parent >= 0:
      joint = shifts[parent] + _apply(turned[parent], joint)
      rotation = _matmul(xp, turned[parent], rotation)
    turned.append(rotation)
    # What the transform adds to a point after rotating it about the origin.
    shifts.append(joint - _apply(rotation, joints[:, j]))
  transforms = xp.concatenate(
    [xp.stack(turned, 1), xp.stack(shifts, 1)[..., None]], -1
  )
  flat = transforms.reshape(len(transforms), -1, 12)
  mixed = _matmul(xp, model.skinning[None], flat)
  mixed = mixed.reshape(*mixed.shape[:2], 3, 4)
  return _apply(mixed[..., :3], rest) + mixed[..., 3]


def _matmul(xp: types.ModuleType, a: AnyArray, b: AnyArray) -> AnyArray:
  if xp is np:
    return np.matmul(a, b)
  # Accelerators would round the factors to 10 bits: a tenth of a millimetre.
  return jnp.matmul(a, b, precision="highest")


def _apply(matrix: AnyArray, point: AnyArray) -> AnyArray:
  return (matrix * point[..., None, :]).sum(-1)


def _blend(
  xp: types.ModuleType, basis: AnyArray, coefficients: AnyArray
) -> AnyArray:
  """Sums of the first n columns of a basis by rows [N, n]: [N, V, 3]."""
  rows, n = coefficients.shape
  flat = basis[..., :n].reshape(3 * len(basis), n)
  return _matmul(xp, coefficients, flat.T).reshape(rows, -1, 3)


def _rotation_matrices(xp: types.ModuleType, vectors: AnyArray) -> AnyArray:
  """Rodrigues' formula, smooth at 0: [N, J, 3] -> [N, J, 3, 3]."""
  squared = (vectors * vectors).sum(-1)[..., None, None]
  small = squared < 1e-4
  angle = xp.sqrt(xp.where(small, 1.0, squared))
  sine = xp.where(small, 1 - squared / 6, xp.sin(angle) / angle)
  cosine = xp.where(
    small, 0.5 - squared / 24, (1 - xp.cos(angle)) / (angle * angle)
  )
  x, y, z = (vectors[..., i] for i in range(3))
  zero = xp.zeros_like(x)
  cross = xp.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1)
  cross = cross.reshape(*vectors.shape, 3)
  squares = _matmul(xp, cross, cross)
  identity = np.eye(3, dtype=np.float32)[None, None]
  return (identity + sine * cross + cosine * squares).astype(vectors.dtype)
