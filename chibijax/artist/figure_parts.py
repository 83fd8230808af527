"""Painted ellipsoids, the material of the 3D figure (see `figure`)."""

import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from chibijax.artist import palette
from chibijax.artist.attributes import Attributes

Points: TypeAlias = Float[np.ndarray, "n 3"]
Colors: TypeAlias = Float[np.ndarray, "n 3"]
Values: TypeAlias = Float[np.ndarray, " n"]
Number: TypeAlias = float | int
# (points, unit normals, unit directions to the eye) -> sRGB in [0, 1].
Paint: TypeAlias = Callable[[Points, Points, Points], Colors]
Color: TypeAlias = Float[np.ndarray, "1 3"]
Keep: TypeAlias = Callable[[Points], Bool[np.ndarray, " n"]]

# Half height and half depth of the skull, which the face is wrapped around.
SKULL_Y = 335.0
SKULL_Z = 285.0


@dataclasses.dataclass(frozen=True)
class Part:
  """An ellipsoid and its paint.

  Attributes:
    center: middle.
    radii: half axes.
    paint: the colour of points on it.
    turn: rotation from the ellipsoid's axes to the figure's.
    keep: which points of the surface exist; None keeps all. Where it is cut
      away, the inside of the far wall is seen.
  """

  center: Float[np.ndarray, "3"]
  radii: Float[np.ndarray, "3"]
  paint: Paint
  turn: Float[np.ndarray, "3 3"] = dataclasses.field(
    default_factory=lambda: np.eye(3, dtype=np.float32)
  )
  keep: Keep | None = None


def part(
  center: tuple[Number, ...],
  radii: tuple[Number, ...] | Number,
  paint: Paint,
  *,
  tilt: Number = 0.0,
  keep: Keep | None = None,
) -> Part:
  """Makes a part.

  Args:
    center: middle.
    radii: half axes, or the radius of a ball.
    paint: its colours.
    tilt: clockwise turn in the picture plane, degrees.
    keep: see `Part`.
  """
  c, s = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
  return Part(
    np.array(center, np.float32),
    np.broadcast_to(np.array(radii, np.float32), (3,)),
    paint,
    np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32),
    keep,
  )


@dataclasses.dataclass(frozen=True)
class Toon:
  """Soft two-tone shading under a light that stands still.

  Attributes:
    light: unit vector towards the light.
  """

  light: Float[np.ndarray, "3"]

  @classmethod
  def of(cls, attributes: Attributes) -> "Toon":
    """Reads the light's direction from the attributes."""
    azimuth = math.radians(0.7 * attributes.light_azimuth)
    height = math.radians(max(attributes.light_elevation, 30.0))
    return cls(
      np.array(
        [
          math.sin(azimuth) * math.cos(height),
          -math.sin(height),
          -math.cos(azimuth) * math.cos(height),
        ],
        np.float32,
      )
    )

  def __call__(
    self, normals: Points, base: Color, shadow: Color, lit: Color
  ) -> Colors:
    """Mixes three tones of a surface by how much it faces the light."""
    toward = normals @ self.light
    dark = 0.85 * smooth(toward, 0.1, -0.6)[:, None]
    bright = smooth(toward, 0.45, 1.0)[:, None]
    color = base + bright * (lit - base)
    return color + dark * (shadow - color)


def color(name: str) -> Color:
  """A hex colour as floats in [0, 1]."""
  return np.array([palette.rgb(name)], np.float32) / 255


def smooth(x: Values, low: Number, high: Number) -> Values:
  """Rises smoothly from 0 at `low` to 1 at `high` (which may lie below)."""
  t = np.clip((x - low) / (high - low), 0, 1)
  return t * t * (3 - 2 * t)


def azimuth(points: Points) -> Values:
  """Angle about the vertical: 0 in front, +-pi at the back, radians."""
  return np.arctan2(points[:, 0], -points[:, 2])
