"""The procedural head: a closed, symmetric mesh with the right landmarks."""

import numpy as np
import pytest

from chibijax.heads import model as heads
from chibijax.heads import procedural_mesh
from chibijax.heads.procedural import procedural_head, procedural_regions
from chibijax.heads.procedural_landmarks import MIRROR


@pytest.fixture(scope="module")
def head() -> heads.HeadModel:
  return procedural_head()


@pytest.fixture(scope="module")
def mirror() -> np.ndarray:
  return procedural_mesh.build().mirror


def _move(
  head: heads.HeadModel, jaw: float = 0.0, **values: float
) -> np.ndarray:
  shape, expression = head.coefficients(**values)
  pose = np.array([0, 0, 0, jaw, 0, 0], np.float32)
  rest = np.zeros(6, np.float32)
  return heads.vertices(head, shape, expression, pose, rest, xp=np)


def _edges(faces: np.ndarray) -> np.ndarray:
  return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def _parts(faces: np.ndarray, count: int) -> np.ndarray:
  """The smallest vertex of each vertex's connected part."""
  label = np.arange(count)
  a, b = _edges(faces).T
  while True:
    low = np.minimum(label[a], label[b])
    new = label.copy()
    np.minimum.at(new, a, low)
    np.minimum.at(new, b, low)
    if (new == label).all():
      return label
    label = new


def test_every_part_is_a_closed_orientable_sphere_but_for_the_neck(
  head: heads.HeadModel,
) -> None:
  faces, count = head.faces, len(head.template)
  edges = _edges(faces)
  assert len(np.unique(edges, axis=0)) == len(edges)  # Orientable.
  both = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
  assert both[1].max() == 2  # A manifold.
  rim = both[0][both[1] == 1]
  # One loop at the bottom: as many vertices as edges, each in two.
  assert (np.unique(rim, return_counts=True)[1] == 2).all()
  np.testing.assert_allclose(head.template[rim][..., 1], -0.18, atol=1e-6)
  labels = _parts(faces, count)
  assert np.array_equal(np.unique(faces), np.arange(count))
  names = np.unique(labels)
  assert len(names) == 6  # Skin, two eyes, two rows of teeth, the tongue.
  for name in names:
    mine = faces[labels[faces[:, 0]] == name]
    sides = len(np.unique(np.sort(_edges(mine), axis=1), axis=0))
    euler = (labels == name).sum() - sides + len(mine)
    open_ = np.isin(rim, mine).any()
    assert euler == (1 if open_ else 2)
  a, b, c = np.moveaxis(head.template[faces].astype(np.float64), 1, 0)
  # Outwards: the enclosed volume is positive, as is every part's.
  volume = (a * np.cross(b, c)).sum(1) / 6
  for name in names:
    assert volume[labels[faces[:, 0]] == name].sum() > 0
  # No slivers beyond float32.
  assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 1e-10


def test_everything_mirrors(head: heads.HeadModel, mirror: np.ndarray) -> None:
  flip = np.array([-1, 1, 1], np.float32)
  np.testing.assert_array_equal(head.template[mirror] * flip, head.template)
  for k, name in enumerate(head.shape_names):
    column = head.shape_basis[..., k]
    np.testing.assert_allclose(column[mirror] * flip, column, atol=1e-7)
    assert np.abs(column).max() > 1e-3, name
  names = head.expression_names
  for k, name in enumerate(names):
    other = name
    for a, b in (("left", "right"), ("right", "left")):
      if name.endswith(a):
        other = name.removesuffix(a) + b
    sign = -1 if name.endswith("side") else 1
    column = head.expression_basis[..., k]
    twin = head.expression_basis[..., names.index(other)]
    np.testing.assert_allclose(column[mirror] * flip, sign * twin, atol=1e-7)
    assert np.abs(column).max() > 1e-3, name
  swap = [0, 1, 2, 4, 3]
  np.testing.assert_allclose(
    head.skinning[mirror][:, swap], head.skinning, atol=1e-6
  )
  np.testing.assert_allclose(head.skinning.sum(1), 1, atol=1e-6)
  assert head.skinning.min() >= 0


def test_shapes_are_independent_and_enough(head: heads.HeadModel) -> None:
  assert len(head.shape_names) > 20 and len(head.expression_names) > 20
  assert 4000 < len(head.template) < 6000
  for basis in (head.shape_basis, head.expression_basis):
    flat = basis.reshape(-1, basis.shape[-1]).astype(np.float64)
    flat /= np.linalg.norm(flat, axis=0)
    assert np.linalg.eigvalsh(flat.T @ flat)[0] > 1e-4
  plain = procedural_head(chibi_axis=False)
  assert plain.shape_names == head.shape_names[:-1]
  assert head.shape_names[-1] == "chibi"


def test_landmarks_lie_where_ibug_has_them(head: heads.HeadModel) -> None:
  for values in ({}, {"chibi": 1.0}, {"face_width": 1.0, "eye_size": 1.0}):
    at = heads.landmarks(head, _move(head, **values))
    flipped = at[MIRROR] * [-1, 1, 1]
    np.testing.assert_allclose(flipped, at, atol=1e-6)
    x, y, z = at.T
    assert (np.diff(x[:17]) > 0).all() and (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) < 0).all()
    if "chibi" not in values:
      # A ball has no chin that is lower than the jaw.
      assert y[8] == y.min() and z[30] == z.max()
    assert (np.diff(x[31:36]) > 0).all() and (np.diff(x[48:55]) > 0).all()
    assert (np.diff(x[[36, 37, 38, 39, 42, 43, 44, 45]]) > 0).all()
    assert (y[[37, 38]] > y[[41, 40]]).all()
    assert (y[17:22].min() > y[36:42].max()) and (y[36:42].min() > y[33])
    assert y[33] > y[51] > y[62] >= y[66] > y[57] > y[8]
    assert x[48] < x[60] < x[64] < x[54]
    # On the skin in front of the eyeballs and the teeth.
    assert z[[37, 38, 40, 41]].min() > head.template[:, 2].max() * 0.4


@pytest.mark.parametrize("chibi", [0.0, 0.5, 1.0])
def test_lids_close_on_every_identity(
  head: heads.HeadModel, chibi: float
) -> None:
  def opening(**values: float) -> np.ndarray:
    at = heads.landmarks(head, _move(head, chibi=chibi, **values))
    return at[[37, 38, 43, 44], 1] - at[[41, 40, 47, 46], 1]

  before = opening()
  both = {"lids_close_left": 1.0, "lids_close_right": 1.0}
  after = opening(**both)
  assert before.min() > 0.008
  assert np.abs(after).max() < 0.04 * before.min()
  one = opening(lids_close_left=1.0)
  np.testing.assert_allclose(one[:2], before[:2], atol=1e-6)
  # The lids pass over the ball, they do not cut into it.
  for share in (0.25, 0.5, 0.75, 1.0):
    moved = _move(head, chibi=chibi, **{k: share for k in both})
    _check_lids_outside(head, moved)


def _check_lids_outside(head: heads.HeadModel, moved: np.ndarray) -> None:
  mesh = procedural_mesh.build()
  left = mesh.positions[:, 0] > 0
  ball = moved[left & (mesh.part == procedural_mesh.PARTS.index("eyeball"))]
  center = (ball.max(0) + ball.min(0)) / 2
  radius = np.linalg.norm(ball - center, axis=1).max()
  lids = left & (mesh.part == procedural_mesh.PARTS.index("lids"))
  margin = moved[lids & (mesh.ring <= 5)]
  gaps = np.linalg.norm(margin - center, axis=1) - radius
  assert gaps.min() > -0.0002


def test_jaw_opens_the_mouth_by_joint_and_by_shape(
  head: heads.HeadModel,
) -> None:
  closed = heads.landmarks(head, _move(head))
  for opened in (_move(head, jaw=0.26), _move(head, jaw_drop=1.0)):
    at = heads.landmarks(head, opened)
    assert at[62, 1] - at[66, 1] > 0.012
    # The upper face and the upper lip stay.
    np.testing.assert_allclose(at[17:48], closed[17:48], atol=1e-4)
    assert closed[8, 1] - at[8, 1] > 0.012
  joints = head.joint_regressor @ head.template
  np.testing.assert_allclose(joints[3], procedural_mesh.EYE, atol=1e-6)


def test_regions_and_texture(head: heads.HeadModel) -> None:
  regions = procedural_regions()
  count = len(head.template)
  for name in regions._fields[2:-1]:
    weights = getattr(regions, name)
    assert weights.shape == (count,) and weights.dtype == np.float32
    assert weights.min() >= 0 and weights.max() == 1, name
  assert regions.uv.shape == (count, 2)
  assert regions.uv.min() >= 0 and regions.uv.max() <= 1
  total = sum(
    getattr(regions, k)
    for k in ("skin", "eye_white", "iris", "pupil", "teeth", "tongue")
  )
  np.testing.assert_array_equal(total, 1)


def test_it_is_built_once_and_cannot_be_changed(head: heads.HeadModel) -> None:
  assert procedural_head() is head
  with pytest.raises(ValueError, match="read-only"):
    head.template[0] = 0
