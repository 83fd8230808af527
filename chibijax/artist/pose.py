"""From the character's own coordinates to the canvas.

Head coordinates have their origin at the centre of the skull, x right, y down;
the average face is 600 wide and reaches from -330 (top of the skull) to 320
(chin). The body hangs below in the same coordinates. Turning the head is 2.5-D:
each layer slides by its depth, most in the middle of the face and not at all on
the silhouette, which is how a flat drawing suggests a sphere.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from chibijax.artist.attributes import Attributes
from chibijax.artist.canvas import Curve

# Where sliding ends, horizontally and vertically.
_REACH = (345.0, 400.0)
_NECK = np.array([0.0, 330.0])
# The body sits this much higher than its coordinates say: a short neck.
_SHRUG = np.array([0.0, 24.0])


@dataclasses.dataclass(frozen=True)
class Pose:
  """Placement of head and body.

  Attributes:
    slide: how far the middle of the face moves (x, y), in head units.
    scale: canvas units per head unit.
    center: canvas position of the skull's centre, before the head tilts.
    turn, shift: the head's tilt about the neck with scale and centre, as one
      affine map `points @ turn + shift`.
  """

  slide: np.ndarray
  scale: float
  center: np.ndarray
  turn: np.ndarray
  shift: np.ndarray

  @classmethod
  def of(cls, attributes: Attributes, *, body: bool) -> "Pose":
    """Reads the pose from the attributes; `body` chooses the framing."""
    slide = np.array(
      [
        150 * math.sin(math.radians(attributes.yaw)),
        -130 * math.sin(math.radians(attributes.pitch)),
      ]
    )
    scale, middle = (0.69, (500.0, 350.0)) if body else (0.97, (500.0, 500.0))
    center = np.array(middle)
    # The big head on a thin neck needs less tilt than a real one.
    angle = math.radians(0.7 * attributes.roll)
    c, s = math.cos(angle), math.sin(angle)
    turn = scale * np.array([[c, s], [-s, c]])
    shift = center + scale * _NECK - _NECK @ turn
    return cls(slide, scale, center, turn, shift)

  def head(
    self, curve: Float[np.ndarray, "*shape 2"], depth: float | int = 1.0
  ) -> Float[np.ndarray, "*shape 2"]:
    """Places a curve or points of the head.

    Args:
      curve: in head coordinates.
      depth: 1 is the surface of the face, 0 the silhouette, negative behind.
    """
    points = curve.reshape(-1, 2)
    if depth:
      fade = 1 - (points / _REACH) ** 2
      np.maximum(fade, 0, out=fade)
      fade = fade[:, :1] * fade[:, 1:]
      points = points + fade * (depth * self.slide)
    return (points @ self.turn + self.shift).reshape(curve.shape)

  def body(self, curve: Curve) -> Curve:
    """Places a curve of the neck, trunk or limbs."""
    return (curve - _SHRUG) * self.scale + self.center
