"""Tracking: the parameters of a head in a photo or a video, from landmarks.

A person's shape is fitted to several frames at once (`heads.fit`); then each
frame is fitted with that shape, beginning at the one before; then everything is
smoothed over time (`heads.smoothing`), the head's place most, jaw and eyes
least. Landmarks say nothing about where eyes look: without irises, gaze is 0.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32
from scipy.spatial import transform

from chibijax.errors import NoFaceError
from chibijax.heads import fit, gaze, marks, smoothing
from chibijax.heads.model import HeadModel
from chibijax.heads.motion import FOCAL, Motion, intrinsics

# Frames that the shape is fitted to, and steps of that.
_SHAPED, _SHAPE_STEPS = 8, 25
# Steps for each frame, and frames of a compiled call.
_STEPS, _CHUNK = 5, 32
# Seconds over which is averaged: the head's place, expressions, jaw and gaze.
_PLACE_TIME, _EXPRESSION_TIME, _JAW_TIME, _GAZE_TIME = 0.08, 0.05, 0.04, 0.03
# Gaps of so many seconds are bridged.
_GAP = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
  """A tracked head in n frames.

  Attributes:
    shape: all of the model's coefficients; those not fitted are 0.
    expression: the same.
    pose: axis-angle of the whole head, 0, since the camera carries it, and of
      the jaw.
    eyes: axis-angle of the left and of the right eye.
    viewmats: world to camera, OpenCV axes; the world is the head's frame times
      `WORLD_SCALE`.
    seen: whether the frame showed the face; the others are filled in.
    error: mean distance in pixels between the landmarks but those of the jaw
      and where the fitted, not yet smoothed head has them; NaN where unseen.
  """

  shape: Float32[np.ndarray, " S"]
  expression: Float32[np.ndarray, "n E"]
  pose: Float32[np.ndarray, "n 6"]
  eyes: Float32[np.ndarray, "n 6"]
  viewmats: Float32[np.ndarray, "n 4 4"]
  seen: Bool[np.ndarray, " n"]
  error: Float[np.ndarray, " n"]

  def motion(self, fps: float, head: str) -> Motion:
    """What `motion.write_motion` writes."""
    return Motion(
      expression=self.expression,
      pose=self.pose,
      eyes=self.eyes,
      viewmats=self.viewmats,
      fps=fps,
      head=head,
      valid=self.seen,
    )


@functools.lru_cache(maxsize=4)
def _prepared(key: "_Same") -> marks.Marks:
  return marks.prepare(key.model)


@dataclasses.dataclass(frozen=True, eq=False)
class _Same:
  """A model as a key: the same object, and no other."""

  model: HeadModel

  def __eq__(self, other: object) -> bool:
    return isinstance(other, _Same) and self.model is other.model

  def __hash__(self) -> int:
    return id(self.model)


def track(
  model: HeadModel,
  landmarks: Float[np.ndarray, "n 68 2"],
  size: int,
  *,
  K: Float[np.ndarray, "3 3"] | None = None,
  seen: Bool[np.ndarray, " n"] | None = None,
  fps: float = 25.0,
  smooth: bool = True,
  irises: Float[np.ndarray, "n 2 2"] | None = None,
) -> Track:
  """Tracks a head over frames of one clip; one frame is a photo.

  Args:
    model: any head.
    landmarks: in iBUG's order, pixels of square pictures.
    size: side of the pictures.
    K: intrinsics with one focal length; None: 12 half-pictures.
    seen: frames whose landmarks count; None: all that are finite.
    fps: frames per second.
    smooth: whether to smooth over time.
    irises: middles of the irises of the subject's left and right eye, NaN where
      hidden; None: eyes look straight ahead.

  Raises:
    NoFaceError: if no frame shows a face.
  """
  n = len(landmarks)
  finite = np.isfinite(landmarks).all((1, 2))
  seen = finite if seen is None else finite & seen
  if not seen.any():
    frames = "the photo" if n == 1 else f"any of the {n} frames"
    raise NoFaceError(f"no face was found in {frames}.")
  matrix = intrinsics(size) if K is None else K
  half = size / 2
  focal = float(matrix[0, 0]) / half
  middle = matrix[:2, 2]
  points = (np.where(seen[:, None, None], landmarks, 0) - middle) / half
  points = np.where(seen[:, None, None], points, 0).astype(np.float32)
  head = _prepared(_Same(model))
  first = _common_shape(head, points, seen, focal)
  fitted, off = _follow(head, first, points, seen, focal)
  eyes = np.zeros((n, 6), np.float32)
  if irises is not None:
    eyes = gaze.from_irises(model, fitted, (irises - middle) / half, focal)
  if smooth and n > 1:
    fitted, eyes = _smoothed(fitted, eyes, seen, fps)
  return _track(model, fitted, eyes, seen, off * half, focal)


def crop(
  model: HeadModel,
  landmarks: Float[np.ndarray, "n 68 2"],
  seen: Bool[np.ndarray, " n"],
  *,
  fps: float = 25.0,
  distance: float = 9.3,
) -> Float32[np.ndarray, "n 2 3"]:
  """Squares around a head that follow it, without turning.

  The head's origin is in the middle, and the camera of focal length `FOCAL` at
  the same distance from all frames, as in the published data.

  Args:
    model: any head.
    landmarks: pixels of the whole frames; those of unseen ones do not count.
    seen: at least one frame.
    fps: frames per second.
    distance: of the camera, in the world.

  Returns:
    Maps from pixels of the frames to units of the square's side, [0, 1].
  """
  head = _prepared(_Same(model))
  given = np.where(seen[:, None, None], landmarks, 0).astype(np.float64)
  scale = np.maximum(np.ptp(given[:, 17:], axis=1).max(-1), 1e-6)
  middle = given[:, 17:].mean(1)
  ready = (given - middle[:, None]) / scale[:, None, None]
  parts = _chunks(ready.astype(np.float32), seen)
  place = np.concatenate([_poses(head, *part)[1] for part in parts])
  place = place[: len(seen)]
  origin = place[:, :2] * scale[:, None] + middle
  # Pixels of a unit of the world: focal length over depth, from afar.
  zoom = np.log(FOCAL * np.exp(-place[:, 2]) * scale)
  track = np.concatenate([origin / scale[:, None], zoom[:, None]], 1)
  typical = np.median(scale[seen])
  track[:, :2] = origin / typical
  times = np.full(3, 4 * _PLACE_TIME)
  track = smoothing.smooth(track, seen, times, fps=fps, limit=round(_GAP * fps))
  half = distance * np.exp(track[:, 2]) / FOCAL
  result = np.zeros((len(seen), 2, 3))
  result[:, 0, 0] = result[:, 1, 1] = 1 / (2 * half)
  result[:, :, 2] = 0.5 - track[:, :2] * typical / (2 * half[:, None])
  return result.astype(np.float32)


@jax.jit
def _poses(
  head: marks.Marks, seen: Array, weights: Array
) -> tuple[Array, Array]:
  """Rotations and places of the mean head, as if seen from afar."""
  shape = jnp.zeros_like(head.shape_sigma)
  found = fit.start(head, seen, weights, FOCAL, shape)
  return found.rotation, found.place


@jax.jit
def _fit_shape(
  head: marks.Marks, seen: Array, weights: Array, focal: Array
) -> marks.Fit:
  """Frames of one person from nothing; the first of them, and the shape."""
  first = fit.start(
    head, seen, weights, focal, jnp.zeros_like(head.shape_sigma)
  )
  found, _ = fit.solve(head, first, seen, weights, focal, steps=_SHAPE_STEPS)
  return marks.Fit(*(x[:1] for x in fit.of_frames(found)), found.shape)


def _chunks(
  points: np.ndarray, seen: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Landmarks and weights in parts of `_CHUNK` frames, the last one filled."""
  parts = []
  for first in range(0, len(seen), _CHUNK):
    part = np.zeros((_CHUNK, 68, 2), np.float32)
    weights = np.zeros((_CHUNK, 68), np.float32)
    count = len(seen[first : first + _CHUNK])
    part[:count] = points[first : first + _CHUNK]
    weights[:count] = seen[first : first + _CHUNK, None]
    parts.append((part, weights))
  return parts


def _common_shape(
  head: marks.Marks, points: np.ndarray, seen: np.ndarray, focal: float
) -> marks.Fit:
  """The shape of a clip, from frames that look to different sides.

  With it come the other parameters of the first of these frames.
  """
  parts = _chunks(points, seen)
  yaws = np.concatenate([_poses(head, *part)[0][:, 0, 2] for part in parts])
  order = np.flatnonzero(seen)
  order = order[np.argsort(yaws[order], kind="stable")]
  rows = np.linspace(0, len(order) - 1, min(_SHAPED, len(order)))
  chosen = np.sort(order[np.round(rows).astype(int)])
  part = np.zeros((_SHAPED, 68, 2), np.float32)
  weights = np.zeros((_SHAPED, 68), np.float32)
  part[: len(chosen)], weights[: len(chosen)] = points[chosen], 1
  return _fit_shape(head, part, weights, np.float32(focal))


@jax.jit
def _follow_chunk(
  head: marks.Marks,
  last: marks.Fit,
  points: Array,
  weights: Array,
  focal: Array,
) -> tuple[marks.Fit, marks.Fit, Array]:
  """Fits frame after frame; `last` is the fit of the frame before."""

  def body(
    last: marks.Fit, given: tuple[Array, Array]
  ) -> tuple[marks.Fit, tuple[tuple[Array, ...], Array]]:
    seen, weights = given[0][None], given[1][None]
    anew = fit.start(head, seen, weights, focal, last.shape)
    ready = fit.weigh(weights)

    def cost(at: marks.Fit) -> Array:
      return fit.cost(head, at, seen, ready, focal, fit.WIDE)[0]

    # After a cut, the frame before is of no use.
    better = cost(anew) < cost(last)
    first = jax.tree.map(lambda a, b: jnp.where(better, a, b), anew, last)
    found, _ = fit.solve(
      head, first, seen, weights, focal, steps=_STEPS, shaped=False,
      wide=2 * fit.NARROW,
    )  # fmt: skip
    there = weights.sum() > 0
    found = jax.tree.map(lambda a, b: jnp.where(there, a, b), found, last)
    off = marks.points(head, found, focal)[0, 17:] - given[0][17:]
    error = jnp.sqrt((off * off).sum(-1)).mean()
    return found, (tuple(x[0] for x in fit.of_frames(found)), error)

  last, (frames, error) = jax.lax.scan(body, last, (points, weights))
  return last, marks.Fit(*frames, last.shape), error


def _follow(
  head: marks.Marks,
  last: marks.Fit,
  points: np.ndarray,
  seen: np.ndarray,
  focal: float,
) -> tuple[marks.Fit, np.ndarray]:
  """Fits all frames with the shape of `last`; NumPy arrays, and errors."""
  length = np.float32(focal)
  found, errors = [], []
  for part, weights in _chunks(points, seen):
    last, frames, error = _follow_chunk(head, last, part, weights, length)
    found.append(frames)
    errors.append(np.asarray(error))
  n = len(seen)
  stacked = [
    np.concatenate([np.asarray(getattr(x, name)) for x in found])[:n]
    for name in ("rotation", "place", "jaw", "expression")
  ]
  error = np.where(seen, np.concatenate(errors)[:n], np.nan)
  return marks.Fit(*stacked, np.asarray(last.shape)), error


def _smoothed(
  fitted: marks.Fit, eyes: np.ndarray, seen: np.ndarray, fps: float
) -> tuple[marks.Fit, np.ndarray]:
  """Smooths all parameters; turns as vectors from the mean turn."""
  turns = transform.Rotation.from_matrix(fitted.rotation)
  middle = turns[np.flatnonzero(seen)].mean()
  parts = [
    ((middle.inv() * turns).as_rotvec(), _PLACE_TIME),
    (fitted.place, _PLACE_TIME),
    (fitted.jaw, _JAW_TIME),
    (fitted.expression, _EXPRESSION_TIME),
    (eyes, _GAZE_TIME),
  ]
  sizes = [x.shape[1] for x, _ in parts]
  values = smoothing.smooth(
    np.concatenate([x for x, _ in parts], 1),
    seen,
    np.repeat([time for _, time in parts], sizes),
    fps=fps,
    limit=round(_GAP * fps),
  )
  turn, place, jaw, expression, eyes = np.split(
    values, np.cumsum(sizes)[:-1], axis=1
  )
  rotation = (middle * transform.Rotation.from_rotvec(turn)).as_matrix()
  return (
    marks.Fit(rotation, place, jaw, expression, fitted.shape),
    eyes.astype(np.float32),
  )


def _track(
  model: HeadModel,
  fitted: marks.Fit,
  eyes: np.ndarray,
  seen: np.ndarray,
  error: np.ndarray,
  focal: float,
) -> Track:
  """Fills up what was not fitted with 0, and makes view matrices."""
  n = len(seen)
  shape = np.zeros(len(model.shape_names), np.float32)
  shape[: len(fitted.shape)] = fitted.shape
  expression = np.zeros((n, len(model.expression_names)), np.float32)
  expression[:, : fitted.expression.shape[1]] = fitted.expression
  pose = np.concatenate([np.zeros((n, 3)), fitted.jaw], 1)
  depth = np.exp(fitted.place[:, 2:])
  viewmats = np.tile(np.eye(4), (n, 1, 1))
  viewmats[:, :3, :3] = fitted.rotation
  viewmats[:, :3, 3] = np.concatenate(
    [fitted.place[:, :2] * depth / focal, depth], 1
  )
  return Track(
    shape=shape,
    expression=expression,
    pose=pose.astype(np.float32),
    eyes=eyes,
    viewmats=viewmats.astype(np.float32),
    seen=seen,
    error=error,
  )
