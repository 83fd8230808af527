"""Hair styles of a portrait: their numbers, and the outlines they consist of.

Coordinates are face units (`portrait_canvas`). Point lists are written as text,
"u v, u v, ...", as in SVG; they describe the viewer's right where a shape is
symmetric.
"""

import dataclasses
import functools

import numpy as np

from chibijax.artist.attributes import Attributes
from chibijax.artist.portrait_canvas import (
  Points,
  ellipse,
  mirror,
  spline,
  stroke,
)
from chibijax.artist.portrait_geometry import Face

Outlines = list[Points]


@dataclasses.dataclass(frozen=True)
class Style:
  """What makes a hair style.

  Attributes:
    top: thickness over the crown.
    side: thickness at the sides, above the ears.
    length: how far down the hair in front of the shoulders reaches (v), 0 for
      hair that ends at the sideburns.
    back: reach of the hair behind the body (v), 0 for none.
    spread: half width of long hair at its end.
    flow: "fall" from the crown, "part", "back", "up" or "curl".
    curl: amplitude of the waves of the strands.
    rough: raggedness of the outline.
    part: where the hair parts (u).
    extra: what else is drawn: tails, buns, ...
    opacity: below 1, the scalp shows.
  """

  top: float = 0.14
  side: float = 0.07
  length: float = 0.0
  back: float = 0.0
  spread: float = 1.15
  flow: str = "fall"
  curl: float = 0.0
  rough: float = 0.35
  part: float = 0.12
  extra: str = ""
  opacity: float = 1.0


STYLES = {
  "crop": Style(0.17, 0.05, rough=0.6),
  "bald": Style(opacity=0.0),
  "buzz": Style(0.035, 0.015, flow="curl", rough=0.1, opacity=0.72),
  "pixie": Style(0.20, 0.10, rough=0.7, part=-0.3),
  "side_part": Style(0.20, 0.05, flow="part", part=0.48, rough=0.3),
  "slick_back": Style(0.15, 0.06, flow="back", rough=0.15),
  "undercut": Style(0.26, 0.015, flow="part", part=0.5, rough=0.5),
  "spiky": Style(0.24, 0.06, flow="up", rough=0.9, extra="spikes"),
  "mohawk": Style(
    0.02, 0.01, flow="up", rough=0.7, extra="mohawk", opacity=0.3
  ),
  "bob": Style(0.19, 0.17, 1.25, 1.30, 1.28),
  "long_straight": Style(0.16, 0.13, 2.75, 2.9, 1.32),
  "long_wavy": Style(0.20, 0.20, 2.6, 2.9, 1.55, curl=0.075, rough=0.6),
  "ponytail": Style(0.12, 0.05, flow="back", rough=0.2, extra="ponytail"),
  "twin_tails": Style(0.14, 0.06, part=0.0, rough=0.25, extra="tails"),
  "bun": Style(0.12, 0.05, flow="back", rough=0.2, extra="bun"),
  "space_buns": Style(0.14, 0.06, part=0.0, rough=0.25, extra="space_buns"),
  "braids": Style(0.13, 0.06, part=0.0, rough=0.2, extra="braids"),
  "curly": Style(0.26, 0.36, 1.15, 1.3, 1.45, "curl", 0.12, 0.9),
  "afro": Style(0.56, 0.60, 0.35, 0.75, 1.5, "curl", 0.1, 0.8),
  "locs": Style(0.17, 0.14, 0.0, 1.9, 1.25, curl=0.02, rough=0.2, extra="locs"),
  "short_curls": Style(0.19, 0.06, flow="curl", curl=0.12, rough=0.9),
  "wavy_bob": Style(0.20, 0.20, 1.3, 1.35, 1.36, curl=0.075, rough=0.6),
  "long_curls": Style(0.28, 0.36, 2.4, 2.7, 1.6, "curl", 0.12, 0.9),
}

BRAID_TOP, BRAID_STEP = 0.35, 0.25


@functools.lru_cache(maxsize=64)
def _read(text: str) -> Points:
  """Points written as "u v, u v, ..."."""
  return np.array([pair.split() for pair in text.split(",")], np.float32)


def _closed(text: str) -> Points:
  return spline(_read(text), closed=True, steps=5)


# From the middle of the forehead to the sideburn.
_HAIRLINE = (
  "0 -1.10, .34 -1.09, .62 -.98, .80 -.74, .86 -.42, .935 -.20, .945 .06"
)

_FRINGES = {
  "straight": (
    "-.90 -.35, -.84 -1, -.3 -1.4, .3 -1.4, .84 -1, .90 -.35, .62 -.42,"
    ".3 -.37, 0 -.40, -.3 -.36, -.62 -.42",
  ),
  "side_swept": (
    ".40 -1.40, .42 -1.05, .12 -.66, -.36 -.46, -.86 -.22, -.95 -.45,"
    "-.86 -1, -.3 -1.45",
    ".40 -1.40, .44 -1.08, .66 -.80, .90 -.40, .95 -.7, .80 -1.15",
  ),
  "curtain": (
    ".02 -1.42, .05 -1.10, .26 -.78, .55 -.45, .88 -.02, .98 -.35, .90 -.95,"
    ".5 -1.4",
    "-.02 -1.42, -.05 -1.10, -.26 -.78, -.55 -.45, -.88 -.02, -.98 -.35,"
    "-.90 -.95, -.5 -1.4",
  ),
  # Curls crowd onto the forehead, whatever the fringe is called.
  "curls": (
    "-.84 -.5, -.45 -.74, 0 -.84, .45 -.72, .84 -.5, .84 -1.2, -.84 -1.2",
  ),
}
# Tips of separate locks, and their half width.
_LOCKS = {
  "wispy": (
    "-.62 -.42, -.40 -.5, -.16 -.38, .08 -.52, .30 -.42, .58 -.5",
    0.10,
  ),
  "choppy": (
    "-.70 -.46, -.50 -.62, -.32 -.48, -.10 -.66, .12 -.50, .34 -.68, .56 -.54,"
    ".76 -.62",
    0.17,
  ),
}


def cap(face: Face, style: Style) -> Points:
  """Outline of the hair on the skull, down to the hairline."""
  right = _read(_HAIRLINE).copy()
  right[:, 0] *= np.interp(right[:, 1], [-1, 0], [1.0, face.half_width.max()])
  if face.masculine > 0.5 and face.aged > 0.5:
    # The hairline recedes at the temples.
    right[1:4, 1] -= np.array([0.10, 0.17, 0.06], np.float32)
  if style.length:
    right = right[:-1]
  end = float(right[-1, 1])
  keep = (face.rows <= end) & (np.arange(len(face.rows)) % 4 == 0)
  rows, half = face.rows[keep], face.half_width[keep]
  # Thickness grows from the sideburn to the crown.
  t = np.clip((end - rows) / (end + 1.65), 0, 1)
  thick = style.side * np.clip(t * 5, 0.12, 1)
  thick += (style.top - style.side) * t**1.5
  flat = np.clip(half, 0, 1)
  outer = [half + thick * flat, rows - thick * (1 - flat**2) * 1.15]
  outer = np.stack(outer, 1).astype(np.float32)
  line = spline(right)
  return np.concatenate(
    [outer, line[::-1], mirror(line)[1:], mirror(outer)[::-1]]
  )


def _blend(a: float, b: float, t: float) -> float:
  return a + (b - a) * t


def curtains(face: Face, style: Style, a: Attributes) -> Outlines:
  """Hair that hangs beside the face, before ears and shoulders."""
  edge = float(face.half_width.max()) + style.side
  inner = 0.80 if a.fringe == "curtain" else 0.88
  low, spread = style.length, style.spread
  right = [
    (0.30, -1.55),
    (0.78, -1.38),
    (edge * 0.95, -0.85),
    (edge * 1.02, -0.2),
    (_blend(edge, spread, 0.5), low * 0.5),
    (spread, low * 0.88),
    (spread - 0.16, low),
    (max(1.02, spread - 0.42), low * 0.97),
    (0.98, low * 0.72),
    (0.99, 0.55),
    (0.93, 0.1),
    (inner, -0.45),
    (0.72, -0.85),
    (0.40, -1.15),
  ]
  shape = spline(right, closed=True)
  return [shape, mirror(shape)]


def fringe(kind: str, style: Style) -> Outlines:
  """Hair on the forehead."""
  if kind == "none" or (style.flow == "back" and not style.extra):
    return []
  if style.flow == "curl":
    kind = "curls"
  if kind in _FRINGES:
    return [_closed(text) for text in _FRINGES[kind]]
  text, width = _LOCKS[kind]
  out = []
  for u, v in _read(text).tolist():
    root = u * 0.82 + 0.05
    lock = [
      (root - width, -1.25),
      (u - 0.6 * width, -0.85),
      (u, v),
      (u + 0.7 * width, -0.8),
      (root + width, -1.25),
    ]
    out.append(spline(lock, closed=True, steps=4))
  return out


def behind(style: Style, face: Face) -> Outlines:
  """Hair behind head and body, with tails and buns."""
  out: Outlines = []
  if style.back:
    edge = float(face.half_width.max()) + style.side
    low, spread = style.back, style.spread
    right = [
      (0.0, -1.65),
      (0.75, -1.4),
      (edge, -0.5),
      (_blend(edge, spread, 0.6), low * 0.5),
      (spread, low * 0.9),
      (spread * 0.6, low),
    ]
    half = spline(right)
    out.append(np.concatenate([half, mirror(half)[::-1]]))
  if style.extra == "ponytail":
    out.append(
      _closed(
        ".45 -1.45, .95 -1.35, 1.42 -.7, 1.52 .3, 1.40 1.3, 1.22 1.75,"
        "1.1 1.2, 1.08 .2, .98 -.6"
      )
    )
  elif style.extra == "tails":
    tail = _closed(
      ".98 -.75, 1.35 -.85, 1.72 -.35, 1.82 .6, 1.66 1.6, 1.46 2.15,"
      "1.30 1.5, 1.28 .5, 1.12 -.2"
    )
    out += [tail, mirror(tail)]
  elif style.extra == "bun":
    out.append(ellipse(0.0, -1.86, 0.44, 0.34))
  elif style.extra == "space_buns":
    out += [ellipse(s * 0.72, -1.64, 0.36, 0.34) for s in (-1, 1)]
  return out


def in_front(style: Style) -> Outlines:
  """Braids, locs, spikes and crests."""
  if style.extra == "braids":
    right = []
    for k in range(9):
      u = 1.10 + 0.035 * k - 0.003 * k * k
      v = BRAID_TOP + BRAID_STEP * (k + 0.6)
      right.append(ellipse(u, v, 0.17 - 0.006 * k, 0.17, 16))
    return right + [mirror(shape) for shape in right]
  if style.extra == "locs":
    right = []
    for k in range(9):
      root, out = 0.10 + 0.10 * k, 0.93 + 0.055 * k
      path = [(root, -1.62), (0.62 + 0.07 * k, -1.18 + 0.02 * k)]
      path += [(out, -0.3), (out + 0.03, 0.7)]
      path += [(out - 0.02, 1.85 - 0.07 * abs(k - 3))]
      right.append(stroke(spline(path, steps=8), 0.088, 0.8, 0.7))
    return right + [mirror(shape) for shape in right]
  if style.extra == "spikes":
    return [_spike(k) for k in range(11)]
  if style.extra == "mohawk":
    return [_crest(k) for k in range(9)]
  return []


def _spike(k: int) -> Points:
  angle = -np.pi / 2 + (k - 5) * 0.27
  c, n = np.cos(angle), np.sin(angle)
  reach = 1.30 + 0.09 * ((k * 7) % 4)
  root = np.array([0.82 * c, -0.72 + 0.95 * n])
  across = np.array([-n, c]) * 0.24
  tip = np.array([c * reach * 0.92 + 0.08, -0.72 + n * reach])
  rise = tip - root
  left = [root - across, root + 0.55 * rise - 0.55 * across]
  right = [root + 0.6 * rise + 0.5 * across, root + across]
  return np.stack([*left, tip, *right]).astype(np.float32)


def _crest(k: int) -> Points:
  u = (k - 4) * 0.055
  tip = (u * 2.3, -2.16 + 0.07 * abs(k - 4) + 0.10 * (k % 2))
  left = [(u - 0.10, -1.08 - 0.02 * (k % 3)), (u * 1.4 - 0.12, -1.7)]
  right = [(u * 1.4 + 0.12, -1.7), (u + 0.10, -1.08)]
  return np.array([*left, tip, *right], np.float32)


def cloud(style: Style) -> tuple[Outlines, Outlines]:
  """Curls: a ring and two side masses before the face, a mass behind."""
  line = spline(_read(_HAIRLINE)[:5])
  out, low = 1.05 + style.side, style.length
  t = np.linspace(np.pi - 0.2, 2 * np.pi + 0.2, 32)
  arc = np.stack(
    [out * np.cos(t), (1.08 + style.top) * np.sin(t) - 0.62], 1
  ).astype(np.float32)
  ring = np.concatenate([arc, line[::-1], mirror(line)[1:]])
  side = [(0.80, -0.8), (1.3, -1.0), (out, -0.35), (out + 0.04, low * 0.45)]
  side += [(out - 0.12, low * 0.9), (1.12, low), (0.98, low * 0.6)]
  side += [(0.95, low * 0.2), (0.92, -0.2), (0.86, -0.45)]
  mass = spline(side, closed=True)
  rear = [ellipse(0.0, -0.62, out, 1.08 + style.top, 40)]
  if low > 0.6:
    rear.append(ellipse(0.0, 0.1, out, low, 32))
  return [ring, mass, mirror(mass)], rear
