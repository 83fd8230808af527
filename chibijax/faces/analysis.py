"""From a photo to one `Face` per face: detect, align, judge.

The networks for the 68 landmarks and for the masks are other modules
(`faces.landmarks`, `faces.segment`, `faces.face_mesh`); they come in as
functions of the aligned picture, so that this module depends on none. Each gets
the canonical frame that it was made for: its attributes `size` and `margin`,
where it has them, come before those of the call.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from chibijax.faces import align, detect, status
from chibijax.faces.detection import Detection, Detector
from chibijax.faces.face import Face
from chibijax.ops import affine

Picture: TypeAlias = UInt8[np.ndarray, "s s 3"]
# The aligned picture -> 68 points in its pixels.
Landmarks: TypeAlias = Callable[[Picture], Float32[np.ndarray, "68 2"]]
# The aligned picture -> "hair", "skin"... as shares 0..1 of its pixels.
Segment: TypeAlias = Callable[[Picture], dict[str, Float32[np.ndarray, "s s"]]]

# How often a landmark network looks: each time it sees the face aligned by what
# it found before.
LOOKS = 1
# Where MTCNN puts the five points in the Haar cascade's box, on average over
# the photos of benchmarks/faces.py, in units of the box.
HAAR_POINTS = np.array(
  [[0.31, 0.39], [0.69, 0.39], [0.5, 0.61], [0.32, 0.78], [0.69, 0.78]]
)


def analyse(
  photo: UInt8[np.ndarray, "h w 3"],
  detector: Detector,
  *,
  landmarks: Landmarks | None = None,
  segment: Segment | None = None,
  size: int = 256,
  margin: float = 0.0,
  limit: int | None = None,
) -> list[Face]:
  """Finds every face of a photo and says whether it can be used.

  Args:
    photo: uint8 sRGB of any size.
    detector: see `chibijax.faces.detect.make`.
    landmarks: finds 68 points in an aligned picture of side `size`.
    segment: finds masks in an aligned picture of side `size`.
    size: side of the canonical frame in pixels.
    margin: of the canonical frame, see `chibijax.faces.align`.
    limit: the most faces returned, the largest ones.

  Returns:
    One record for each face, the largest first; `[Face.none()]` when there is
    none.
  """
  found = detect.find(photo, detector)[:limit]
  faces = [
    describe(photo, one, landmarks, segment, size=size, margin=margin)
    for one in found
  ]
  return faces or [Face.none(size)]


def describe(
  photo: UInt8[np.ndarray, "h w 3"],
  detection: Detection,
  landmarks: Landmarks | None = None,
  segment: Segment | None = None,
  *,
  size: int = 256,
  margin: float = 0.0,
) -> Face:
  """Makes the record of one detected face.

  Args:
    photo: uint8 sRGB.
    detection: where the face is.
    landmarks: as for `analyse`.
    segment: as for `analyse`.
    size: as for `analyse`.
    margin: as for `analyse`.

  Returns:
    The record, its status included.
  """
  points = box_points(detection.box)
  if detection.points is not None:
    points = detection.points
  transform = align.find_transform(points, size, margin)
  all_points = None
  if landmarks is not None:
    all_points = points
    for _ in range(LOOKS):
      all_points = find_landmarks(photo, all_points, landmarks, size, margin)
    transform = align.find_transform(all_points, size, margin)
    if detection.points is None:
      points = align.five_points(all_points).astype(np.float32)
  framed = points if all_points is None else all_points
  inverse = align.invert(transform)
  measured = detection.points is not None or all_points is not None
  angles = status.pose(points) if measured else (0.0, 0.0, 0.0)
  sharp = status.sharpness(photo, transform, size, margin)
  # The frame's scale tells the size of a turned face better than its eyes,
  # which come close to each other.
  scale = float(np.sqrt(np.linalg.det(inverse[:, :2])))
  eyes = align.canonical_points(size, margin)[:2, 0]
  word = status.judge(
    eye_distance=scale * float(eyes[1] - eyes[0]),
    outside=status.outside(photo.shape[:2], inverse, size, margin),
    yaw=angles[0],
    sharpness=sharp,
  )
  return Face(
    status=word,
    box=detection.box,
    score=detection.score,
    points=points if measured else None,
    landmarks=all_points,
    transform=transform,
    inverse=inverse,
    pose=angles,
    sharpness=sharp,
    mask=None
    if segment is None
    else find_masks(photo, framed, segment, size, margin),
    size=size,
  )


def box_points(
  box: Float32[np.ndarray, "4"],
) -> Float32[np.ndarray, "5 2"]:
  """Where the five points of a face lie on average, given the Haar box.

  Args:
    box: left, top, right, bottom.

  Returns:
    The points in pixels, for an upright frontal face.
  """
  points = box[:2] + HAAR_POINTS * (box[2:] - box[:2])
  return points.astype(np.float32)


def find_landmarks(
  photo: UInt8[np.ndarray, "h w 3"],
  points: Float32[np.ndarray, "n 2"],
  landmarks: Landmarks,
  size: int = 256,
  margin: float = 0.0,
) -> Float32[np.ndarray, "68 2"]:
  """Finds 68 points in a photo, given where the face is.

  Args:
    photo: uint8 sRGB.
    points: five or 68 points of the face.
    landmarks: as for `analyse`.
    size: side of its frame, where it does not say.
    margin: of its frame, where it does not say.

  Returns:
    The points in pixels of the photo.
  """
  size, margin = _frame(landmarks, size, margin)
  transform = align.find_transform(points, size, margin)
  found = landmarks(align.warp(photo, transform, (size, size)))
  return align.move(align.invert(transform), found)


def find_masks(
  photo: UInt8[np.ndarray, "h w 3"],
  points: Float32[np.ndarray, "n 2"],
  segment: Segment,
  size: int = 256,
  margin: float = 0.0,
) -> dict[str, Bool[np.ndarray, "h w"]]:
  """Finds masks in a photo, given where the face is.

  Args:
    photo: uint8 sRGB.
    points: five or 68 points of the face.
    segment: as for `analyse`.
    size: side of its frame, where it does not say.
    margin: of its frame, where it does not say.

  Returns:
    Where each share is above a half, for the whole photo; outside the frame
    everything is background, where there is such a mask, and nothing else.
  """
  size, margin = _frame(segment, size, margin)
  transform = align.find_transform(points, size, margin)
  shares = segment(align.warp(photo, transform, (size, size)))
  place = affine.window(transform, (size, size), photo.shape[:2])
  corner = place[1].start, place[0].start
  shape = place[0].stop - corner[1], place[1].stop - corner[0]
  back = affine.moved(align.invert(transform), *corner)
  covered = affine.covered(transform, corner, shape, (size, size)) > 0.5
  masks = {}
  for name, share in shares.items():
    outside = name == "background"
    mask = np.full(photo.shape[:2], outside)
    if covered.size:
      grey = np.uint8(np.round(np.clip(share, 0, 1) * 255))
      inside = affine.warp(grey, back, shape) > 127
      mask[place] = np.where(covered, inside, outside)
    masks[name] = mask
  return masks


def _frame(
  network: Landmarks | Segment, size: int, margin: float
) -> tuple[int, float]:
  """Size and margin of the frame that a network was made for."""
  return getattr(network, "size", size), getattr(network, "margin", margin)
