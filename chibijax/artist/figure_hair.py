"""The hair of the 3D figure: a shell with a fringe, and what hangs from it.

Styles are reduced to families: every style of the flat chibi has a shape here,
but not every one a shape of its own.
"""

import dataclasses
import math

import numpy as np

from chibijax.artist import palette
from chibijax.artist.face import Face
from chibijax.artist.figure_parts import (
  SKULL_Y,
  SKULL_Z,
  Color,
  Colors,
  Part,
  Points,
  Toon,
  Values,
  azimuth,
  color,
  part,
  smooth,
)
from chibijax.artist.hair import hair_colors

# How far the shell stands off the skull, how low it reaches beside the face and
# in the neck; smaller is higher.
_SHELL = {
  "buzz": (9, -60, 150),
  "crop": (30, 20, 190),
  "pixie": (34, 70, 220),
  "side_part": (38, 10, 190),
  "slick_back": (28, -10, 210),
  "undercut": (34, -90, 80),
  "spiky": (30, 10, 190),
  "mohawk": (9, -60, 150),
  "bob": (52, 225, 285),
  "long_straight": (46, 250, 300),
  "long_wavy": (54, 250, 300),
  "ponytail": (36, 60, 190),
  "twin_tails": (38, 90, 240),
  "bun": (36, 60, 180),
  "space_buns": (38, 90, 240),
  "braids": (40, 110, 250),
  "curly": (52, 110, 230),
  "afro": (60, 20, 200),
  "locs": (44, 120, 260),
  "short_curls": (34, 10, 190),
  "wavy_bob": (56, 215, 285),
  "long_curls": (56, 230, 300),
}


@dataclasses.dataclass(frozen=True)
class Hair:
  """The hair of one figure.

  Attributes:
    face: measures of the head.
    toon: its shading.
    style: style's name, "bald" for none.
    fringe: what falls on the forehead.
    base, shadow, lit, line: colours.
    volume, side, nape: see `_SHELL`.
  """

  face: Face
  toon: Toon
  style: str
  fringe: str
  base: Color
  shadow: Color
  lit: Color
  line: Color
  volume: float | int
  side: float | int
  nape: float | int

  @classmethod
  def of(cls, face: Face, toon: Toon) -> "Hair":
    """Reads style and colours from the face's attributes."""
    a = face.attributes
    tones = {k: color(v) for k, v in hair_colors(face.colors.hair).items()}
    volume, side, nape = _SHELL.get(a.hair_style, (0, 0, 0))
    volume *= 1 + 0.5 * a.hair_volume
    plain = a.hair_style in ("slick_back", "buzz", "mohawk", "afro")
    return cls(
      face=face,
      toon=toon,
      style=a.hair_style,
      fringe="none" if plain else a.fringe,
      base=tones["base"],
      shadow=tones["back"],
      lit=0.55 * tones["base"] + 0.45 * tones["light"],
      line=0.5 * tones["base"] + 0.5 * tones["line"],
      volume=volume,
      side=side,
      nape=nape,
    )

  def parts(self) -> list[Part]:
    """The shell and what the style adds to it."""
    if self.style == "bald":
      return []
    v = self.volume
    radii = (self.face.width + v, SKULL_Y + v, SKULL_Z + v)
    shell = part((0, -6, 6), radii, self.paint, keep=self.covers)
    return [shell, *self._extras()]

  def edge(self, points: Points) -> Values:
    """Height y at which the shell ends, by azimuth; below it there is none."""
    angle = azimuth(points)
    turn = np.abs(angle)
    front = self._fringe(angle)
    # Locks at the temples, then over the ears to the nape.
    locks = self.side + 12 * np.abs(np.sin(7 * angle))
    back = self.nape + 16 * np.abs(np.sin(6 * angle))
    edge = front + smooth(turn, 0.86, 1.12) * (locks - front)
    return edge + smooth(turn, 1.5, 1.9) * (back - edge)

  def covers(self, points: Points) -> np.ndarray:
    """Whether the shell exists at its points."""
    return points[:, 1] < self.edge(points)

  def shade(self, points: Points) -> Values:
    """How much of a shadow the fringe throws on the skin, 0..1."""
    if self.style == "bald":
      return np.zeros(len(points), np.float32)
    reach = 26 + 0.5 * self.volume
    return 0.85 * smooth(points[:, 1] - self.edge(points) - reach, 8, -8)

  def _fringe(self, angle: Values) -> Values:
    """The hairline of the front, for |azimuth| below about 1."""
    x = angle / 0.95
    locks = np.abs(np.sin(5.5 * angle + 0.4))
    if self.fringe == "straight":
      return -64 + 22 * np.abs(np.sin(6 * angle)) + 26 * x * x
    if self.fringe == "side_swept":
      return -128 + 92 * np.clip(x + 0.45, 0, 2) + 26 * locks
    if self.fringe == "curtain":
      return -205 + 250 * np.abs(x) ** 0.8 - 30 * x * x + 12 * locks
    if self.fringe == "wispy":
      gap = np.sin(9 * angle + 0.6)
      return -150 + 95 * np.abs(gap) ** 1.5 + 30 * x * x
    if self.fringe == "choppy":
      saw = np.abs((angle * 2.6) % 1 - 0.5) * 2
      return -118 + 88 * saw + 26 * x * x
    return -205 + 60 * x * x

  def paint(self, points: Points, normals: Points, eye: Points) -> Colors:
    """Strands that flow from the crown, a bright ring, and a faint gloss."""
    out = self.toon(normals, self.base, self.shadow, self.lit)
    around = np.arctan2(points[:, 0], -(points[:, 2] - 60))
    low = smooth(points[:, 1], -300, -120)
    wave = np.sin(23 * around + 2.1 * np.sin(5 * around) + points[:, 1] / 90)
    strand = smooth(wave, 0.72, 0.98) * low
    out += 0.55 * strand[:, None] * (self.line - out)
    ring = points[:, 1] + 196 + 16 * np.sin(11 * around)
    shine = smooth(np.abs(ring), 26, 10) * smooth(normals[:, 2], 0.45, -0.1)
    out += 0.6 * shine[:, None] * (self.lit + 0.12 - out)
    mirrored = 2 * (normals @ self.toon.light)[:, None] * normals
    gloss = ((mirrored - self.toon.light) * eye).sum(-1)
    return out + 0.16 * np.maximum(gloss, 0)[:, None] ** 12

  def mat(self, points: Points, normals: Points, eye: Points) -> Colors:
    """Paint of tails, buns and locks: no ring."""
    del eye
    out = self.toon(normals, self.base, self.shadow, self.lit)
    wave = np.sin(points[:, 0] / 9 + 1.5 * np.sin(points[:, 1] / 60))
    strand = smooth(wave, 0.55, 0.95)
    return out + 0.4 * strand[:, None] * (self.line - out)

  def _extras(self) -> list[Part]:
    """What a style has beyond the shell."""
    makers = {
      "long_straight": self._curtain,
      "long_wavy": self._curtain,
      "ponytail": self._ponytail,
      "twin_tails": self._tails,
      "braids": self._braids,
      "locs": self._locs,
      "bun": self._buns,
      "space_buns": self._buns,
      "curly": self._cloud,
      "short_curls": self._cloud,
      "long_curls": self._long_curls,
      "afro": self._cloud,
      "spiky": self._spikes,
      "mohawk": self._spikes,
    }
    make = makers.get(self.style)
    return make() if make else []

  def _curtain(self) -> list[Part]:
    wide = self.face.width + (40 if self.style == "long_wavy" else 24)
    parts = [
      part((0, 235, 150), (wide, 330, 150), self.mat, keep=_behind),
    ]
    for side in (-1, 1):
      x = side * (wide - 56)
      parts.append(part((x, 260, 60), (70, 250, 80), self.mat, tilt=5 * side))
    return parts

  def _long_curls(self) -> list[Part]:
    return self._curtain() + self._cloud()

  def _ponytail(self) -> list[Part]:
    return [
      part((0, -150, SKULL_Z + 40), (70, 62, 62), self._tie),
      part((0, -40, SKULL_Z + 110), (105, 190, 90), self.mat),
      part((0, 150, SKULL_Z + 95), (70, 150, 62), self.mat),
    ]

  def _tails(self) -> list[Part]:
    parts = []
    for side in (-1, 1):
      x = side * (self.face.width + 62)
      parts += [
        part((x - side * 34, -170, 60), 52, self._tie),
        part(
          (x + side * 36, -40, 70), (84, 170, 84), self.mat, tilt=-16 * side
        ),
        part((x + side * 62, 160, 74), (62, 165, 62), self.mat, tilt=4 * side),
      ]
    return parts

  def _braids(self) -> list[Part]:
    parts = []
    for side in (-1, 1):
      x = side * (self.face.width - 6)
      for k in range(6):
        size = 58 - 4 * k
        center = (x + side * (8 if k % 2 else -8), 190 + 66 * k, -10)
        parts.append(part(center, (size, 48, size), self.mat))
      parts.append(part((x, 562, -10), (40, 22, 40), self._tie))
    return parts

  def _locs(self) -> list[Part]:
    parts = []
    for k in range(17):
      angle = math.pi * (0.36 + 1.28 * k / 16)
      x = (self.face.width + 20) * math.sin(angle)
      z = -(SKULL_Z + 20) * math.cos(angle)
      low = 40 * (k % 3)
      parts.append(part((x, 190 + low, z), (36, 190, 36), self.mat))
    return parts

  def _buns(self) -> list[Part]:
    if self.style == "bun":
      top = (0, -SKULL_Y - 44, 90)
      return [
        part(top, (124, 104, 118), self.mat),
        part((0, -SKULL_Y + 12, 78), (96, 40, 92), self._tie),
      ]
    parts = []
    for side in (-1, 1):
      place = (side * 232, -SKULL_Y + 26, 46)
      parts.append(part(place, (118, 112, 112), self.mat))
    return parts

  def _cloud(self) -> list[Part]:
    """Balls spread over the hair, a golden-angle spiral."""
    afro = self.style == "afro"
    out, size, count = (64, 108, 90) if afro else (40, 76, 110)
    if self.style == "short_curls":
      out, size = 14, 58
    parts = []
    for k in range(count):
      height = 1 - 2 * (k + 0.5) / count
      ring = math.sqrt(1 - height * height)
      angle = math.pi * (1 + math.sqrt(5)) * k
      unit = np.array([ring * math.sin(angle), height, -ring * math.cos(angle)])
      reach = np.array([self.face.width, SKULL_Y, SKULL_Z]) + out
      center = (unit * reach).astype(np.float32)
      limit = float(self.edge(center[None])[0]) - (40 if afro else 26)
      if center[1] < limit:
        grow = size * (1 + 0.12 * math.sin(7.0 * k))
        parts.append(part(tuple(center.tolist()), grow, self._plain))
    return parts

  def _spikes(self) -> list[Part]:
    parts = []
    if self.style == "mohawk":
      for k in range(9):
        lean = math.radians(-52 + 20 * k)
        center = (
          0.0,
          -(SKULL_Y + 34) * math.cos(lean),
          (SKULL_Z + 34) * math.sin(lean),
        )
        parts.append(part(center, (44, 96, 96), self.mat))
      return parts
    for row, (count, height) in enumerate(((9, -150), (8, -260), (4, -330))):
      for k in range(count):
        angle = 2 * math.pi * (k + 0.5 * row) / count
        flat = math.sqrt(max(0.0, 1 - (height / (SKULL_Y + 30)) ** 2))
        x = (self.face.width + 20) * flat * math.sin(angle)
        z = -(SKULL_Z + 20) * flat * math.cos(angle)
        if z < -150 and height > -200:
          continue  # The fringe is there.
        tilt = math.degrees(math.atan2(x, -height + 60))
        parts.append(
          part((x, height - 40, z), (58, 128, 58), self.mat, tilt=tilt)
        )
    return parts

  def _plain(self, points: Points, normals: Points, eye: Points) -> Colors:
    """Paint of curls."""
    del points, eye
    return self.toon(normals, self.base, self.shadow, self.lit)

  def _tie(self, points: Points, normals: Points, eye: Points) -> Colors:
    """Paint of hair ties, in the colour of the headwear."""
    del points, eye
    name = self.face.colors.headwear
    dark = color(palette.shade(name, -0.2))
    return self.toon(normals, color(name), dark, color(name))


def _behind(points: Points) -> np.ndarray:
  return points[:, 2] > 40
