"""Proportions of a face and the ranges that make it look like a chibi.

All are ratios of lengths read off the 68 landmarks, so they do not depend on
the size of the picture nor on the tilt of the head. A face is as high as the
way from the middle of the brows to the chin, and as wide as the jaw line.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

Landmarks = Float[np.ndarray, "68 2"]

# The ratios, and what they are.
RATIOS = {
  "eye_height": "height of an open eye / height of the face",
  "eye_width": "width of an eye / width of the face",
  "face_width": "width of the face / height of the face",
  "lower_face": "eye line to chin / width of the face",
  "nose_width": "width of the nose / width of the face",
  "mouth_width": "width of the mouth / width of the face",
}

# Closed range of each ratio by style. "drawn" is the artist: percentiles 5 to
# 95 of `draw_chibi` for 400 sampled characters (eyes: of those above 0.2, which
# are open). "photo" is what a photo's own pixels can be stretched to before
# skin and hair look stretched; the middle of real faces stands beside it.
TARGETS: dict[str, dict[str, tuple[float, float]]] = {
  "photo": {
    "eye_height": (0.08, 0.20),  # 0.05
    "eye_width": (0.24, 0.34),  # 0.19
    "face_width": (1.15, 1.70),  # 1.02
    "lower_face": (0.40, 0.68),  # 0.84
    "nose_width": (0.05, 0.15),  # 0.21
    "mouth_width": (0.10, 0.40),  # 0.44
  },
  "drawn": {
    "eye_height": (0.23, 0.47),
    "eye_width": (0.26, 0.33),
    "face_width": (1.50, 1.77),
    "lower_face": (0.285, 0.41),
    "nose_width": (0.046, 0.066),
    "mouth_width": (0.04, 0.24),
  },
}
STYLES = tuple(TARGETS)
# Height of the eyes, as a ratio, below which they count as closed.
CLOSED = 0.04
# Heads in a whole figure, top of the hair to the soles.
HEADS = (2.0, 3.0)


def measure(landmarks: Landmarks) -> dict[str, float]:
  """Measures the ratios of a face.

  Args:
    landmarks: 68 points in pixels.

  Returns:
    The ratios by the names of `RATIOS`.

  Raises:
    ValueError: if the points are not finite or the face has no extent.
  """
  points = np.asarray(landmarks, np.float64)
  if not np.isfinite(points).all():
    raise ValueError("landmarks must be finite numbers.")
  left, right = points[36:42].mean(0), points[42:48].mean(0)
  along = right - left + 0.5 * (points[54] - points[48])
  along /= max(float(np.linalg.norm(along)), 1e-9)
  x = points @ along
  y = points @ np.array([-along[1], along[0]])
  width = float(np.ptp(x[:17]))
  height = float(y[8] - y[17:27].mean())
  if width < 1 or height < 1:
    raise ValueError(
      "landmarks must be an upright face in iBUG-68 order; got one "
      f"{width:.1f} pixels wide and {height:.1f} high."
    )
  lids = [(37, 41), (38, 40), (43, 47), (44, 46)]
  opened = np.mean([np.linalg.norm(points[a] - points[b]) for a, b in lids])
  eyes = np.mean(
    [np.linalg.norm(points[a] - points[b]) for a, b in ((36, 39), (42, 45))]
  )
  return {
    "eye_height": float(opened / height),
    "eye_width": float(eyes / width),
    "face_width": width / height,
    "lower_face": float(y[8] - y[36:48].mean()) / width,
    "nose_width": float(np.ptp(x[31:36])) / width,
    "mouth_width": float(np.ptp(x[48:60])) / width,
  }


@dataclasses.dataclass(frozen=True)
class Report:
  """What a deformation did to a face's proportions.

  Attributes:
    style: whose targets are meant.
    before, after: ratios by name, see `RATIOS`.
    target: range of each ratio.
    head_scale: width of the head after / before.
    chin_drop: how far the chin came down, in widths of the face.
    smallest_area: smallest local scale of area anywhere in the picture; the
      picture is free of folds where this is positive.
    frame_limited: whether the head is so near to the frame that it could not
      grow as told.
  """

  style: str
  before: dict[str, float]
  after: dict[str, float]
  target: Mapping[str, tuple[float, float]]
  head_scale: float
  chin_drop: float
  smallest_area: float
  frame_limited: bool

  @property
  def in_range(self) -> dict[str, bool | None]:
    """Whether each ratio ended in its target range.

    The height of eyes that were all but closed says nothing: None.
    """
    found: dict[str, bool | None] = {
      name: low <= self.after[name] <= high
      for name, (low, high) in self.target.items()
    }
    if self.before["eye_height"] < CLOSED:
      found["eye_height"] = None
    return found

  def to_dict(self) -> dict:
    """Returns everything as a JSON-able dict."""
    fields = dataclasses.asdict(self)
    fields["target"] = {k: list(v) for k, v in self.target.items()}
    return fields | {"in_range": self.in_range}
