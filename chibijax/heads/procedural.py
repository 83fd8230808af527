"""Our own head: formulas, no data of anybody's, FLAME's size and joints.

About 4,450 vertices: skin with lids, lips, ears and neck, mouth cavity, and
eyeballs, teeth and tongue of their own. 34 identity shapes and the chibi axis,
36 expressions; everything mirrors left to right. Gaze is by the eyes' joints.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from chibijax.heads import procedural_expressions as moves
from chibijax.heads import procedural_landmarks as marks
from chibijax.heads import procedural_shapes as shapes
from chibijax.heads.model import PARENTS, HeadModel, joint_weights
from chibijax.heads.procedural_mesh import EYE, PARTS, Mesh, build
from chibijax.heads.procedural_surface import smooth


class Regions(NamedTuple):
  """What the vertices of the procedural head are made of.

  Attributes:
    uv: place in a square picture, v downwards: the skin as a disk with the
      crown in the middle and the face below, the parts in the corners.
    rest: the mean head, for patterns in space.
    skin, lips, brows, eye_white, iris, pupil, scalp, ear, neck, mouth_inside,
      teeth, tongue, lashes: weights in [0, 1]; brows, scalp, ear, neck, lashes
      and lips lie on the skin, which is 1 under them.
    part: index into `procedural_mesh.PARTS`.
  """

  uv: Float[np.ndarray, "V 2"]
  rest: Float[np.ndarray, "V 3"]
  skin: Float[np.ndarray, "V"]
  lips: Float[np.ndarray, "V"]
  brows: Float[np.ndarray, "V"]
  eye_white: Float[np.ndarray, "V"]
  iris: Float[np.ndarray, "V"]
  pupil: Float[np.ndarray, "V"]
  scalp: Float[np.ndarray, "V"]
  ear: Float[np.ndarray, "V"]
  neck: Float[np.ndarray, "V"]
  mouth_inside: Float[np.ndarray, "V"]
  teeth: Float[np.ndarray, "V"]
  tongue: Float[np.ndarray, "V"]
  lashes: Float[np.ndarray, "V"]
  part: np.ndarray


@functools.cache
def procedural_head(*, chibi_axis: bool = True) -> HeadModel:
  """Builds the head, once a process.

  Args:
    chibi_axis: whether the last shape is "chibi": 0 is nobody's child, 1 a
      chibi. Its products with the expressions are `combination_basis`.

  Returns:
    A model of read-only NumPy arrays.
  """
  mesh = build()
  identity = {
    name: shapes.displacements(mesh, field)
    for name, field in shapes.fields().items()
  }
  rest = moves.Face(mesh, mesh.positions)
  expression = moves.expressions(rest)
  names = tuple(expression)
  bases = [np.stack([*expression.values()], -1)]
  combined: list[np.ndarray] = []
  pairs: tuple[tuple[int, int], ...] = ()
  if chibi_axis:
    identity["chibi"] = shapes.chibi(mesh)
    face = moves.Face.of(mesh, identity["chibi"])
    own = moves.expressions(face)
    combined = [own[name] - expression[name] for name in names]
    pairs = tuple((len(identity) - 1, e) for e in range(len(names)))
  corners, weights = marks.embedding(mesh)
  arrays = {
    "template": mesh.positions,
    "shape_basis": np.stack([*identity.values()], -1),
    "expression_basis": bases[0],
    "pose_basis": np.zeros((*mesh.positions.shape, 0)),
    "combination_basis": np.stack(combined, -1)
    if combined
    else np.zeros((*mesh.positions.shape, 0)),
    "joint_regressor": _regressor(mesh),
    "skinning": _skinning(mesh),
    "landmark_barycentric": weights,
  }
  ready = {k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()}
  ready["faces"] = mesh.faces
  ready["landmark_faces"] = corners
  for array in ready.values():
    array.setflags(write=False)
  return HeadModel(
    **ready,
    parents=PARENTS,
    shape_names=tuple(identity),
    expression_names=names,
    combinations=pairs,
    name="procedural",
  )


def _skinning(mesh: Mesh) -> np.ndarray:
  """The lower neck is held, the upper turns with the head."""
  weights = np.zeros((len(mesh.positions), 5))
  jaw = moves.jaw_weight(mesh)
  neck = smooth(mesh.positions[:, 1], -0.172, -0.11)
  weights[:, 1] = neck - neck * jaw
  weights[:, 2] = neck * jaw
  weights[:, 0] = 1 - neck
  balls = mesh.part == PARTS.index("eyeball")
  left = mesh.positions[:, 0] > 0
  weights[balls] = 0
  weights[balls & left, 3] = 1
  weights[balls & ~left, 4] = 1
  return weights


def _regressor(mesh: Mesh) -> np.ndarray:
  """Weights whose sums of vertices are the joints."""
  result = np.zeros((5, len(mesh.positions)))
  part, p = mesh.part, mesh.positions
  skin = part == PARTS.index("skin")
  bottom = skin & (mesh.row > 14.2)
  low = skin & (np.abs(mesh.row - 13.3) < 0.7)
  near = skin & (
    np.linalg.norm(
      np.abs(p * [1, 0, 0]) + p * [0, 1, 1] - [0.068, -0.012, 0.0], axis=1
    )
    < 0.016
  )
  ball = part == PARTS.index("eyeball")
  left = p[:, 0] > 0
  goals = (
    (bottom, [0, -0.17, -0.035]),
    (low, [0, -0.128, -0.036]),
    (near, moves.JAW),
    (ball & left, EYE),
    (ball & ~left, EYE * [-1, 1, 1]),
  )
  for row, (chosen, goal) in zip(result, goals, strict=True):
    row[chosen] = joint_weights(p[chosen], np.asarray(goal))
  return result


def brow_weight(rest: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
  """Eyebrows as a pattern in space: arcs over the eyes of the mean head."""
  x = np.abs(rest[:, 0]) * 1000
  y = rest[:, 1] * 1000
  along = (x - 12) / 37
  middle = 36.5 + 13.0 * along - 12.5 * along**2
  thick = 3.6 * (1 - 0.55 * np.clip(along, 0, 1))
  ends = smooth(x, 10, 14) * smooth(x, 51, 44)
  front = smooth(rest[:, 2], 0.02, 0.03)
  return smooth(np.abs(y - middle), thick + 0.8, thick - 0.8) * ends * front


def scalp_weight(rest: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
  """Where hair grows, as a pattern in space around the mean head."""
  angle = np.abs(np.arctan2(rest[:, 0], rest[:, 2] + 0.02))
  line = np.interp(
    angle,
    [0, 0.55, 0.85, 1.1, 1.35, 1.7, 2.1, 3.2],
    np.array([86, 82, 66, 40, 5, 10, -60, -92]) / 1000,
  )
  return smooth(rest[:, 1] - line, -0.003, 0.003)


@functools.cache
def procedural_regions() -> Regions:
  """The regions of `procedural_head`'s vertices."""
  mesh = build()
  p, part, ring = mesh.positions, mesh.part, mesh.ring

  def is_(name: str) -> np.ndarray:
    return part == PARTS.index(name)

  mouth, lids, ball = is_("mouth"), is_("lids"), is_("eyeball")
  skin = (is_("skin") | is_("ear") | mouth | lids).astype(float)
  lips = mouth * np.where(ring == 2, 0.5, ((ring > 2) & (ring < 7)) * 1.0)
  lashes = (
    lids
    * ((ring == 4) | (ring == 5))
    * smooth(np.sin(np.where(lids, np.nan_to_num(mesh.place), -1.0)), 0.0, 0.35)
  )
  ear = is_("ear") * 1.0
  values = {
    "skin": skin,
    "lips": lips,
    "brows": brow_weight(p) * (is_("skin") | (lids & (ring < 3))),
    "eye_white": ball * (ring >= 6),
    "iris": ball * ((ring >= 3) & (ring < 6)),
    "pupil": ball * (ring < 3),
    "scalp": scalp_weight(p) * is_("skin"),
    "ear": ear,
    "neck": smooth(np.nan_to_num(mesh.row), 11.6, 12.4) * is_("skin"),
    "mouth_inside": mouth * (ring >= 7),
    "teeth": is_("upper_teeth") | is_("lower_teeth"),
    "tongue": is_("tongue"),
    "lashes": lashes,
  }
  ready = {k: np.asarray(v, np.float32) for k, v in values.items()}
  return Regions(
    uv=marks.texture_coordinates(mesh).astype(np.float32),
    rest=p.astype(np.float32),
    part=part,
    **ready,
  )
