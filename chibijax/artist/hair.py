"""What the two passes of the chibi's hair share: colours, measures, strokes.

Coordinates are head units (see `pose`). Hair is drawn in two passes, behind the
head (`hair_back`) and in front of it (`hair_front`).
"""

import math

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Curve, Number, Point, Scene
from chibijax.artist.face import Face
from chibijax.artist.pose import Pose
from chibijax.artist.soft import HAIR_LINE, hair_paint

# How far the hair stands off the skull, and how low its front sides reach.
_VOLUME = {
  "crop": (30, 20),
  "pixie": (34, 90),
  "side_part": (40, 20),
  "slick_back": (26, 0),
  "undercut": (30, -90),
  "spiky": (30, 10),
  "bob": (50, 215),
  "long_straight": (44, 190),
  "long_wavy": (54, 180),
  "ponytail": (34, 110),
  "twin_tails": (36, 120),
  "bun": (34, 90),
  "space_buns": (36, 120),
  "braids": (40, 130),
  "curly": (70, 120),
  "locs": (44, 60),
  "short_curls": (30, 0),
  "wavy_bob": (52, 200),
  "long_curls": (70, 140),
}


def hair_colors(base: str) -> dict[str, str]:
  """Base, light, shadow, back and line colours of hair, given its sRGB hex."""
  dark = palette.oklab(base)[0] < 0.36
  return {
    "base": base,
    "light": palette.shade(base, 0.30 if dark else 0.42),
    "shadow": palette.shade(base, -0.16),
    "back": palette.shade(base, -0.26),
    "line": palette.outline(base),
  }


class Hair:
  """Measures and strokes of one character's hair.

  Args:
    scene: receives the shapes.
    pose: placement.
    face: measures of the head.

  Attributes:
    style: the hair style's name.
    colors: see `hair_colors`.
    fringe: what falls on the forehead.
    hidden: whether headwear covers all of it.
    hat: whether a hat flattens its top.
    curled: whether it consists of curls, but for an afro.
    parting: where it parts, see `Attributes`.
    volume: how far it stands off the skull.
    low: how low its front sides reach.
  """

  def __init__(self, scene: Scene, pose: Pose, face: Face) -> None:
    self.scene = scene
    self.pose = pose
    self._strands: dict[str, list[Curve]] = {"line": [], "light": []}
    self.face = face
    a = face.attributes
    self.style = a.hair_style
    self.colors = hair_colors(face.colors.hair)
    if face.soft:
      # Of long hair most is behind: it must still have the hair's colour.
      self.colors["back"] = palette.shade(face.colors.hair, -0.07)
    # Slicked back hair has no fringe, whatever the attribute says.
    self.fringe = "none" if self.style == "slick_back" else a.fringe
    self.hidden = a.headwear in ("hijab", "turban")
    self.hat = a.headwear in ("cap", "beanie")
    self.curled = a.hair_style in ("curly", "short_curls", "long_curls")
    volume, self.low = _VOLUME.get(a.hair_style, (30, 0))
    self.parting = a.parting
    self.volume = volume * (1 + 0.5 * a.hair_volume)
    if self.hat:
      self.volume = min(self.volume, 34)

  def shape(self, curve: Curve, depth: Number, fill: str = "base") -> Curve:
    """Draws an outlined piece of hair and returns it placed."""
    self.flush()
    placed = self.pose.head(curve, depth)
    paint = self.colors[fill]
    if self.face.soft:
      paint = hair_paint(self.scene, paint, 2 if fill == "back" else 1)
    self.scene.draw(
      placed,
      fill=paint,
      stroke=self.colors["line"],
      width=HAIR_LINE,
      label="hair",
    )
    return placed

  def strand(
    self, points: list[Point], width: Number, depth: Number, color: str = "line"
  ) -> None:
    """Adds a tapered line along the hair's flow, drawn by `flush`."""
    count = len(points)
    widths = [
      width * math.sin(math.pi * (0.12 + 0.88 * k / (count - 1)))
      for k in range(count - 1)
    ]
    line = canvas.brush(points, [*widths, 0.0])
    self._strands[color].append(self.pose.head(line, depth))

  def flush(self) -> None:
    """Draws the strands added since the last shape, one path per colour."""
    for color, lines in self._strands.items():
      if lines:
        self.scene.draw(
          *lines,
          fill=self.colors[color],
          opacity=0.75 if color == "line" else 1.0,
        )
        lines.clear()

  def cloud(
    self,
    rx: Number,
    ry: Number,
    y: Number,
    bumps: int,
    start: Number,
    end: Number,
  ) -> list[Point]:
    """Knots of a bumpy arc; corners sit at the even indices."""
    knots = []
    grow = 1 + 0.1 * self.face.attributes.hair_volume
    rx, ry = rx * grow, ry * grow
    for k in range(2 * bumps + 1):
      angle = start + (end - start) * k / (2 * bumps)
      # Valleys stay on the ellipse, crests leave it.
      reach = 1.085 if k % 2 else 0.985
      knots.append(
        (rx * reach * math.sin(angle), y - ry * reach * math.cos(angle))
      )
    return knots
