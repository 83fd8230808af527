"""Ears, horns and ornaments of the head as stickers."""

import math

import numpy as np

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Point
from chibijax.artist.sticker_pen import GOLD, LINE, Design, Pen

_INNER = "#f6a9b8"


def _ears(
  pen: Pen,
  outer: list[Point],
  inner: list[Point],
  *,
  corners: tuple[int, ...],
  inside: str = _INNER,
  tip: list[Point] | None = None,
) -> None:
  """A pair of ears; the knots are of the viewer's right one."""
  for side in (1, -1):
    ear = canvas.spline(
      [(side * x, y) for x, y in outer], closed=True, corners=corners
    )
    pen.piece(ear, shade=(side * 2, -3))
    if tip is not None:
      with pen.scene.clip(pen.place(ear)):
        pen.fill(
          canvas.spline([(side * x, y) for x, y in tip], closed=True),
          color=palette.outline(pen.color),
        )
      pen.scene.draw(
        pen.place(ear),
        stroke=palette.outline(pen.color),
        width=LINE * pen.scale,
      )
    pen.fill(
      canvas.spline(
        [(side * x, y) for x, y in inner],
        closed=True,
        corners=tuple(c for c in corners if c < len(inner)),
      ),
      color=inside,
    )


def _cat_ears(pen: Pen) -> None:
  outer = [
    (16, -81),
    (24, -104),
    (45, -121),
    (53, -92),
    (52, -63),
    (40, -68),
    (34, -75),
    (27, -76),
  ]
  inner = [
    (25, -82),
    (31, -99),
    (42, -109),
    (46, -90),
    (46, -72),
    (41, -74),
    (36, -81),
  ]
  _ears(pen, outer, inner, corners=(0, 2, 4, 6))


def _fox_ears(pen: Pen) -> None:
  outer = [
    (14, -82),
    (22, -112),
    (48, -136),
    (58, -100),
    (53, -62),
    (42, -66),
    (35, -76),
    (25, -77),
  ]
  inner = [
    (25, -84),
    (31, -106),
    (45, -122),
    (50, -98),
    (47, -72),
    (42, -73),
    (36, -83),
  ]
  tip = [(30, -140), (60, -142), (64, -106), (50, -116), (30, -118)]
  _ears(pen, outer, inner, corners=(0, 2, 4, 6), inside="#fdf0df", tip=tip)


def _bear_ears(pen: Pen) -> None:
  for x in (-41, 41):
    pen.piece(canvas.ellipse(x, -84, 20, 19), shade=(2, -3))
    pen.fill(
      canvas.ellipse(0.98 * x, -82.5, 11.5, 11),
      color=palette.shade(palette.mix(pen.color, _INNER, 0.6), 0.25),
    )


def _bunny_ears(pen: Pen) -> None:
  outer = [
    (9, -70),
    (8, -108),
    (17, -150),
    (29, -158),
    (37, -144),
    (37, -108),
    (31, -66),
  ]
  inner = [
    (16, -78),
    (16, -110),
    (21, -138),
    (27, -145),
    (30, -136),
    (30, -108),
    (26, -76),
  ]
  _ears(pen, outer, inner, corners=(0, 6))


def _horns(pen: Pen) -> None:
  for side in (-1, 1):
    knots = [
      (20, -80),
      (22, -98),
      (36, -116),
      (47, -121),
      (45, -104),
      (42, -90),
      (41, -72),
      (31, -73),
    ]
    horn = canvas.spline(
      [(side * x, y) for x, y in knots], closed=True, corners=(0, 3, 6)
    )
    pen.piece(horn, shade=(-2 if side < 0 else 3, -2))
    for a, b in (((21.5, -88), (42, -81)), ((24, -99), (43, -92))):
      middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2 + 2.5)
      pen.line([(side * x, y) for x, y in (a, middle, b)], 1.1, opacity=0.55)
    pen.shine([(side * 29, -97), (side * 33, -106)], 2.2)


def _halo(pen: Pen) -> None:
  ring = [canvas.ellipse(0, -108, 40, 12.5), canvas.ellipse(0, -108, 30, 6.8)]
  for grow, opacity in ((7, 0.16), (4, 0.22)):
    pen.fill(
      canvas.ellipse(0, -108, 40 + grow, 12.5 + grow),
      canvas.ellipse(0, -108, 30 - 0.9 * grow, max(6.8 - 0.9 * grow, 0.5)),
      color="#fff3b0",
      opacity=opacity,
      holes=True,
    )
  pen.piece(*ring, holes=True, width=1.4)
  pen.shine([(-33, -111), (-20, -117), (-4, -118.5)], 2.0)


def _bow(pen: Pen) -> None:
  x, y, tilt = 27.0, -81.0, 18
  dark = palette.outline(pen.color)

  def place(curve: canvas.Curve) -> canvas.Curve:
    c, s = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    return curve @ np.array([[c, s], [-s, c]]) + np.array([x, y])

  for side in (-1, 1):
    tail = canvas.spline(
      [
        (side * 2, 2),
        (side * 12, 24),
        (side * 17, 20),
        (side * 22, 22),
        (side * 8, 2),
      ],
      closed=True,
      corners=range(5),
    )
    pen.piece(place(tail), color=palette.shade(pen.color, -0.12))
  for side in (-1, 1):
    loop = canvas.spline(
      [
        (0, 0),
        (side * 15, -15),
        (side * 28, -14),
        (side * 29, 9),
        (side * 16, 13),
      ],
      closed=True,
      corners=[0],
    )
    pen.piece(place(loop), shade=(0, -4))
    crease = canvas.brush([(side * 5, -0.5), (side * 17, -2.5)], [3, 0])
    pen.fill(place(crease), color=dark, opacity=0.7)
    glint = canvas.brush(
      [(side * 14, -10.5), (side * 20, -12), (side * 25, -9)], [0, 2, 0]
    )
    pen.fill(place(glint), color="#ffffff", opacity=0.55)
  pen.piece(
    place(canvas.ellipse(0, 0, 6.6, 7.8)), color=palette.shade(pen.color, 0.12)
  )


def _flowers(pen: Pen) -> None:
  for x, y, angle in ((-66, -44, 200), (-25, -92, 330), (-62, -66, 235)):
    leaf = canvas.spline(
      [(0, 0), (9, -5), (19, 0), (9, 5)], closed=True, corners=(0, 2)
    )
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    placed = leaf @ np.array([[c, s], [-s, c]])
    pen.piece(placed + np.array([0.88 * x, 0.92 * y]), color="#6fb57c")
  blooms = (
    (-54, -55, 15, "#fdfaf5", GOLD, 10),
    (-23, -84, 11, palette.shade(pen.color, 0.35), "#f5cf4d", 40),
    (-40, -74, 17, pen.color, "#fbe59a", 0),
  )
  for x, y, radius, color, middle, angle in blooms:
    for k in range(5):
      bearing = math.radians(72 * k - 90 + angle)
      petal = canvas.ellipse(
        x + 0.62 * radius * math.cos(bearing),
        y + 0.62 * radius * math.sin(bearing),
        0.58 * radius,
        0.46 * radius,
        72 * k - 90 + angle,
      )
      pen.piece(petal, color=color, width=1.3)
    pen.piece(canvas.ellipse(x, y, 0.34 * radius), color=middle, width=1.2)


_TOP = ("head_top", "over_hair")
EARS: dict[str, Design] = {
  "cat_ears": Design(_cat_ears, *_TOP, (-66, -150, 132), "#4a4450"),
  "bunny_ears": Design(
    _bunny_ears, "head_top", "behind_head", (-66, -176, 132), "#f7f2ee"
  ),
  "bear_ears": Design(
    _bear_ears, "head_top", "behind_head", (-66, -140, 132), "#a8714a"
  ),
  "fox_ears": Design(_fox_ears, *_TOP, (-72, -160, 144), "#e8873f"),
  "horns": Design(_horns, *_TOP, (-66, -140, 132), "#c8404a"),
  "halo": Design(_halo, "above", "over_hair", (-60, -150, 120), "#f7d65c"),
  "flowers": Design(_flowers, *_TOP, (-90, -130, 110), "#f2a3bd", sided=True),
  "bow": Design(_bow, *_TOP, (-30, -140, 110), "#e8607c", sided=True),
}
