"""Hats as stickers. They sit on the line across the forehead at y = -38."""

import math

import numpy as np

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Number
from chibijax.artist.sticker_pen import (
  GOLD,
  Design,
  Pen,
  star,
  symmetric,
)

_FUR = "#fbf7f0"


def _dome(brim: Number, top: Number, half: Number) -> canvas.Curve:
  """A cap over the skull; its lower edge arches up in the middle."""
  side = [
    (-half, brim),
    (-0.97 * half, 0.62 * brim + 0.38 * top),
    (-0.66 * half, 0.16 * brim + 0.84 * top),
  ]
  arch = [(0.5 * half, brim - 9), (0, brim - 12), (-0.5 * half, brim - 9)]
  knots = [*symmetric([*side, (0, top)]), *arch]
  return canvas.spline(knots, closed=True, corners=[0, 6])


def _cap(pen: Pen) -> None:
  pen.piece(_dome(-37, -97, 57), shade=(5, -6))
  for x in (-25, 25):
    pen.line([(x, -51), (0.95 * x, -72), (0.35 * x, -95)], 1.3, opacity=0.7)
  pen.piece(canvas.ellipse(0, -97.5, 4.4, 2.8))
  pen.fill(star(0, -72, 9), color="#fdfaf5")
  low = [(-53, -37), (-33, -47), (0, -52), (33, -47), (53, -37)]
  brim = [*low, (47, -26), (25, -32), (0, -34), (-25, -32), (-47, -26)]
  pen.piece(
    canvas.spline(brim, closed=True),
    color=palette.shade(pen.color, -0.10),
    shade=(0, -3.5),
  )


def _beanie(pen: Pen) -> None:
  pen.piece(_dome(-36, -99, 58), shade=(5, -6))
  for x in (-34, -17, 0, 17, 34):
    pen.line([(x, -54), (0.94 * x, -72), (0.5 * x, -96)], 1.4, opacity=0.7)
  pom = [
    (
      (13.0 if k % 2 else 11.2) * math.sin(k * math.pi / 9),
      -107 - (13.0 if k % 2 else 11.2) * math.cos(k * math.pi / 9),
    )
    for k in range(18)
  ]
  pen.piece(canvas.spline(pom, closed=True), color=_FUR, shade=(3, -3))
  outer = [(-59.5, -29), (-59, -46), (-30, -59), (0, -62)]
  inner = [(30, -42), (0, -45), (-30, -42)]
  cuff = canvas.spline([*symmetric(outer), *inner], closed=True)
  pen.piece(cuff, color=palette.shade(pen.color, 0.22), shade=(3, -3))
  for k in range(-4, 5):
    x = 12.6 * k
    y = -62 + 13 * (k / 4.4) ** 2
    pen.line(
      [(x, y + 4), (1.01 * x, y + 9), (1.02 * x, y + 13)], 1.4, opacity=0.6
    )


def _party_hat(pen: Pen) -> None:
  cone = canvas.spline(
    [(-31, -60), (0, -146), (31, -60), (15, -67), (0, -69), (-15, -67)],
    closed=True,
    corners=[0, 1, 2],
  )
  pen.piece(cone, shade=(7, -2))
  placed = pen.place(cone)
  with pen.scene.clip(placed):
    colors = ("#fff6d8", "#86bdeb", "#9ad9bd")
    spots = [(-17, -73), (9, -80), (-5, -98), (23, -68), (5, -117), (0, -131)]
    for k, (x, y) in enumerate(spots):
      pen.fill(canvas.ellipse(x, y, 5.2 - 0.3 * k), color=colors[k % 3])
  pen.scene.draw(
    placed,
    stroke=palette.outline(pen.color),
    width=1.6 * pen.scale,
  )
  for k in range(7):
    x = 31 * (k / 3 - 1)
    y = -63 - 7 * (1 - (x / 31) ** 2)
    pen.piece(canvas.ellipse(x, y, 5.4), color="#f5cf4d", width=1.2)
  pom = [
    (
      (11.5 if k % 2 else 7.6) * math.sin(k * math.pi / 8),
      -148 - (11.5 if k % 2 else 7.6) * math.cos(k * math.pi / 8),
    )
    for k in range(16)
  ]
  pen.piece(canvas.spline(pom, closed=True, roundness=0.8), color="#f5cf4d")


def _crown(pen: Pen) -> None:
  knots = [(-40, -66)]
  for k in range(5):
    x = -43 + 21.5 * k
    bow = 5 * (1 - (x / 43) ** 2)
    knots.append((1.04 * x, (-101 if k % 2 == 0 else -97) - bow))
    if k < 4:
      knots.append((x + 10.75, -82 - bow))
  knots += [(40, -66), (20, -60), (0, -58), (-20, -60)]
  shape = canvas.spline(knots, closed=True, corners=range(11))
  pen.piece(shape, shade=(5, -5))
  pen.line(
    [(-38, -71), (-19, -66), (0, -64), (19, -66), (38, -71)],
    1.3,
    color=palette.outline(pen.color),
    opacity=0.55,
  )
  gems = ("#4a78c9", "#d9484c", "#4a78c9")
  for x, gem in zip((-22, 0, 22), gems):
    y = -73.5 + 0.0035 * -x * x
    pen.piece(canvas.ellipse(x, y, 4.2, 5), color=gem, width=1.2)
    pen.fill(canvas.ellipse(x - 1.3, y - 1.8, 1.1), color="#ffffff")
  for k in (0, 2, 4):
    x = -43 + 21.5 * k
    y = -102 - 5 * (1 - (x / 43) ** 2)
    pen.piece(canvas.ellipse(1.04 * x, y, 3.6), width=1.2)
  pen.shine([(-33, -77), (-31, -84)], 2.4)


def _brim(pen: Pen, half: Number, color: str | None = None) -> None:
  """A round brim seen from a little above."""
  pen.piece(
    canvas.spline(
      [
        (-half, -44),
        (-0.62 * half, -57),
        (0, -62),
        (0.62 * half, -57),
        (half, -44),
        (0.66 * half, -35),
        (0, -41),
        (-0.66 * half, -35),
      ],
      closed=True,
    ),
    color=color,
    shade=(0, -4),
  )


def _wizard_hat(pen: Pen) -> None:
  _brim(pen, 80)
  cone = canvas.spline(
    [
      (-50, -55),
      (-31, -98),
      (-10, -142),
      (24, -163),
      (34, -154),
      (22, -140),
      (33, -98),
      (50, -55),
      (26, -62),
      (0, -65),
      (-26, -62),
    ],
    closed=True,
    corners=[0, 4, 7],
  )
  pen.piece(cone, shade=(7, -3))
  pen.line([(24, -143), (12, -141), (4, -134)], 1.6)
  band = [(-50.5, -55), (-26, -63), (0, -66), (26, -63), (50.5, -55)]
  top = [(46, -67), (25, -74), (0, -77), (-25, -74), (-46, -67)]
  pen.piece(
    canvas.spline([*band, *top], closed=True, corners=[0, 4, 5, 9]), color=GOLD
  )
  for x, y, r, a in ((-14, -96, 8, -8), (15, -113, 6, 14), (-2, -131, 4, 0)):
    pen.fill(star(x, y, r, angle=a), color="#fbe59a")
  pen.fill(star(24, -86, 5, angle=20), color="#fbe59a")


def _santa_hat(pen: Pen) -> None:
  body = canvas.spline(
    [
      (-54, -50),
      (-46, -84),
      (-20, -112),
      (22, -116),
      (56, -92),
      (68, -58),
      (56, -52),
      (44, -72),
      (52, -50),
      (26, -62),
      (0, -65),
      (-26, -62),
    ],
    closed=True,
    corners=[0, 7, 8],
  )
  pen.piece(body, shade=(5, -8))
  pen.line([(44, -72), (36, -84), (22, -93)], 2.0)
  pen.line([(30, -101), (20, -105), (8, -104)], 1.4, opacity=0.7)
  fluffy = []
  count = 9
  for k in range(count):
    x = -58 + 116 * k / (count - 1)
    y = -45 - 14 * (1 - (x / 58) ** 2)
    fluffy.append(canvas.ellipse(x, y, 9.5, 9.5))
  _fluff(pen, fluffy)
  ball = [
    canvas.ellipse(62 + 6.5 * math.cos(a), -50 + 6.5 * math.sin(a), 7.5)
    for a in np.linspace(0, 2 * math.pi, 7)[:-1]
  ]
  _fluff(pen, ball)


def _fluff(pen: Pen, balls: list[canvas.Curve]) -> None:
  """White fur: circles that share one outline."""
  placed = [pen.place(b) for b in balls]
  line = palette.shade(palette.outline(_FUR), 0.15)
  pen.scene.draw(*placed, stroke=line, width=3.2 * pen.scale, fill=line)
  pen.scene.draw(*placed, fill="#dfd9da")
  lift = np.array([0, -2.2]) * pen.scale
  with pen.scene.clip(*placed):
    pen.scene.draw(*[p + lift for p in placed], fill=_FUR)


def _top_hat(pen: Pen) -> None:
  _brim(pen, 70)
  tube = canvas.spline(
    [
      (-43, -56),
      (-44, -90),
      (-48, -122),
      (-24, -128),
      (0, -129),
      (24, -128),
      (48, -122),
      (44, -90),
      (43, -56),
      (22, -61),
      (0, -62),
      (-22, -61),
    ],
    closed=True,
    corners=[0, 2, 6, 8],
  )
  pen.piece(tube, shade=(6, 0))
  band = [(-43, -56), (-22, -61), (0, -62), (22, -61), (43, -56)]
  top = [(43.5, -72), (22, -76), (0, -77), (-22, -76), (-43.5, -72)]
  pen.piece(
    canvas.spline([*band, *top], closed=True, corners=[0, 4, 5, 9]),
    color="#d9484c",
  )
  pen.shine([(-37, -84), (-38, -100), (-40, -114)], 3.0)


def _straw_hat(pen: Pen) -> None:
  _brim(pen, 84)
  for k in range(-5, 6):
    x = 12.5 * k
    y = -38 - 2 * math.cos(x / 40)
    pen.line([(x, y - 1), (1.10 * x, y + 3 - 0.09 * abs(x))], 1.1, opacity=0.35)
  dome = canvas.spline(
    [
      (-47, -55),
      (-45, -80),
      (-31, -101),
      (0, -108),
      (31, -101),
      (45, -80),
      (47, -55),
      (24, -61),
      (0, -63),
      (-24, -61),
    ],
    closed=True,
    corners=[0, 6],
  )
  pen.piece(dome, shade=(6, -3))
  with pen.scene.clip(pen.place(dome)):
    for level in (-74, -87, -98):
      pen.line(
        [(-50, level + 7), (0, level), (50, level + 7)],
        1.1,
        opacity=0.4,
        taper=False,
      )
    for x in (-36, -18, 0, 18, 36):
      pen.line([(x, -66), (0.8 * x, -90), (0.4 * x, -108)], 0.9, opacity=0.3)
  band = [(-47, -55), (-24, -61), (0, -63), (24, -61), (47, -55)]
  top = [(46.5, -66), (24, -73), (0, -75), (-24, -73), (-46.5, -66)]
  pen.piece(
    canvas.spline([*band, *top], closed=True, corners=[0, 4, 5, 9]),
    color="#d9484c",
  )


def _graduation_cap(pen: Pen) -> None:
  skull = canvas.spline(
    [
      (-51, -39),
      (-50, -66),
      (-30, -84),
      (0, -88),
      (30, -84),
      (50, -66),
      (51, -39),
      (26, -50),
      (0, -53),
      (-26, -50),
    ],
    closed=True,
    corners=[0, 6],
  )
  pen.piece(skull, color=palette.shade(pen.color, -0.12), shade=(5, -8))
  board = canvas.spline(
    [(-76, -90), (0, -116), (76, -90), (0, -66)],
    closed=True,
    corners=range(4),
  )
  edge = canvas.polygon(
    [(-76, -90), (0, -66), (76, -90), (76, -85), (0, -60), (-76, -85)]
  )
  pen.piece(edge, color=palette.shade(pen.color, -0.25))
  pen.piece(board)
  pen.shine([(-58, -91), (-30, -100), (-10, -106)], 1.8)
  pen.line([(0, -92), (34, -86), (60, -82)], 1.8, color=GOLD, taper=False)
  pen.line([(60, -82), (62, -66), (61, -54)], 1.8, color=GOLD, taper=False)
  tassel = canvas.spline(
    [(58, -56), (64, -56), (67, -38), (61, -36), (55, -38)],
    closed=True,
    corners=[0, 1, 2, 4],
  )
  pen.piece(tassel, color=GOLD, width=1.3)
  pen.piece(canvas.ellipse(61, -56, 4), color=GOLD, width=1.3)
  pen.piece(canvas.ellipse(0, -92, 4, 2.6), color=GOLD, width=1.2)


_HAT = ("head_top", "over_hair")
HATS: dict[str, Design] = {
  "cap": Design(_cap, *_HAT, (-66, -130, 132), "#d9484c"),
  "beanie": Design(_beanie, *_HAT, (-66, -140, 132), "#4a78c9"),
  "party_hat": Design(_party_hat, *_HAT, (-66, -166, 132), "#f2a3bd"),
  "crown": Design(_crown, *_HAT, (-66, -140, 132), GOLD),
  "wizard_hat": Design(_wizard_hat, *_HAT, (-88, -186, 176), "#6a5bb8"),
  "santa_hat": Design(_santa_hat, *_HAT, (-82, -160, 164), "#d9484c"),
  "top_hat": Design(_top_hat, *_HAT, (-84, -170, 168), "#3f3f4d"),
  "straw_hat": Design(_straw_hat, *_HAT, (-92, -170, 184), "#ecc672"),
  "graduation_cap": Design(_graduation_cap, *_HAT, (-84, -160, 168), "#34436f"),
}
