"""One found face, and what a detector is."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, UInt8


@dataclasses.dataclass(frozen=True, eq=False)
class Detection:
  """A place in a photo that looks like a face.

  Attributes:
    box: left, top, right, bottom in pixels; it may leave the photo.
    score: confidence, 0..1; only comparable within one detector.
    points: left eye, right eye, nose, left and right corner of the mouth (the
      viewer's left, of the upright face), or None.
  """

  box: Float32[np.ndarray, "4"]
  score: float
  points: Float32[np.ndarray, "5 2"] | None = None

  @property
  def side(self) -> float:
    """Square root of the box's area, pixels."""
    width, height = self.box[2:] - self.box[:2]
    return float(np.sqrt(max(width * height, 0.0)))


@runtime_checkable
class Detector(Protocol):
  """Finds upright faces in one photo."""

  def __call__(self, photo: UInt8[np.ndarray, "h w 3"]) -> list[Detection]:
    """Finds the faces of a photo.

    Args:
      photo: uint8 sRGB.

    Returns:
      The faces, the surest first; an empty list when there are none.
    """


def iou(
  boxes: Float[np.ndarray, "*a 4"],
  others: Float[np.ndarray, "*b 4"],
  *,
  smaller: bool = False,
) -> Float[np.ndarray, "*c"]:
  """Intersection of boxes over their union; the shapes are broadcast.

  Args:
    boxes: left, top, right, bottom.
    others: the boxes they are compared with.
    smaller: divide by the smaller of two boxes in place of their union.

  Returns:
    Values in [0, 1]; 0 for empty boxes.
  """
  low = np.maximum(boxes[..., :2], others[..., :2])
  high = np.minimum(boxes[..., 2:], others[..., 2:])
  shared = _area(low, high)
  first = _area(boxes[..., :2], boxes[..., 2:])
  second = _area(others[..., :2], others[..., 2:])
  whole = np.minimum(first, second) if smaller else first + second - shared
  return shared / np.maximum(whole, 1e-9)


def _area(
  low: Float[np.ndarray, "*a 2"], high: Float[np.ndarray, "*a 2"]
) -> np.ndarray | np.floating:
  """Areas of boxes; 0 where a corner is on the wrong side."""
  extent = np.maximum(high - low, 0)
  return extent[..., 0] * extent[..., 1]
