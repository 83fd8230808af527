"""Finding the faces of a photo, whatever detector does the looking.

`make` gives a detector; `find` searches a photo with it and does not give up at
once: when nothing sure is found, it looks again at the photo turned, with room
around it, and in parts. What is found is cleaned of doubles and of doubtful
extras.
"""

import dataclasses
import os
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Float, UInt8

from chibijax.errors import UserError
from chibijax.faces import mtcnn_weights
from chibijax.faces.blazeface import BlazeFaceDetector
from chibijax.faces.detection import Detection, Detector, iou
from chibijax.faces.haar import HaarDetector
from chibijax.faces.mtcnn import MtcnnDetector
from chibijax.faces.yunet import YunetDetector

KINDS = ("auto", "mtcnn", "haar", "yunet", "blazeface")

# A face this sure ends the search: what detectors see in faces that lie on
# their side or stand on their head is less sure.
UPRIGHT = 0.995
# The photo is taken to be turned when that halves the doubt, 1 - score.
DOUBT = 0.5
# A face tilted by more degrees than this may have been seen in one that lies on
# its side: as to whether the photo is turned, it counts for SECOND_LOOK.
TILT = 30.0
# What a second look (turned, with room, in parts) must reach to count: there
# are many second looks, so each may err less often.
SECOND_LOOK = 0.97
# Beside a surer face, one less sure than this does not count...
EXTRA_SCORE = 0.95
# ... nor one with less than this share of the largest face's side.
EXTRA_SIZE = 0.2
# Boxes that share more than this of the smaller one are the same face.
SAME = 0.5
# Faces below this share of the longer side suggest a group, whose other faces
# may be too small to be found without a closer look.
GROUP = 0.13
# Room added around a photo on every side, in units of its sides.
ROOM = 0.35
# A part's share of the photo, and the least side of a part in pixels.
PARTS = (0.5, 0.25)
LEAST_PART = 256


def make(
  kind: str = "auto", path: str | os.PathLike[str] | None = None
) -> Detector:
  """Makes a detector.

  Args:
    kind: "mtcnn", "haar", "yunet", "blazeface", or "auto": MTCNN where its
      weights are installed, else the Haar cascade.
    path: the weights: a folder for MTCNN, an ONNX file for YuNet, PyTorch's for
      BlazeFace.

  Returns:
    The detector, with its weights loaded.

  Raises:
    UserError: if the kind is unknown, or its weights or packages are missing.
  """
  if kind == "auto":
    kind = "mtcnn" if mtcnn_weights.folder(path) else "haar"
  if kind == "mtcnn":
    return MtcnnDetector(jax.device_put(mtcnn_weights.load(path)))
  if kind == "haar":
    return HaarDetector()
  if kind == "yunet":
    return YunetDetector(path)
  if kind == "blazeface":
    return BlazeFaceDetector(path)
  raise UserError(
    f"--detector is {kind!r}, expected one of {', '.join(KINDS)}."
  )


def find(
  photo: UInt8[np.ndarray, "h w 3"], detector: Detector
) -> list[Detection]:
  """Finds all faces of a photo, the largest first.

  Args:
    photo: uint8 sRGB of any size.
    detector: what looks.

  Returns:
    One detection for each face; empty when there is none.
  """
  best = clean(detector(photo))
  if _upright(best) < UPRIGHT:
    turned, score = _turned(photo, detector)
    if score > max(SECOND_LOOK, 1 - DOUBT * (1 - _upright(best))):
      best = turned
  if _surest(best) < SECOND_LOOK:
    for again in _other_looks(photo, detector):
      if _surest(again) >= SECOND_LOOK:
        best = [d for d in again if d.score >= SECOND_LOOK]
        break
  side = max(photo.shape[:2])
  if best and best[0].side < GROUP * side and side > 2 * LEAST_PART:
    closer = [
      d for d in in_parts(photo, detector, PARTS[0]) if d.score >= SECOND_LOOK
    ]
    best = clean([*best, *closer])
  return best


def clean(detections: list[Detection]) -> list[Detection]:
  """Takes doubles and doubtful extras away.

  Args:
    detections: in any order.

  Returns:
    One detection for each face, the largest of the sure ones first.
  """
  kept: list[Detection] = []
  for one in sorted(detections, key=lambda d: -d.score):
    boxes = np.array([d.box for d in kept]).reshape(-1, 4)
    if not np.any(iou(one.box, boxes, smaller=True) > SAME):
      kept.append(one)
  if not kept:
    return []
  sure = [d for d in kept if d.score >= EXTRA_SCORE] or kept[:1]
  least = EXTRA_SIZE * max(d.side for d in sure)
  return sorted((d for d in sure if d.side >= least), key=lambda d: -d.side)


def turn(
  detection: Detection, quarters: int, shape: tuple[int, int]
) -> Detection:
  """Takes a detection from a turned photo back to the photo.

  Args:
    detection: found in `np.rot90(photo, quarters)`.
    quarters: quarter turns against the clock.
    shape: height and width of the photo.

  Returns:
    The same face in the photo. "Left" and "right" stay those of the upright
    face.
  """
  height, width = shape

  def back(points: np.ndarray) -> np.ndarray:
    x, y = points[..., 0], points[..., 1]
    turned = {
      0: (x, y),
      1: (width - y, x),
      2: (width - x, height - y),
      3: (y, height - x),
    }[quarters % 4]
    return np.stack(turned, -1).astype(np.float32)

  corners = back(detection.box.reshape(2, 2))
  box = np.concatenate([corners.min(0), corners.max(0)])
  points = None if detection.points is None else back(detection.points)
  return dataclasses.replace(detection, box=box, points=points)


def in_parts(
  photo: UInt8[np.ndarray, "h w 3"], detector: Detector, share: float
) -> list[Detection]:
  """Searches overlapping square parts of a photo, for small faces.

  Args:
    photo: uint8 sRGB.
    detector: what looks.
    share: side of a part in units of the photo's longer side.

  Returns:
    What was found in all parts, doubles included; nothing that a part's border
    may have cut.
  """
  height, width = photo.shape[:2]
  side = max(round(max(height, width) * share), LEAST_PART)
  found = []
  # Neighbours share 40 %, so that a face of that size is whole in one of them.
  for y in _starts(height, side):
    for x in _starts(width, side):
      part = photo[y : y + side, x : x + side]
      for one in detector(np.ascontiguousarray(part)):
        moved = shift(one, x, y)
        if not _cut_by(moved.box, (x, y), part.shape[:2], (height, width)):
          found.append(moved)
  return found


def shift(detection: Detection, x: int, y: int) -> Detection:
  """Moves a detection by (x, y) pixels."""
  step = np.array([x, y], np.float32)
  points = detection.points
  return dataclasses.replace(
    detection,
    box=detection.box + np.tile(step, 2),
    points=None if points is None else points + step[None],
  )


def _turned(
  photo: np.ndarray, detector: Detector
) -> tuple[list[Detection], float]:
  """The surest of what is found in the photo turned in three ways.

  Upside down comes from scanners, a quarter turn from lost EXIF data.

  Returns:
    The detections, in the photo as it is, and how sure it is that the photo
    must be turned that way.
  """
  looks = []
  for quarters in (1, 2, 3):
    found = clean(detector(np.ascontiguousarray(np.rot90(photo, quarters))))
    back = [turn(d, quarters, photo.shape[:2]) for d in found]
    looks.append((back, _upright(found)))
  return max(looks, key=lambda look: look[1])


def _other_looks(
  photo: np.ndarray, detector: Detector
) -> Iterator[list[Detection]]:
  """What is found with room around the photo, then in parts of it."""
  shape = photo.shape[:2]
  room = [round(ROOM * n) for n in shape]
  padded = np.pad(photo, (*((n, n) for n in room), (0, 0)), mode="edge")
  yield clean([shift(d, -room[1], -room[0]) for d in detector(padded)])
  for share in PARTS:
    if max(shape) * share >= LEAST_PART:
      yield clean(in_parts(photo, detector, share))


def _starts(length: int, side: int) -> list[int]:
  """Where parts of a length begin so that neighbours share 40 % or more."""
  if length <= side:
    return [0]
  count = int(np.ceil((length - side) / (0.6 * side))) + 1
  return np.linspace(0, length - side, count).round().astype(int).tolist()


def _cut_by(
  box: Float[np.ndarray, "4"],
  corner: tuple[int, int],
  part: tuple[int, int],
  whole: tuple[int, int],
) -> bool:
  """Whether a box reaches over a part's border that is not the photo's."""
  x, y = corner
  height, width = part
  return bool(
    (x > 0 and box[0] < x)
    or (y > 0 and box[1] < y)
    or (x + width < whole[1] and box[2] > x + width)
    or (y + height < whole[0] and box[3] > y + height)
  )


def _surest(detections: list[Detection]) -> float:
  """The best score, 0 when there is nothing."""
  return max((d.score for d in detections), default=0.0)


def _upright(detections: list[Detection]) -> float:
  """How sure it is that some face stands upright: the best score."""
  scores = [0.0]
  for one in detections:
    x, y = (0, 0) if one.points is None else one.points[1] - one.points[0]
    tilted = abs(np.degrees(np.arctan2(y, x))) > TILT
    scores.append(min(one.score, SECOND_LOOK) if tilted else one.score)
  return max(scores)
