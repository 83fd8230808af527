"""The chibi's hats, scarves and hair ornaments.

Coordinates are head units (see `pose`).
"""

import math

import numpy as np

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Curve, Number
from chibijax.artist.face import LINE
from chibijax.artist.wear import GOLD, Wear


class Headwear(Wear):
  """Draws headwear: what hangs behind the head, then what is on it."""

  def draw_back(self) -> None:
    """Draws the part of the headwear that hangs behind the head."""
    if self.face.attributes.headwear != "hijab":
      return
    w = self.face.width
    half = [(-(w + 44), -120), (-(w + 62), 130), (-(w - 4), 330)]
    half += [(-(0.9 * w), 470), (-(0.72 * w), 560)]
    knots = half + [(-x, y) for x, y in reversed(half)] + [(0, -380)]
    self.piece(
      canvas.spline(knots, closed=True), palette.shade(self.color, -0.16)
    )

  def draw_front(self) -> None:
    """Draws the headwear over hair and face."""
    kind = self.face.attributes.headwear
    if kind != "none":
      getattr(self, f"_draw_{kind}")()
      self.flush()

  def _dome(self, grow: Number, brim: Number) -> Curve:
    """A cap over the skull down to `brim`."""
    w = self.face.width
    half = [
      (-(w + grow), brim),
      (-(0.97 * w + grow), brim - 110),
      (-(0.66 * w + 0.8 * grow), -288 - 0.5 * grow),
    ]
    top = (0, -348 - grow)
    right = [(-x, y) for x, y in reversed(half)]
    arch = [(0.5 * w, brim - 58), (0, brim - 74), (-0.5 * w, brim - 58)]
    return canvas.spline(
      [*half, top, *right, *arch], closed=True, corners=[0, 6]
    )

  def _draw_beanie(self) -> None:
    w, color = self.face.width, self.color
    dome = self.piece(self._dome(44, -70), color, 0.3)
    self._shadow(dome, color, 30, -34)
    for x in (-0.6, -0.3, 0.0, 0.3, 0.6):
      self.crease(
        [(x * w, -170), (0.94 * x * w, -260), (0.6 * x * w, -350)],
        color,
        8,
        0.3,
      )
    pom = [
      (
        62 * (1.12 if k % 2 else 0.95) * math.sin(k * math.pi / 9),
        -424 - 56 * (1.12 if k % 2 else 0.95) * math.cos(k * math.pi / 9),
      )
      for k in range(18)
    ]
    self.piece(canvas.spline(pom, closed=True), self.accent, 0.0)
    half = [(-(w + 52), -50), (-(w + 48), -134)]
    band = [*half, (-0.5 * w, -204), (0, -220), (0.5 * w, -204)]
    band += [(-x, y) for x, y in reversed(half)]
    band += [(0.5 * w, -112), (0, -126), (-0.5 * w, -112)]
    cuff = self.piece(
      canvas.spline(band, closed=True), palette.shade(color, 0.16), 0.4
    )
    self._shadow(cuff, color, 20, -18)
    for k in range(-4, 5):
      x = 0.235 * k * w
      y = -220 + 66 * (k / 4.4) ** 2
      self.crease(
        [(x, y + 18), (1.01 * x, y + 44), (1.02 * x, y + 66)], color, 8, 0.4
      )

  def _draw_cap(self) -> None:
    w, color = self.face.width, self.color
    dome = self.piece(self._dome(40, -110), color, 0.3)
    self._shadow(dome, color, 30, -34)
    for x in (-0.44, 0.44):
      self.crease(
        [(x * w, -190), (0.95 * x * w, -290), (0.4 * x * w, -380)],
        color,
        8,
        0.3,
      )
    self.piece(canvas.ellipse(0, -388, 24, 15), color, 0.2)
    badge = self.pose.head(_star(0, -268, 44), 0.45)
    self.scene.draw(badge, fill=self.accent, label="other")
    brim = canvas.spline(
      [
        (-(0.93 * w), -116),
        (-(0.6 * w), -176),
        (0, -204),
        (0.6 * w, -176),
        (0.93 * w, -116),
        (0.8 * w, -62),
        (0.42 * w, -92),
        (0, -104),
        (-0.42 * w, -92),
        (-(0.8 * w), -62),
      ],
      closed=True,
    )
    visor = self.piece(brim, palette.shade(color, -0.10), 0.7)
    self._shadow(visor, color, 0, -20)

  def _draw_headband(self) -> None:
    w, color = self.face.width, self.color
    reach = w + 40
    knots = [(-reach, -84), (-(0.92 * reach), -190), (-0.52 * reach, -300)]
    knots += [(0, -340)] + [(-x, y) for x, y in reversed(knots)]
    self.piece(canvas.brush(knots, [16, 44, 56, 60, 56, 44, 16]), color, 0.3)
    shine = [(-0.55 * reach, -300), (-0.25 * reach, -338), (0.02 * reach, -352)]
    self.scene.draw(
      self.pose.head(canvas.brush(shine, [0, 12, 0]), 0.3),
      fill="#ffffff",
      opacity=0.45,
    )

  def _draw_bow(self) -> None:
    color = self.color
    x, y = 0.52 * self.face.width, -330.0
    for side in (-1, 1):
      loop = canvas.spline(
        [
          (x, y),
          (x + side * 70, y - 72),
          (x + side * 136, y - 70),
          (x + side * 140, y + 40),
          (x + side * 78, y + 56),
        ],
        closed=True,
        corners=[0],
      )
      placed = self.piece(_turn(loop, x, y, 18), color, 0.1)
      self._shadow(placed, color, 0, -18)
      crease = _turn(
        canvas.brush(
          [(x + side * 20, y - 2), (x + side * 82, y - 12)], [14, 0]
        ),
        x,
        y,
        18,
      )
      self.scene.draw(
        self.pose.head(crease, 0.1), fill=palette.outline(color), opacity=0.7
      )
    knot = canvas.ellipse(x, y, 34, 40, 18)
    self.piece(knot, palette.shade(color, 0.12), 0.1)

  def _draw_flower(self) -> None:
    x, y = -0.80 * self.face.width, -206.0
    for k in range(5):
      angle = math.radians(72 * k - 90)
      petal = canvas.ellipse(
        x + 48 * math.cos(angle),
        y + 48 * math.sin(angle),
        46,
        36,
        72 * k - 90,
      )
      self.piece(petal, self.color, 0.2)
    center = GOLD if self.color != palette.CLOTHES["yellow"] else "#c9793a"
    self.piece(canvas.ellipse(x, y, 29), center, 0.2)

  def _draw_crown(self) -> None:
    knots = [(-190, -316)]
    for k in range(5):
      x = -196 + 98 * k
      tip = -438 if k % 2 == 0 else -426
      bow = 18 * (1 - (x / 196) ** 2)
      knots.append((1.06 * x, tip - bow))
      if k < 4:
        knots.append((x + 49, -372 - bow))
    knots += [(190, -316), (100, -294), (0, -286), (-100, -294)]
    shape = canvas.spline(knots, closed=True, corners=range(11))
    placed = self.piece(shape, GOLD, 0.3)
    self._shadow(placed, GOLD, 26, -24)
    gems = [self.color, self.accent, self.color]
    for x, gem in zip((-100, 0, 100), gems, strict=True):
      y = -330 - 10 * (1 - abs(x) / 100)
      self.piece(canvas.ellipse(x, y, 17, 20), gem, 0.4, 6)
    for k in (0, 2, 4):
      x = -196 + 98 * k
      y = -444 - 18 * (1 - (x / 196) ** 2)
      self.piece(canvas.ellipse(1.06 * x, y, 14), GOLD, 0.3, 6)

  def _draw_hijab(self) -> None:
    w, color = self.face.width, self.color
    chin = self.face.chin
    half = [
      (-(0.66 * w + 36), -316),
      (-(w + 44), -140),
      (-(w + 54), 90),
      (-(0.90 * w + 40), 280),
      (-(0.62 * w), 396),
    ]
    outside = [(0, -386), *[(-x, y) for x, y in half], (0, 440), *half[::-1]]
    hole = [
      (0, -206),
      (0.56 * w, -168),
      (0.88 * w, -20),
      (0.90 * w, 140),
      (0.62 * w, 262),
      (0.26 * w, chin - 14),
      (0, chin - 4),
    ]
    hole += [(-x, y) for x, y in reversed(hole[1:-1])]
    outer = self.pose.head(canvas.spline(outside, closed=True))
    inner = self.pose.head(canvas.spline(hole, closed=True), 0.5)
    line = palette.outline(color)
    self.scene.draw(
      outer,
      inner,
      holes=True,
      fill=color,
      stroke=line,
      width=LINE,
      label="other",
    )
    dark = palette.shade(color, -0.2)
    for points in (
      [(-0.5 * w, 300), (0.1 * w, 380), (0.66 * w, 330)],
      [(-0.72 * w, 250), (-0.3 * w, 372), (0.3 * w, 424)],
      [(-0.2 * w, -226), (-0.7 * w, -210), (-1.02 * w, -20)],
      [(0.1 * w, -246), (0.76 * w, -250), (1.08 * w, 0)],
      [(1.0 * w, 60), (0.98 * w, 220), (0.6 * w, 330)],
    ):
      self.crease(points, color, 10)
    under = canvas.brush(
      [(-0.5 * w, -176), (0, -206), (0.5 * w, -176)], [4, 16, 4]
    )
    self.scene.draw(self.pose.head(under, 0.5), fill=dark, opacity=0.8)

  def _draw_turban(self) -> None:
    w, color = self.face.width, self.color
    half = [(-(w + 10), -6), (-(w + 54), -130), (-(0.86 * w + 58), -300)]
    edge = [*half, (0, -432), *[(-x, y) for x, y in reversed(half)]]
    arch = [(0.88 * w, -70), (0.45 * w, -166), (0, -212)]
    arch += [(-x, y) for x, y in reversed(arch[:-1])]
    dome = self.piece(
      canvas.spline(edge + arch, closed=True, corners=[0, 6, 9]), color, 0.3
    )
    self._shadow(dome, color, 30, -34)
    with self.scene.clip(dome):
      for side in (1, -1):
        # Each half is wrapped over the other: three bands to the brow knot.
        for k in range(3):
          self.crease(
            [
              (side * (w + 50), -60 - 104 * k),
              (side * (0.70 * w), -176 - 92 * k),
              (side * (0.30 * w), -236 - 62 * k),
              (side * -16 * (k + 1), -250 - 52 * k),
            ],
            color,
            11,
            0.3,
          )
      self.flush()
    self.piece(canvas.ellipse(0, -252, 24, 30), GOLD, 0.5, 6)
    self.piece(canvas.ellipse(0, -252, 11, 15), self.accent, 0.5, 4)

  def _shadow(self, placed: Curve, color: str, dx: Number, dy: Number) -> None:
    """Darkens the part of a piece that its moved copy does not cover."""
    with self.scene.clip(placed):
      moved = placed + np.array([dx, dy]) * self.pose.scale
      self.scene.draw(
        placed, moved, holes=True, fill=palette.shade(color, -0.2), opacity=0.7
      )


def _star(x: Number, y: Number, radius: Number) -> Curve:
  points = []
  for k in range(10):
    reach = radius if k % 2 == 0 else 0.45 * radius
    angle = math.pi * k / 5
    points.append((x + reach * math.sin(angle), y - reach * math.cos(angle)))
  return canvas.polygon(points)


def _turn(curve: Curve, x: Number, y: Number, degrees: Number) -> Curve:
  """Rotates a curve clockwise about a point."""
  c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
  return (curve - (x, y)) @ np.array([[c, s], [-s, c]]) + (x, y)
