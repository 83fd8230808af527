"""Skinning against an independent NumPy implementation in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.errors import UserError
from chibijax.heads import model as heads
from chibijax.heads.procedural import procedural_head

V, S, E, F = 12, 4, 3, 9


@pytest.fixture(scope="module")
def small() -> heads.HeadModel:
  """A random head with every kind of basis."""
  rng = np.random.default_rng(0)

  def normal(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)

  weights = rng.random((V, 5)).astype(np.float32)
  regressor = rng.random((5, V)).astype(np.float32)
  barycentric = rng.random((68, 3)).astype(np.float32)
  return heads.HeadModel(
    template=normal(V, 3),
    shape_basis=normal(V, 3, S) / 10,
    expression_basis=normal(V, 3, E) / 10,
    pose_basis=normal(V, 3, 36) / 50,
    combination_basis=normal(V, 3, 2) / 10,
    joint_regressor=regressor / regressor.sum(1, keepdims=True),
    skinning=weights / weights.sum(1, keepdims=True),
    landmark_faces=rng.integers(0, F, 68).astype(np.int32),
    landmark_barycentric=barycentric / barycentric.sum(1, keepdims=True),
    faces=rng.integers(0, V, (F, 3)).astype(np.int32),
    parents=heads.PARENTS,
    shape_names=tuple(f"s{i}" for i in range(S)),
    expression_names=tuple(f"e{i}" for i in range(E)),
    combinations=((3, 0), (1, 2)),
    name="small",
  )


def _given(batch: tuple[int, ...] = (), seed: int = 1) -> list[np.ndarray]:
  rng = np.random.default_rng(seed)
  sizes = (S, E, 6, 6, 3)
  return [rng.normal(size=(*batch, n)).astype(np.float32) * 0.7 for n in sizes]


def _rotation(vector: np.ndarray) -> np.ndarray:
  """Rotation by the exponential series of the cross-product matrix."""
  x, y, z = vector
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  result, term = np.eye(3), np.eye(3)
  for k in range(1, 30):
    term = term @ cross / k
    result = result + term
  return result


def _reference(model: heads.HeadModel, given: list[np.ndarray]) -> np.ndarray:
  """Vertex by vertex with 4 x 4 matrices, float64."""
  shape, expression, pose, eyes, neck = (a.astype(np.float64) for a in given)
  shaped = model.template + model.shape_basis.astype(np.float64) @ shape
  joints = model.joint_regressor.astype(np.float64) @ shaped
  turns = [pose[:3], neck, pose[3:], eyes[:3], eyes[3:]]
  rotations = [_rotation(t) for t in turns]
  rest = shaped + model.expression_basis @ expression
  products = [shape[s] * expression[e] for s, e in model.combinations]
  rest = rest + model.combination_basis @ np.array(products)
  features = np.concatenate([(r - np.eye(3)).ravel() for r in rotations[1:]])
  rest = rest + model.pose_basis @ features
  worlds: list[np.ndarray] = []
  for j, parent in enumerate(model.parents):
    local = np.eye(4)
    local[:3, :3] = rotations[j]
    local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
    worlds.append(worlds[parent] @ local if parent >= 0 else local)
  result = []
  for v, weights in enumerate(model.skinning):
    total = np.zeros(3)
    for weight, world, joint in zip(weights, worlds, joints, strict=True):
      total += weight * (world @ np.append(rest[v] - joint, 1))[:3]
    result.append(total)
  return np.array(result)


def test_vertices_equal_the_reference_in_numpy_jax_and_batches(
  small: heads.HeadModel,
) -> None:
  given = _given((2, 3))
  *rest, neck = given
  ours = heads.vertices(small, *rest, neck=neck)
  assert ours.shape == (2, 3, V, 3) and ours.dtype == jnp.float32
  plain = heads.vertices(small, *rest, neck=neck, xp=np)
  assert isinstance(plain, np.ndarray) and plain.dtype == np.float32
  for i in np.ndindex(2, 3):
    wanted = _reference(small, [a[i] for a in given])
    # Float32 sums of some 60 terms of size 1.
    np.testing.assert_allclose(ours[i], wanted, atol=3e-6)
    np.testing.assert_allclose(plain[i], wanted, atol=3e-6)


def test_jit_equals_eager_and_missing_coefficients_are_zero(
  small: heads.HeadModel,
) -> None:
  shape, expression, pose, eyes, _ = _given()
  full = heads.vertices(
    small,
    np.append(shape[:2], [0, 0]).astype(np.float32),
    np.append(expression[:1], [0, 0]).astype(np.float32),
    pose,
    eyes,
  )
  with jax.disable_jit():
    eager = heads.vertices(small, shape[:2], expression[:1], pose, eyes)
  np.testing.assert_allclose(eager, full, atol=1e-6)
  none = heads.vertices(small, shape[:0], expression[:0], pose, eyes, xp=np)
  assert none.shape == (V, 3)


def test_gradients_also_at_rest(small: heads.HeadModel) -> None:

  @jax.jit
  def value(*a: jax.Array) -> jax.Array:
    moved = heads.vertices(small, *a[:4], neck=a[4])
    return (heads.landmarks(small, moved) ** 2).mean()

  for given in (_given(), [np.zeros_like(a) for a in _given()]):
    # Float32 differences: the values are of size 1, the steps of 1e-2.
    check_grads(value, given, 1, ["rev"], 1e-2, 1e-2, 1e-2)


def test_global_rotation_turns_everything_about_the_first_joint(
  small: heads.HeadModel,
) -> None:
  shape, expression, pose, eyes, _ = _given(seed=3)
  still = np.concatenate([np.zeros(3, np.float32), pose[3:]])
  before = heads.vertices(small, shape, expression, still, eyes, xp=np)
  after = heads.vertices(small, shape, expression, pose, eyes, xp=np)
  root = (small.joint_regressor @ (small.template + small.shape_basis @ shape))[
    0
  ]
  wanted = (before - root) @ _rotation(pose[:3]).T + root
  np.testing.assert_allclose(after, wanted, atol=5e-6)


def test_landmarks_are_points_of_faces_and_survive_the_reduction(
  small: heads.HeadModel,
) -> None:
  *given, neck = _given((2,), seed=4)
  moved = heads.vertices(small, *given, neck=neck, xp=np)
  marks = heads.landmarks(small, moved)
  for k in (0, 67):
    corners = moved[:, small.faces[small.landmark_faces[k]]]
    wanted = np.einsum("bcd,c->bd", corners, small.landmark_barycentric[k])
    np.testing.assert_allclose(marks[:, k], wanted, atol=1e-6)
  few = small.reduced_to_landmarks()
  got = heads.landmarks(few, heads.vertices(few, *given, neck=neck, xp=np))
  np.testing.assert_allclose(got, marks, atol=2e-6)
  real = procedural_head().reduced_to_landmarks()
  assert real.template.shape[0] < 300


def test_joint_weights_make_the_joint() -> None:
  points = np.random.default_rng(5).normal(size=(20, 3))
  goal = np.array([0.1, 0.2, -0.3])
  weights = heads.joint_weights(points, goal)
  np.testing.assert_allclose(weights @ points, goal, atol=1e-9)
  np.testing.assert_allclose(weights.sum(), 1)


def test_mistakes_are_one_sentence(small: heads.HeadModel) -> None:
  shape, expression, pose, eyes, _ = _given()
  with pytest.raises(UserError, match="4 shape coefficients, but 5"):
    heads.vertices(small, np.append(shape, shape[:1]), expression, pose, eyes)
  with pytest.raises(UserError, match="no shape 'grin', but: s0"):
    small.coefficients(grin=1.0)
  got = small.coefficients(s2=0.5, e1=-1.0)
  assert got[0].tolist() == [0, 0, 0.5, 0] and got[1].tolist() == [0, -1, 0]
