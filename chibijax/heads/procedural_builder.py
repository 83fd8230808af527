"""How the left half of the procedural head is collected; its measures."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

# Metres: the left eyeball, and the middle of the mouth (x and y).
EYE = np.array([32.5, 15.0, 38.0]) / 1000
EYE_RADIUS = 0.0175
MOUTH = np.array([0.0, -48.5]) / 1000


class Mesh(NamedTuple):
  """Vertices with what shapes and colours need to know of them.

  Attributes:
    positions: at rest, metres.
    faces: counter-clockwise seen from outside.
    angle, row: place on the loft; for parts of their own, NaN.
    part: index into `PARTS`.
    ring: within the part, from outside (0) inwards; -1 for plain skin.
    place: around the ring, radians from the outer corner over the top (eyes)
      or 0 at the top to 1 at the bottom (mouth); NaN elsewhere.
    mirror: the vertex on the other side; itself in the middle.
  """

  positions: Float[np.ndarray, "V 3"]
  faces: Int[np.ndarray, "F 3"]
  angle: Float[np.ndarray, "V"]
  row: Float[np.ndarray, "V"]
  part: Int[np.ndarray, "V"]
  ring: Int[np.ndarray, "V"]
  place: Float[np.ndarray, "V"]
  mirror: Int[np.ndarray, "V"]


PARTS = (
  "skin",
  "lids",
  "mouth",
  "ear",
  "eyeball",
  "upper_teeth",
  "lower_teeth",
  "tongue",
)


class Builder:
  """Collects the vertices and faces of the left half."""

  def __init__(self) -> None:
    self.columns: list[np.ndarray] = []
    self.faces: list[np.ndarray] = []
    self.count = 0

  def add(
    self,
    part: str,
    positions: np.ndarray,
    angle: np.ndarray | float = np.nan,
    row: np.ndarray | float = np.nan,
    ring: int = -1,
    place: np.ndarray | float = np.nan,
  ) -> np.ndarray:
    """Appends vertices; returns their numbers."""
    n = len(positions)
    meta = [angle, row, PARTS.index(part), ring, place]
    rest = np.stack([np.broadcast_to(m, n) for m in meta], 1)
    self.columns.append(np.concatenate([positions, rest], 1))
    numbers = np.arange(self.count, self.count + n)
    self.count += n
    return numbers

  def strip(
    self, outer: np.ndarray, inner: np.ndarray, *, loop: bool, flip: bool
  ) -> None:
    """Joins two rings of equal length by quads, cut into triangles."""
    if loop:
      outer, inner = np.append(outer, outer[0]), np.append(inner, inner[0])
    a, b, c, d = outer[:-1], outer[1:], inner[1:], inner[:-1]
    # Cut along the other diagonal beyond the middle, which stays symmetric.
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    self.faces.append(triangles[:, ::-1] if flip else triangles)

  def fan(
    self, ring: np.ndarray, center: int | np.integer, *, flip: bool
  ) -> None:
    """Closes a ring by triangles to one vertex."""
    triangles = np.stack(
      [ring, np.roll(ring, -1), np.full(len(ring), center)], 1
    )
    self.faces.append(triangles[:, ::-1] if flip else triangles)
