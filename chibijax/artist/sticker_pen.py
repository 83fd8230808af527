"""How stickers are drawn: coordinates, a pen, and shapes they share.

A sticker is drawn around an imagined head in frontal view: the origin lies
between the eyes, x right, y down, and 100 units are the width of the face. The
crown of the hair is then at y = -86, and the eyes are at x = -22 and 22. Each
sticker sees a square of that plane, its view, which becomes the canvas.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Curve, Number, Point, Scene

# As wide as the artist's own outlines.
LINE = 1.6
GOLD = "#f2c14e"

# Points by which each kind of sticker is held to the face.
ANCHORS: dict[str, tuple[Point, ...]] = {
  "eyes": ((-22, 0), (22, 0)),
  "forehead": ((-54, -38), (54, -38)),
  "head_top": ((-54, -38), (54, -38), (0, -86)),
  "cheeks": ((-32, 28), (32, 28)),
  "mouth": ((-20, 50), (20, 50)),
  "jaw": ((0, 18), (-47, 36), (47, 36), (0, 84)),
  "above": ((-50, -86), (50, -86)),
  "beside": ((-50, 0), (50, 0)),
}
LAYERS = ("over_hair", "under_hair", "behind_head")


class Pen:
  """Draws outlined pieces of one sticker.

  Args:
    view: left, top and side of the square seen.
    color: main colour, sRGB hex.
    mirrored: whether left and right are exchanged.
  """

  def __init__(
    self, view: tuple[Number, ...], color: str, mirrored: bool = False
  ) -> None:
    self.scene = Scene()
    self.view = view
    self.color = color
    self.mirrored = mirrored
    self.scale = 1000 / view[2]

  def place(self, curve: Curve) -> Curve:
    """Takes a curve from the plane of the head to the canvas."""
    if self.mirrored:
      curve = canvas.mirror(curve)
    return (curve - np.array(self.view[:2])) * self.scale

  def fill(
    self, *curves: Curve, color: str, opacity: Number = 1.0, holes: bool = False
  ) -> None:
    """Fills curves without an outline."""
    placed = [self.place(c) for c in curves]
    self.scene.draw(*placed, fill=color, opacity=opacity, holes=holes)

  def piece(
    self,
    *curves: Curve,
    color: str | None = None,
    line: str | None = None,
    width: Number = LINE,
    shade: tuple[Number, Number] | None = None,
    holes: bool = False,
  ) -> None:
    """Draws one filled and outlined piece.

    Args:
      *curves: its outlines.
      color: fill; None is the sticker's colour.
      line: colour of the outline; None is a dark shade of the fill.
      width: of the outline.
      shade: shift of the light: what the moved piece leaves bare is darkened.
      holes: see `Scene.draw`.
    """
    color = color or self.color
    placed = [self.place(c) for c in curves]
    self.scene.draw(*placed, fill=color, holes=holes)
    if shade is not None:
      move = np.array(shade) * self.scale * (-1 if self.mirrored else 1, 1)
      dark = palette.shade(color, -0.17)
      for curve in placed:
        with self.scene.clip(curve):
          self.scene.draw(curve, curve + move, holes=True, fill=dark)
    self.scene.draw(
      *placed, stroke=line or palette.outline(color), width=width * self.scale
    )

  def line(
    self,
    points: Sequence[Point],
    width: Number,
    *,
    color: str | None = None,
    opacity: Number = 1.0,
    taper: bool = True,
  ) -> None:
    """Draws a line through points, thin at its ends if it tapers."""
    ends = 0.25 * width if taper else width
    widths = [ends] + [width] * (len(points) - 2) + [0.0 if taper else ends]
    self.fill(
      canvas.brush(points, widths),
      color=color or palette.outline(self.color),
      opacity=opacity,
    )

  def shine(self, points: Sequence[Point], width: Number) -> None:
    """Draws a white highlight."""
    middle = [width] * (len(points) - 2)
    self.fill(
      canvas.brush(points, [0.3 * width, *middle, 0.3 * width]),
      color="#ffffff",
      opacity=0.6,
    )


@dataclasses.dataclass(frozen=True)
class Design:
  """How one sticker is made.

  Attributes:
    draw: puts it on a pen.
    kind: key of `ANCHORS`: what of the face holds it.
    layer: one of `LAYERS`: what covers it.
    view: left, top and side of what is seen of the plane.
    color: its colour unless another is wished.
    sided: whether it sits on one side, so that it may as well be mirrored.
  """

  draw: Callable[[Pen], None]
  kind: str
  layer: str
  view: tuple[Number, Number, Number]
  color: str
  sided: bool = False


def heart(
  x: Number, y: Number, size: Number, angle: Number = 0, wide: Number = 1.0
) -> Curve:
  """A heart around (x, y), `size` from its centre to its tip."""
  right = [
    (0, -0.45, 0.1, -1.0, 1.02, -1.02, 1.02, -0.28),
    (1.02, -0.28, 1.02, 0.25, 0.38, 0.6, 0, 1.0),
  ]
  half = np.array(right).reshape(-1, 4, 2) * (size * wide, size)
  whole = canvas.join(half, canvas.mirror(half)[::-1, ::-1])
  return turn(whole, angle) + np.array([x, y])


def star(
  x: Number,
  y: Number,
  radius: Number,
  *,
  points: int = 5,
  inner: Number = 0.52,
  angle: Number = 0,
  round_tips: bool = True,
) -> Curve:
  """A star of rounded points around (x, y)."""
  knots = []
  for k in range(2 * points):
    reach = radius if k % 2 == 0 else inner * radius
    bearing = math.pi * k / points + math.radians(angle)
    knots.append((x + reach * math.sin(bearing), y - reach * math.cos(bearing)))
  if not round_tips:
    return canvas.polygon(knots)
  inside = range(1, 2 * points, 2)
  return canvas.spline(knots, closed=True, corners=inside, roundness=0.7)


def sparkle(x: Number, y: Number, radius: Number, slim: Number = 0.7) -> Curve:
  """A four-pointed glint whose sides curve inwards."""
  tips = [(0, -radius), (slim * radius, 0), (0, radius), (-slim * radius, 0)]
  segments = []
  for (ax, ay), (bx, by) in zip(tips, tips[1:] + tips[:1]):
    segments.append((ax, ay, 0.3 * ax, 0.3 * ay, 0.3 * bx, 0.3 * by, bx, by))
  return np.array(segments, np.float64).reshape(-1, 4, 2) + np.array([x, y])


def symmetric(half: Sequence[Point]) -> list[Point]:
  """Knots of the viewer's left half, and their mirror images back again.

  A knot on the axis is not repeated.
  """
  return [*half, *[(-x, y) for x, y in reversed(half) if x != 0]]


def turn(curve: Curve, degrees: Number) -> Curve:
  """Rotates a curve clockwise about the origin."""
  c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
  return curve @ np.array([[c, s], [-s, c]])
