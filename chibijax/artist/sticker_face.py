"""Glasses and what else lies on the face, as stickers."""

import numpy as np

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Curve, Number, Point
from chibijax.artist.sticker_pen import (
  GOLD,
  Design,
  Pen,
  heart,
  star,
)

_GLASS = "#e8f6ff"


def _lens(
  pen: Pen, lens: Curve, *, tint: tuple[str, str] | None, width: Number
) -> None:
  """One lens with its rim and two stripes of glare."""
  placed = pen.place(lens)
  scene = pen.scene
  if tint is None:
    scene.draw(placed, fill=_GLASS, opacity=0.16)
  else:
    fill = scene.gradient([(0, tint[0]), (1, tint[1])])
    scene.draw(placed, fill=fill, opacity=0.92)
  low, high = lens.reshape(-1, 2).min(0), lens.reshape(-1, 2).max(0)
  middle, extent = (low + high) / 2, high - low
  with scene.clip(placed):
    for offset, thick in ((-0.2, 0.13), (0.02, 0.05)):
      a = middle + extent * np.array([offset + 0.3, -0.6])
      b = middle + extent * np.array([offset - 0.24, 0.6])
      wide = thick * float(extent[0])
      pen.fill(
        canvas.brush([tuple(a), tuple(b)], [wide, wide]),
        color="#ffffff",
        opacity=0.22 if tint is None else 0.30,
      )
  dark = palette.outline(pen.color)
  scene.draw(placed, stroke=dark, width=(width + 1.2) * pen.scale)
  scene.draw(placed, stroke=pen.color, width=(width - 0.6) * pen.scale)


def _glasses(
  pen: Pen,
  lens: Curve,
  *,
  inner: Number,
  outer: Number,
  tint: tuple[str, str] | None = None,
  width: Number = 2.6,
  level: Number = -3.0,
) -> None:
  """A pair of glasses from the viewer's right lens.

  Args:
    pen: draws.
    lens: outline around (22, 0).
    inner: where the bridge meets the lens.
    outer: where the temple meets it.
    tint: upper and lower colour of dark lenses.
    width: of the rim.
    level: height of bridge and temples.
  """
  dark = palette.outline(pen.color)
  bars = [[(-inner, level), (0, level - 4.5), (inner, level)]]
  for side in (-1, 1):
    bars.append([(side * outer, level), (side * 49, level - 1.5)])
  for extra, color in ((1.2, dark), (-0.6, pen.color)):
    curves = [
      canvas.brush(bar, [width - 0.2 + extra] * len(bar)) for bar in bars
    ]
    pen.fill(*curves, color=color)
  for side in (-1, 1):
    shape = lens if side > 0 else canvas.mirror(lens)
    _lens(pen, shape, tint=tint, width=width)


def _round_glasses(pen: Pen) -> None:
  _glasses(pen, canvas.ellipse(22, 0.5, 18, 17.5), inner=4, outer=40)


def _rectangle(drop: Number) -> Curve:
  return canvas.spline(
    [
      (5.5, -12.5),
      (22, -14),
      (39, -12.5),
      (40.5, 0),
      (36.5, drop * 13.5),
      (22, drop * 15),
      (8.5, drop * 13.5),
      (4.3, 0),
    ],
    closed=True,
    roundness=1.0,
  )


def _square_glasses(pen: Pen) -> None:
  _glasses(pen, _rectangle(1.05), inner=4.6, outer=40.4, width=3.2)


def _sunglasses(pen: Pen) -> None:
  _glasses(
    pen,
    _rectangle(1.0),
    inner=4.6,
    outer=40.4,
    tint=("#1f1f2b", "#5d5878"),
    width=3.0,
    level=-6.0,
  )


def _heart_glasses(pen: Pen) -> None:
  tint = (palette.shade(pen.color, 0.1), palette.shade(pen.color, 0.55))
  _glasses(
    pen,
    heart(22, -1, 19, 0, 1.02),
    inner=4.5,
    outer=40,
    tint=tint,
    level=-7.0,
  )


def _star_glasses(pen: Pen) -> None:
  tint = (palette.shade(pen.color, 0.1), palette.shade(pen.color, 0.6))
  lens = star(22, 0.5, 21.5, inner=0.56)
  _glasses(pen, lens, inner=8.0, outer=36, tint=tint, level=-5.0)


def _monocle(pen: Pen) -> None:
  chain: list[Point] = [(37, 9), (44, 30), (40, 52), (49, 72)]
  dark = palette.outline(pen.color)
  dense = canvas.sample(canvas.spline(chain), 15)
  beads = [canvas.ellipse(float(x), float(y), 1.5) for x, y in dense]
  pen.fill(canvas.brush(chain, [1.0] * 4), color=dark)
  pen.piece(*beads, width=0.8)
  _lens(pen, canvas.ellipse(22, 0, 18), tint=None, width=3.2)
  pen.piece(canvas.ellipse(37.5, 10.5, 2.6), width=1.1)


def _blush(pen: Pen) -> None:
  for side in (-1, 1):
    fill = pen.scene.gradient(
      [(0, pen.color + "d0"), (0.55, pen.color + "90"), (1, pen.color + "00")],
      vector=(0.5, 0.5, 0.5),
    )
    pen.scene.draw(pen.place(canvas.ellipse(side * 32, 28, 15, 10)), fill=fill)
    for k in (-1, 0, 1):
      x = side * 32 + 6.5 * k
      pen.line(
        [(x + 2, 24), (x - 2, 32)],
        1.5,
        color=palette.shade(pen.color, -0.12),
        opacity=0.75,
        taper=False,
      )


def _drop(x: Number, y: Number, size: Number, angle: Number = 0.0) -> Curve:
  """A drop of water; (x, y) is the centre of its round part."""
  shape = canvas.spline(
    [(0, -2.1), (0.8, -0.4), (0.95, 0.3), (0, 1), (-0.95, 0.3), (-0.8, -0.4)],
    closed=True,
    corners=[0],
  )
  c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
  return shape * size @ np.array([[c, s], [-s, c]]) + np.array([x, y])


def _tear(pen: Pen) -> None:
  pen.piece(_drop(26, 26, 6.4), shade=(1.6, -1.6), width=1.2)
  pen.fill(canvas.ellipse(23.7, 26.5, 1.4, 2.4, 15), color="#ffffff")
  pen.piece(_drop(30, 43, 3.4), shade=(1, -1), width=1.1)
  pen.fill(canvas.ellipse(28.9, 43.2, 0.8, 1.2, 15), color="#ffffff")


def _sweat_drop(pen: Pen) -> None:
  pen.piece(_drop(55, -24, 9, 14), shade=(2.4, -2.2), width=1.4)
  pen.fill(canvas.ellipse(51.6, -23, 1.9, 3.6, 20), color="#ffffff")


def _anger_mark(pen: Pen) -> None:
  # Four bent strokes around a centre, as comics draw a swollen vein.
  for k in range(4):
    c, s = np.cos(np.pi / 2 * k), np.sin(np.pi / 2 * k)
    curve = canvas.brush(
      [(-3.2, -13), (-3.6, -5.4), (-5.4, -3.6), (-13, -3.2)],
      [2.2, 4.4, 4.4, 2.2],
    )
    placed = curve @ np.array([[c, s], [-s, c]]) + np.array([40, -52])
    pen.piece(placed, width=1.3)


def _bandage(pen: Pen) -> None:
  def place(curve: Curve) -> Curve:
    c, s = np.cos(np.radians(-24)), np.sin(np.radians(-24))
    return curve @ np.array([[c, s], [-s, c]]) * 0.85 + np.array([29, 29])

  body = canvas.spline(
    [
      (-16, -5.6),
      (0, -6),
      (16, -5.6),
      (19, 0),
      (16, 5.6),
      (0, 6),
      (-16, 5.6),
      (-19, 0),
    ],
    closed=True,
    roundness=1.0,
  )
  pen.piece(place(body), shade=(0, -2), width=1.3)
  pad = canvas.spline(
    [(-6.5, -5.6), (6.5, -5.6), (6.5, 5.6), (-6.5, 5.6)],
    closed=True,
    corners=range(4),
  )
  pen.piece(place(pad), color=palette.shade(pen.color, 0.5), width=0.9)
  dots = [
    canvas.ellipse(x, y, 0.75)
    for x in (-13.5, -10.2, 10.2, 13.5)
    for y in (-2.4, 2.4)
  ]
  pen.fill(
    *[place(d) for d in dots], color=palette.outline(pen.color), opacity=0.6
  )


def _moustache(pen: Pen) -> None:
  for side in (-1, 1):
    knots = [
      (-0.6, 47),
      (7, 45),
      (15, 50),
      (23, 51),
      (28, 45),
      (26, 55),
      (16, 58.5),
      (6, 56),
      (-0.6, 53),
    ]
    half = canvas.spline(
      [(side * x, y) for x, y in knots], closed=True, corners=[4]
    )
    pen.piece(half, shade=(0, -2.2), width=1.3)
  for side in (-1, 1):
    pen.line(
      [(side * 4, 50.5), (side * 12, 52.5), (side * 20, 54)],
      1.1,
      color=palette.shade(pen.color, 0.3),
      opacity=0.6,
    )


def _medical_mask(pen: Pen) -> None:
  line = palette.outline(pen.color)
  for side in (-1, 1):
    for points in (
      [(side * 44, 34), (side * 49, 22), (side * 51, 6)],
      [(side * 39, 66), (side * 48, 46), (side * 52, 14)],
    ):
      pen.fill(canvas.brush(points, [2.6] * 3), color=line)
      pen.fill(canvas.brush(points, [1.2] * 3), color="#fdfaf5")
  body = canvas.spline(
    [
      (0, 19),
      (20, 25),
      (45, 33),
      (44, 52),
      (37, 70),
      (20, 84),
      (0, 89),
      (-20, 84),
      (-37, 70),
      (-44, 52),
      (-45, 33),
      (-20, 25),
    ],
    closed=True,
    corners=[2, 10],
  )
  pen.piece(body, shade=(0, -5))
  for y, half in ((43, 38), (54, 37), (65, 33)):
    pen.line(
      [(-half, y - 1), (0, y + 4), (half, y - 1)],
      1.3,
      opacity=0.5,
    )
  pen.line(
    [(-17, 28.5), (0, 23.5), (17, 28.5)],
    2.0,
    color="#ffffff",
    opacity=0.85,
    taper=False,
  )


_EYES = ("eyes", "under_hair")
_CHEEK = ("cheeks", "under_hair")
_VIEW = (-56, -56, 112)
FACE: dict[str, Design] = {
  "round_glasses": Design(_round_glasses, *_EYES, _VIEW, "#6b4f3a"),
  "square_glasses": Design(_square_glasses, *_EYES, _VIEW, "#34343d"),
  "heart_glasses": Design(_heart_glasses, *_EYES, _VIEW, "#ee5f83"),
  "star_glasses": Design(_star_glasses, *_EYES, _VIEW, "#f0b52f"),
  "sunglasses": Design(_sunglasses, *_EYES, _VIEW, "#2b2b33"),
  "monocle": Design(_monocle, *_EYES, (-10, -24, 104), GOLD, sided=True),
  "blush": Design(_blush, *_CHEEK, (-52, -24, 104), "#f2718c"),
  "tear": Design(_tear, *_CHEEK, (8, 6, 46), "#7cc4f2", sided=True),
  "bandage": Design(_bandage, *_CHEEK, (6, 4, 50), "#f0c08c", sided=True),
  "moustache": Design(
    _moustache, "mouth", "under_hair", (-32, 20, 64), "#4a3028"
  ),
  "medical_mask": Design(
    _medical_mask, "jaw", "under_hair", (-58, -6, 116), "#a8d8e8"
  ),
  "sweat_drop": Design(
    _sweat_drop, "forehead", "over_hair", (36, -58, 50), "#8fd0f5", sided=True
  ),
  "anger_mark": Design(
    _anger_mark, "forehead", "over_hair", (22, -70, 36), "#e8434f", sided=True
  ),
}
