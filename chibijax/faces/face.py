"""What is known of one face in a photo.

Conventions: points are (x, y) in pixels of the photo, the centre of pixel (row
i, column j) being (j + 0.5, i + 0.5). "Left" and "right" are the viewer's, of
the face when upright: in an upside-down photo the left eye lies to the right.
Angles are degrees: `yaw` > 0 turns the face to the viewer's right, `pitch` > 0
tips it up, `roll` > 0 tilts it clockwise as seen, as in `chibijax.artist`.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

# Why a face can or cannot be used; the first problem that applies, in the
# order of this list from "none" on.
STATUSES = ("ok", "none", "small", "cut_off", "profile", "blurred")
MEANINGS = {
  "ok": "a face that can be used",
  "none": "no face was found",
  "small": "the face has too few pixels",
  "cut_off": "a part of the face lies outside the photo",
  "profile": "the face is seen from the side",
  "blurred": "the face is out of focus or was enlarged",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
  """One face of a photo, or the record that there is none.

  Attributes:
    status: a word of `STATUSES`.
    box: left, top, right, bottom in pixels; it may leave the photo. Zeros when
      there is no face.
    score: the detector's confidence, 0..1.
    points: left eye, right eye, tip of the nose, left and right corner of the
      mouth; None when the detector gives none and when there is no face.
    landmarks: 68 points in iBUG order, or None when nothing computed them.
    transform: takes points of the photo to the canonical frame (see
      `chibijax.faces.align`), a similarity.
    inverse: takes points of the canonical frame to the photo.
    pose: yaw, pitch, roll in degrees, estimated from `points`.
    sharpness: detail at the canonical size, see `chibijax.faces.status`.
    mask: "hair", "skin" and other parts of the photo, or None when nothing
      computed them.
    size: side of the canonical frame in pixels.
  """

  status: str
  box: Float32[np.ndarray, "4"]
  score: float
  points: Float32[np.ndarray, "5 2"] | None
  landmarks: Float32[np.ndarray, "68 2"] | None
  transform: Float32[np.ndarray, "2 3"]
  inverse: Float32[np.ndarray, "2 3"]
  pose: tuple[float, float, float]
  sharpness: float
  mask: dict[str, Bool[np.ndarray, "h w"]] | None
  size: int

  def __post_init__(self) -> None:
    if self.status not in STATUSES:
      raise ValueError(
        f"status must be one of {', '.join(STATUSES)}; got {self.status!r}"
      )

  @classmethod
  def none(cls, size: int = 256) -> "Face":
    """The record of a photo without a face."""
    unit = np.eye(2, 3, dtype=np.float32)
    return cls(
      status="none",
      box=np.zeros(4, np.float32),
      score=0.0,
      points=None,
      landmarks=None,
      transform=unit,
      inverse=unit.copy(),
      pose=(0.0, 0.0, 0.0),
      sharpness=0.0,
      mask=None,
      size=size,
    )

  @property
  def found(self) -> bool:
    """Whether there is a face at all, usable or not."""
    return self.status != "none"

  def to_dict(self) -> dict[str, Any]:
    """The fields as JSON-able values, without the mask."""
    fields = dataclasses.asdict(dataclasses.replace(self, mask=None))
    del fields["mask"]
    return {
      name: value.tolist() if isinstance(value, np.ndarray) else value
      for name, value in fields.items()
    }
