"""The chibi axis of a head model, applied to the Gaussians of an avatar.

The Gaussians at the head model's vertices follow the vertices. The lifted ones,
which make hair, clothes and most of the face, belong to no vertex: each is
moved by the vertices around it,

    p' = sum of w_i (v'_i + s_i (p - v_i)),

where v and v' are vertices before and after, s_i is how much the surface
stretches at a vertex, and w are Shepard's weights in Franke and Nielson's form
("Smooth interpolation of large sets of scattered data", 1980), which fall to 0
at the last neighbour, so that the field has no jumps and passes through the
vertices. Sizes grow by the same stretch.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import scipy.spatial
from jaxtyping import Float, Int

from chibijax.apps.avatar3d_file import Avatar, Face
from chibijax.errors import UserError
from chibijax.heads import model as head_model
from chibijax.heads.model import HeadModel
from chibijax.tasks.avatar_model import WORLD_SCALE, AvatarModel

AXIS = "chibi"
# Vertices that move a Gaussian.
NEIGHBOURS = 24
# A stretch beyond these is that of a fold (the lids, the lips), not of skin.
_STRETCH = (0.5, 2.0)

Points = Float[np.ndarray, "n 3"]


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
  """A displacement of space that a mesh makes.

  Attributes:
    before: the vertices.
    after: where they go.
    stretch: of the surface at them.
  """

  before: Points
  after: Points
  stretch: Float[np.ndarray, " n"]

  def __call__(self, points: Points) -> tuple[Points, Float[np.ndarray, " n"]]:
    """Moves points.

    Args:
      points: anywhere.

    Returns:
      Where they go, and the stretch there.
    """
    tree = scipy.spatial.cKDTree(self.before)
    count = min(NEIGHBOURS, len(self.before) - 1)
    distance, index = tree.query(points, count + 1)
    reach = distance[:, -1:]
    near = np.maximum(distance[:, :-1], 1e-6 * reach + 1e-12)
    weights = np.maximum((reach - near) / (reach * near + 1e-12), 0) ** 2
    # Where all neighbours are equally far, none of them is nearer.
    weights += 1e-12
    weights /= weights.sum(1, keepdims=True)
    index = index[:, :-1]
    stretch = self.stretch[index]
    apart = points[:, None] - self.before[index]
    moved = self.after[index] + stretch[..., None] * apart
    return (weights[..., None] * moved).sum(1), (weights * stretch).sum(1)


def field(
  before: Points, after: Points, faces: Int[np.ndarray, "f 3"]
) -> Field:
  """The field of a mesh that was moved.

  Args:
    before: its vertices.
    after: the same vertices, moved.
    faces: its triangles.

  Returns:
    The field.
  """
  edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
  sums = []
  for vertices in (after, before):
    squared = ((vertices[edges[:, 0]] - vertices[edges[:, 1]]) ** 2).sum(1)
    total = np.zeros(len(vertices))
    for end in (0, 1):
      np.add.at(total, edges[:, end], squared)
    sums.append(total)
  known = sums[1] > 0
  ratio = np.ones(len(before))
  ratio[known] = np.sqrt(sums[0][known] / sums[1][known])
  return Field(before, after, np.clip(ratio, *_STRETCH))


def apply(avatar: Avatar, model: AvatarModel, amount: float) -> Avatar:
  """Makes an avatar a chibi, or more or less of one.

  Args:
    avatar: any avatar of a head model with the axis.
    model: from `avatar3d.load_model`.
    amount: added to the axis; 1 makes a chibi of a person, -1 undoes that.

  Returns:
    The avatar with other Gaussians, another shape, and a camera that shows its
    head as large as before.

  Raises:
    UserError: if the head model has no such axis, or the amount is not in
      [-1.5, 1.5].
  """
  if not -1.5 <= amount <= 1.5:
    raise UserError(f"--chibi is {amount}, expected -1.5 to 1.5.")
  if AXIS not in model.head.shape_names:
    raise UserError(
      f"The head model {model.head.name!r} has no chibi axis; the procedural "
      "head has one."
    )
  face = avatar.face
  shape = np.array(face.shape, np.float32)
  shape[model.head.shape_names.index(AXIS)] += amount
  before = posed(model.head, face)
  after = posed(model.head, dataclasses.replace(face, shape=shape))
  warp = field(before, after, np.asarray(model.head.faces))
  lifted = avatar.gaussians.lifted
  means, stretch = warp(np.asarray(lifted.means[0], np.float64))
  moving = dict(avatar.gaussians.moving)
  moving["scales"] = _scaled(moving["scales"], warp.stretch)
  gaussians = avatar.gaussians.replace(
    lifted=dataclasses.replace(
      lifted,
      means=means[None].astype(np.float32),
      scales=_scaled(lifted.scales, stretch),
    ),
    moving=moving,
  )
  viewmat = reframe(face.viewmat, before, after)
  face = dataclasses.replace(face, shape=shape, viewmat=viewmat)
  return dataclasses.replace(avatar, gaussians=gaussians, face=face)


def posed(head: HeadModel, face: Face) -> Points:
  """The vertices of a face in the world."""
  given = (face.shape, face.expression, face.pose, face.eyes)
  found = head_model.vertices(head, *(np.asarray(x) for x in given), xp=np)
  return np.asarray(WORLD_SCALE * found, np.float64)


def reframe(
  viewmat: Float[np.ndarray, "4 4"], before: Points, after: Points
) -> Float[np.ndarray, "4 4"]:
  """A camera that shows a head as large and where it showed another one.

  Args:
    viewmat: of the head before.
    before: its vertices.
    after: those of the head to be shown.

  Returns:
    The camera, moved and not turned.
  """
  old, old_half = extent(before)
  new, new_half = extent(after)
  result = np.array(viewmat, np.float64)
  turn, shift = result[:3, :3], result[:3, 3]
  seen = turn @ old + shift
  result[:3, 3] = new_half / old_half * seen - turn @ new
  return result.astype(np.float32)


def extent(vertices: Points) -> tuple[Float[np.ndarray, "3"], float]:
  """The middle of a head and half the diagonal of its front view.

  Args:
    vertices: of the whole head model, the neck included.
  """
  # The neck's length says nothing about the head: what lies above the lowest
  # fifth is looked at.
  low, high = vertices[:, 1].min(), vertices[:, 1].max()
  kept = vertices[vertices[:, 1] > low + 0.2 * (high - low)]
  ends = np.stack([kept.min(0), kept.max(0)])
  return ends.mean(0), float(np.linalg.norm(ends[1, :2] - ends[0, :2]) / 2)


def _scaled(
  scales: Float[np.ndarray, "1 n 3"], stretch: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "1 n 3"]:
  return np.asarray(scales * jnp.asarray(stretch, jnp.float32)[None, :, None])
