"""The chibi's hair behind the head: lengths, tails, buns, clouds.

Coordinates are head units (see `pose`).
"""

import math

from chibijax.artist import canvas
from chibijax.artist.canvas import Number, Point
from chibijax.artist.hair import Hair


class BackHair(Hair):
  """Draws what lies behind neck and head."""

  def draw(self) -> None:
    """Draws what lies behind neck and head."""
    if self.hidden or self.style in ("bald", "buzz", "mohawk", "undercut"):
      return
    w, v = self.face.width, self.volume
    drawer = {
      "bob": self._back_bob,
      "long_straight": self._back_long,
      "long_wavy": self._back_wavy,
      "ponytail": self._back_ponytail,
      "twin_tails": self._back_twin_tails,
      "curly": self._back_curly,
      "long_curls": self._back_long_curls,
      "wavy_bob": self._back_wavy_bob,
      "afro": self._back_afro,
      "locs": self._back_locs,
      "bun": self._back_bun,
      "space_buns": self._back_space_buns,
      "spiky": self._back_spiky,
    }.get(self.style)
    if drawer is not None:
      drawer(w, v)
    elif self.style != "braids":
      self._back_short(w, v)
    else:
      self._back_braids(w, v)
    self.flush()

  def _back_short(self, w: Number, v: Number) -> None:
    half = [(-(w + 0.3 * v), -120), (-(w + 0.35 * v), 60), (-0.86 * w, 190)]
    knots = [*half, (-0.5 * w, 250), (0.5 * w, 250)]
    knots += [(-x, y) for x, y in reversed(half)]
    self.shape(canvas.spline([*knots, (0, -320)], closed=True), -0.2, "back")

  def _back_bob(self, w: Number, v: Number) -> None:
    half = [
      (-(0.7 * w), -300),
      (-(w + v), -140),
      (-(w + 1.15 * v), 90),
      (-(w + 1.0 * v), 240),
      (-(0.86 * w), 330),
      (-(0.60 * w), 316),
    ]
    knots = half + [(-x, y) for x, y in reversed(half)]
    self.shape(canvas.spline(knots, closed=True, corners=[4, 7]), -0.2, "back")

  def _back_long(self, w: Number, v: Number) -> None:
    half = [
      (-(0.7 * w), -300),
      (-(w + v), -140),
      (-(w + 1.05 * v), 120),
      (-(w + 1.2 * v), 380),
      (-(w + 0.9 * v), 600),
      (-(0.72 * w), 560),
      (-(0.5 * w), 610),
    ]
    knots = half + [(-x, y) for x, y in reversed(half)]
    curve = canvas.spline(knots, closed=True, corners=[4, 6, 7, 9])
    self.shape(curve, -0.2, "back")
    for x in (-0.93, 0.93):
      self.strand(
        [(x * w, 220), (x * (w + 14), 380), (x * (w + 10), 540)], 9, -0.2
      )

  def _back_wavy(self, w: Number, v: Number) -> None:
    half = [(-(0.7 * w), -310), (-(w + v), -150)]
    y, out = 0.0, True
    while y < 560:
      half.append((-(w + (1.45 if out else 0.55) * v), y))
      y, out = y + 92, not out
    half += [(-(w + 0.9 * v), 590), (-(0.6 * w), 560)]
    knots = half + [(-x, y) for x, y in reversed(half)]
    self.shape(canvas.spline(knots, closed=True, roundness=1.25), -0.2, "back")
    for side in (-1, 1):
      points = [
        (side * (w + (16 if k % 2 else -24)), 130 + 92 * k) for k in range(5)
      ]
      self.strand(points, 9, -0.2)

  def _tail(self, points: list[Point], widths: list[Number]) -> None:
    """Draws a gathered tail that swells and ends in a point."""
    self.shape(canvas.brush(points, widths), -0.3)
    count = len(points)
    for offset in (-0.2, 0.18):
      line = [
        (x + offset * width, y + 0.1 * width)
        for (x, y), width in zip(points[1:], widths[1:], strict=True)
      ]
      self.strand(line[: count - 1], 10, -0.3)

  def _back_ponytail(self, w: Number, v: Number) -> None:
    self._back_short(w, v)
    points = [
      (0.42 * w, -330),
      (0.86 * w, -360),
      (1.17 * w, -240),
      (1.28 * w, -20),
      (1.20 * w, 190),
      (1.34 * w, 330),
    ]
    self._tail(points, [80, 150, 185, 170, 110, 0])

  def _back_twin_tails(self, w: Number, v: Number) -> None:
    self._back_short(w, v)
    for side in (-1, 1):
      points = [
        (side * 0.86 * w, -240),
        (side * 1.14 * w, -226),
        (side * 1.30 * w, -60),
        (side * 1.31 * w, 150),
        (side * 1.22 * w, 320),
        (side * 1.36 * w, 440),
      ]
      self._tail(points, [70, 126, 164, 160, 104, 0])

  def _back_bun(self, w: Number, v: Number) -> None:
    self._back_short(w, v)
    self._bun(0, -388, 108)

  def _back_space_buns(self, w: Number, v: Number) -> None:
    self._back_short(w, v)
    for side in (-1, 1):
      self._bun(side * 0.74 * w, -342, 104)

  def _bun(self, x: Number, y: Number, radius: Number) -> None:
    self.shape(canvas.ellipse(x, y, 1.08 * radius, radius), 0.0)
    for bend, reach in ((-0.5, 0.7), (0.15, 0.62)):
      points = [
        (
          x + radius * (0.75 * math.sin(t) + 0.1),
          y + radius * (bend + reach * math.cos(t) * 0.55),
        )
        for t in (-1.2, -0.4, 0.4, 1.2)
      ]
      self.strand(points, 11, 0.0)
    shine = canvas.brush(
      [
        (x - 0.55 * radius, y - 0.45 * radius),
        (x - 0.15 * radius, y - 0.68 * radius),
        (x + 0.3 * radius, y - 0.62 * radius),
      ],
      [0, 0.2 * radius, 0],
    )
    self.scene.draw(
      self.pose.head(shine, 0.0), fill=self.colors["light"], opacity=0.8
    )

  def _back_curly(self, w: Number, v: Number) -> None:
    knots = self.cloud(w + 92, 392, -24, 15, -2.85, 2.85)
    curve = canvas.spline(
      knots, closed=True, corners=range(0, 31, 2), roundness=1.5
    )
    self.shape(curve, -0.1, "back")

  def _back_long_curls(self, w: Number, v: Number) -> None:
    # Curls down both sides, then along the lower edge.
    half = [(-(0.5 * w), -320), (-(w + 0.3 * v), -215)]
    for k in range(1, 11):
      reach = 1.0 if k % 2 else 1.62
      half.append((-(w + reach * v * (0.75 + 0.03 * k)), -235 + 78 * k))
    half += [(-(0.86 * w), 610), (-(0.60 * w), 560), (-(0.3 * w), 600)]
    knots = half + [(-x, y) for x, y in reversed(half)]
    corners = [k for k in range(2, 12, 2)] + [13]
    corners += [len(knots) - 1 - k for k in corners]
    curve = canvas.spline(knots, closed=True, corners=corners, roundness=1.5)
    self.shape(curve, -0.2, "back")
    for side in (-1, 1):
      for x, y in ((0.98, 250), (1.14, 330), (1.0, 430), (1.18, 500)):
        points = [(x - 0.09, y + 14), (x - 0.02, y - 26), (x + 0.08, y - 4)]
        self.strand([(side * u * w, t) for u, t in points], 11, -0.2)

  def _back_wavy_bob(self, w: Number, v: Number) -> None:
    half = [(-(0.7 * w), -305), (-(w + v), -150)]
    half += [(-(w + 1.4 * v), -30), (-(w + 0.7 * v), 66)]
    half += [(-(w + 1.5 * v), 170), (-(w + 0.8 * v), 266), (-(w + v), 340)]
    half += [(-(0.80 * w), 345), (-(0.6 * w), 310)]
    knots = half + [(-x, y) for x, y in reversed(half)]
    corners = [6, 11]
    curve = canvas.spline(knots, closed=True, corners=corners, roundness=1.25)
    self.shape(curve, -0.2, "back")

  def _back_afro(self, w: Number, v: Number) -> None:
    limit = 2.62
    size = 0.88 if self.hat else 1.0
    knots = self.cloud((w + 136) * size, 392 * size, -56, 19, -limit, limit)
    curve = canvas.spline(
      knots, closed=True, corners=range(0, 39, 2), roundness=1.4
    )
    self.shape(curve, -0.1)

  def _back_locs(self, w: Number, v: Number) -> None:
    self._back_short(w, v)
    for k in range(6):
      for side in (-1, 1):
        x = side * (1.12 - 0.13 * k) * w
        end = 330 + 24 * ((k * 2) % 3) - 10 * k
        points = [(0.92 * x, -120), (x * 1.02, 60), (1.04 * x, end)]
        self.shape(canvas.brush(points, [54, 58, 44]), -0.2, "back")

  def _back_spiky(self, w: Number, v: Number) -> None:
    knots = []
    for k in range(6):
      x = -w * 1.08 + 2.16 * w * k / 5
      knots += [(x, 130), (x * 1.08, 262 - 34 * abs(k - 2.5))]
    knots += [(w * 1.08, 40), (0, -300), (-w * 1.08, 40)]
    corners = range(12)
    self.shape(canvas.spline(knots, closed=True, corners=corners), -0.2, "back")

  def _back_braids(self, w: Number, v: Number) -> None:
    self._back_short(w, v)
