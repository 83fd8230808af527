"""Which way each part of a face moves on its way to a chibi.

The movement is a velocity field (see `ops.warp`) that rides on the landmarks.
Two kinds of regions make it up: a base of five (head, lower face, chin, neck,
body), and one region for each feature (eyes, brows, nose, mouth). Features are
not set but fitted: their landmarks are given the velocities of the similarity
that the feature should undergo, and a small ridge regression finds the affine
fields that, together with the base, come closest. So a mouth keeps the shape of
its smile while the cheeks beside it are stretched and pressed.

Lengths here are in faces: the frame has its origin between the eyes, x along
the eyes, y down the face, and its unit is about the width of the face. Rates
are logarithmic: for a rate r, strength 1 scales by exp(r).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chibijax.ops.warp import Regions, window

Landmarks = Float[Array, "68 2"]
Scalar = Float[Array, ""]

JAW, CHIN = slice(0, 17), 8
BROWS = slice(17, 22), slice(22, 27)
NOSE = slice(29, 36)  # from the middle of its bridge down
EYES = slice(36, 42), slice(42, 48)
OUTER_MOUTH, MOUTH = slice(48, 60), slice(48, 68)
_PARTS = (*EYES, *BROWS, NOSE, MOUTH)
_MEMBERS = np.stack([np.isin(np.arange(68), np.r_[part]) for part in _PARTS])

# Eye line to chin over face width, of an average adult.
_DEPTH = 0.82
# Share of the face's width that an eye is led towards, and the growth it may
# have relative to the head: below the first nobody sees it, above the second
# the skin around it shows the stretch.
_EYE_WIDTH, _EYE_GROWTH = 0.30, (1.25, 1.8)
_RIDGE = 1e-3


class Rates(NamedTuple):
  """How strongly each part moves; log scale or lengths per unit of strength.

  Attributes:
    head: growth of the head, in both directions.
    drop: how far the chin comes down over the neck, in faces.
    lower: shortening of the lower face, relative to the head's growth.
    cheeks, chin: widening of the lower face, and of its lowest part.
    eyes: multiple of the growth that leads eyes to their share of the face.
    tall: growth of the eyes' height beyond that of their width.
    apart: how far the eyes move apart, each, in faces.
    brows: how far the brows rise, in faces.
    nose, mouth: growth, absolute (negative shrinks).
    nose_up, mouth_down: how far they move, in faces.
    neck, body: narrowing.
  """

  head: Scalar | float
  drop: Scalar | float
  lower: Scalar | float
  cheeks: Scalar | float
  chin: Scalar | float
  eyes: Scalar | float
  tall: Scalar | float
  apart: Scalar | float
  brows: Scalar | float
  nose: Scalar | float
  nose_up: Scalar | float
  mouth: Scalar | float
  mouth_down: Scalar | float
  neck: Scalar | float
  body: Scalar | float


class FaceFrame(NamedTuple):
  """Coordinates of one face.

  Attributes:
    origin: the point between the eyes, pixels.
    axes: rows are the unit vectors along the eyes and down the face.
    unit: pixels per face.
  """

  origin: Float[Array, "2"]
  axes: Float[Array, "2 2"]
  unit: Scalar

  @classmethod
  def of(cls, landmarks: Landmarks) -> "FaceFrame":
    """Reads the frame; its unit changes little as the head turns or nods."""
    left, right = (landmarks[eye].mean(0) for eye in EYES)
    # The mouth steadies the direction where one eye is badly found.
    along = (right - left) + 0.5 * (landmarks[54] - landmarks[48])
    along = along / jnp.linalg.norm(along)
    axes = jnp.stack([along, jnp.stack([-along[1], along[0]])])
    origin = 0.5 * (left + right)
    local = (landmarks - origin[None]) @ axes.T
    width = jnp.ptp(local[JAW, 0])
    depth = jnp.maximum(local[CHIN, 1], 0.5 * width)
    return cls(origin, axes, jnp.sqrt(width * depth / _DEPTH))

  def local(self, points: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
    """Pixels to faces."""
    return (points - self.origin[None]) @ self.axes.T / self.unit


class Local(NamedTuple):
  """Regions in face coordinates; the window's axes are the frame's."""

  center: Float[Array, "r 2"]
  radii: Float[Array, "r 2"]
  matrix: Float[Array, "r 2 2"]
  shift: Float[Array, "r 2"]

  def weights(self, points: Float[Array, "n 2"]) -> Float[Array, "n r"]:
    """Values of the windows."""
    axes = jnp.broadcast_to(jnp.eye(2), (*self.center.shape, 2))
    return window(
      points,
      Regions(self.center, axes, self.radii, self.matrix, self.shift),
    )

  def __call__(self, points: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
    """The field at points."""
    offset = points[:, None] - self.center[None]
    linear = jnp.einsum("rij,nrj->nri", self.matrix, offset)
    linear += self.shift[None]
    return (self.weights(points)[..., None] * linear).sum(1)


def skull(landmarks: Landmarks) -> Float[Array, "3 2"]:
  """Crown and temples in pixels, about where an average skull has them."""
  frame = FaceFrame.of(landmarks)
  x = frame.local(landmarks)[JAW, 0]
  sides = jnp.stack([(x.min() + x.max()) / 2, x.min(), x.max()])
  places = jnp.stack([sides, jnp.asarray([-0.9, -0.2, -0.2])], -1)
  return places * frame.unit @ frame.axes + frame.origin[None]


def eye_growth(landmarks: Landmarks) -> Scalar:
  """Rate at which the eyes grow beyond the head to reach their share of it."""
  local = FaceFrame.of(landmarks).local(landmarks)
  width = jnp.ptp(local[JAW, 0])
  eyes = 0.5 * sum(jnp.ptp(local[eye, 0]) for eye in EYES)
  return jnp.log(jnp.clip(_EYE_WIDTH * width / eyes, *_EYE_GROWTH))


def regions(
  landmarks: Landmarks, rates: Rates, start: Landmarks, growth: Scalar
) -> Regions:
  """Builds the field around landmarks on their way.

  Args:
    landmarks: where they are now, pixels.
    rates: what is to happen.
    start: where they were at first; sizes of base windows follow from it.
    growth: `eye_growth(start)`.

  Returns:
    The regions in picture coordinates, base first.
  """
  first = FaceFrame.of(start)
  frame = FaceFrame.of(landmarks)._replace(unit=first.unit)
  points = frame.local(landmarks)
  grown = jnp.ptp(points[JAW, 0]) / jnp.ptp(first.local(start)[JAW, 0])
  base = _base(points, rates, grown)
  local = _fit(points, base, _features(points, base, rates, growth))
  turn = frame.axes
  count = local.center.shape[0]
  return Regions(
    center=local.center @ turn * frame.unit + frame.origin[None],
    axes=jnp.broadcast_to(turn, (count, 2, 2)),
    radii=local.radii * frame.unit,
    matrix=jnp.einsum("ji,rjk,kl->ril", turn, local.matrix, turn),
    shift=local.shift @ turn * frame.unit,
  )


def _base(points: Landmarks, rates: Rates, grown: Scalar) -> Local:
  """Head, lower face, chin, neck and body."""
  middle = 0.5 * (points[JAW, 0].max() + points[JAW, 0].min())
  chin = points[CHIN]
  # Windows of the head grow with it, so that its outline stays inside.
  rows = [
    (-0.12 * grown, 0.95 * grown, 1.12 * grown, rates.head, rates.head),
    (0.55 * chin[1], 0.85 * grown, 0.55, rates.cheeks, -rates.lower),
    (0.88 * chin[1], 0.6 * grown, 0.3, rates.chin, 0.0),
    (chin[1] + 0.27, 0.5, 0.26, -rates.neck, 0.0),
    (chin[1] + 0.95, 1.5, 0.75, -rates.body, 0.0),
  ]
  y, rx, ry, across, down = _columns(*zip(*rows)).T
  matrix = jnp.stack([across, down], -1)[..., None] * jnp.eye(2)[None]
  field = Local(
    jnp.stack([jnp.broadcast_to(middle, y.shape), y], -1),
    jnp.stack([rx, ry], -1),
    matrix,
    jnp.zeros((len(rows), 2)),
  )
  # The head is shifted as a whole so that the chin drops as told.
  missing = rates.drop - field(chin[None])[0, 1]
  lift = missing / field.weights(chin[None])[0, 0]
  return field._replace(shift=field.shift.at[0, 1].set(lift))


class _Features(NamedTuple):
  center: Float[Array, "f 2"]
  radii: Float[Array, "f 2"]
  wanted: Landmarks


def _features(
  points: Landmarks, base: Local, rates: Rates, growth: Scalar
) -> _Features:
  """Windows of the features and the velocities their landmarks should have."""
  inside = _MEMBERS[..., None]
  low = jnp.where(inside, points[None], jnp.inf).min(1)
  high = jnp.where(inside, points[None], -jnp.inf).max(1)
  center, half = (low + high) / 2, (high - low)[:, 0] / 2
  # Two eyes, two brows, nose, mouth. A turned head's far eye is narrow, but its
  # lids are as tall; brows and nose are guarded from each other by fixed sizes.
  eyes, brows = jnp.maximum(half[:2], 0.06), half[2:4]
  fixed = jnp.asarray([0.13, 0.13, 0.16, 0.16], jnp.float32)
  mouth = half[5:]
  radii = jnp.stack(
    [
      jnp.concatenate(
        [1.8 * eyes, 1.5 * brows + 0.02, fixed[2:3], 1.7 * mouth]
      ),
      jnp.concatenate([1.7 * eyes, fixed[:3], jnp.maximum(mouth, 0.12)]),
    ],
    -1,
  )
  eye, brow = rates.head + growth * rates.eyes, 0.5 * rates.head
  rise, sink = -rates.brows, rates.mouth_down
  rate = _columns(
    [eye, eye, rates.head, rates.head, rates.nose, rates.mouth],
    [eye + rates.tall, eye + rates.tall, brow, brow, rates.nose, rates.mouth],
  )
  extra = _columns(
    [-rates.apart, rates.apart, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, rise, rise, -rates.nose_up, sink],
  )
  # Below the eyes, features keep their share of the way to the chin.
  ends = jnp.stack([base.center[0].at[1].set(0), points[CHIN]])
  eye_line, chin_line = base(ends)[:, 1]
  share = center[:, 1] / points[CHIN, 1]
  speed = base(center)
  level = eye_line + (chin_line - eye_line) * share
  speed = speed.at[:, 1].set(jnp.where(share > 0, level, speed[:, 1]))
  speed += extra
  each = speed[:, None] + (points[None] - center[:, None]) * rate[:, None]
  free = ~_MEMBERS.any(0)
  wanted = jnp.where(inside, each, 0).sum(0) + free[:, None] * base(points)
  return _Features(center, radii, wanted)


def _columns(*columns: Sequence[Scalar | float]) -> Float[Array, "n k"]:
  return jnp.stack(
    [jnp.stack([jnp.asarray(v, jnp.float32) for v in c]) for c in columns], -1
  )


def _fit(points: Landmarks, base: Local, features: _Features) -> Local:
  """Fits the features' fields and joins them to the base."""
  count = features.center.shape[0]
  blank = Local(
    features.center,
    features.radii,
    jnp.zeros((count, 2, 2)),
    jnp.zeros((count, 2)),
  )
  weight = blank.weights(points)[..., None]
  offset = points[:, None] - features.center[None]
  offset /= features.radii[None]
  design = jnp.concatenate([weight, weight * offset], -1).reshape(68, -1)
  normal = design.T @ design + _RIDGE * jnp.eye(3 * count)
  factor = jax.scipy.linalg.cho_factor(normal)
  missing = design.T @ (features.wanted - base(points))
  found = jax.scipy.linalg.cho_solve(factor, missing).reshape(count, 3, 2)
  matrix = jnp.swapaxes(found[:, 1:], 1, 2) / features.radii[:, None]
  fitted = blank._replace(shift=found[:, 0], matrix=matrix)
  return Local(*(jnp.concatenate(pair) for pair in zip(base, fitted)))
