"""The chibi's hair in front of the face: cap, fringe, locks, shine.

Coordinates are head units (see `pose`). Outer edges do not slide with the pose;
the fringe does.
"""

import math

import numpy as np

from chibijax.artist import canvas
from chibijax.artist.canvas import Curve, Number, Point
from chibijax.artist.hair_short import SpecialHair
from chibijax.artist.soft import shine_hair

FRONT = 0.55  # depth of the front hair

# Styles pulled back so tightly that a bare fringe shows the whole hairline.
_SHORT = (
  "crop",
  "side_part",
  "slick_back",
  "undercut",
  "spiky",
  "short_curls",
)


class FrontHair(SpecialHair):
  """Draws cap, fringe, side locks and extras in front of the face."""

  def draw(self) -> None:
    """Draws cap, fringe, side locks and extras in front of the face."""
    if self.style == "bald" and not (self.hidden or self.hat):
      self._shine_on_scalp()
    if self.hidden or self.style == "bald":
      return
    special = {
      "buzz": self._front_buzz,
      "mohawk": self._front_mohawk,
      "undercut": self._front_undercut,
      "afro": self._front_afro,
    }.get(self.style)
    if special is not None:
      special()
      self.flush()
      return
    outer = self._outer()
    if not self.hat:
      self._tufts()
    inner, valleys = self._parted()
    ends = outer[-1, 3], inner[0][0, 0], inner[-1][-1, 3], outer[0, 0]
    # Rounded tips of the side hair close the outline.
    right = _tip(ends[0], ends[1])
    left = _tip(ends[2], ends[3])
    shape = canvas.join(outer, right, *inner, left)
    placed = self.shape(shape, FRONT)
    self._shade(placed)
    self._flow(valleys)
    if self.curled:
      self._curls()
    if self.style == "braids":
      self._front_braids()
    self.flush()

  def shadow(self) -> Curve | None:
    """The placed front hair, for its shadow on the face; None without one."""
    if self.hidden or self.style in (
      "bald",
      "buzz",
      "mohawk",
      "afro",
      "undercut",
    ):
      return None
    inner, _ = self._parted()
    w = self.face.width
    lid = np.array(
      [[inner[-1][-1, 3], (-1.3 * w, -500), (1.3 * w, -500), inner[0][0, 0]]]
    )
    return self.pose.head(canvas.join(*inner, lid), FRONT)

  def _silhouette(self) -> list[Point]:
    """Outer edge of the front hair, from low left over the top to low right."""
    w, v, low = self.face.width, self.volume, self.low
    half = [
      (-(w + 0.55 * v), low),
      (-(w + 0.95 * v), 0.35 * low - 60),
      (-(0.93 * w + v), -170),
      (-(0.66 * w + 0.8 * v), -292 - 0.45 * v),
      (-(0.30 * w + 0.3 * v), -340 - 0.85 * v),
    ]
    return [*half, (0, -346 - v), *((-x, y) for x, y in reversed(half))]

  def _tips(self) -> list[tuple[Number, Number, Number, Number]]:
    """Locks of the fringe from the viewer's right to the left.

    Returns:
      (tip x, tip y, valley x, valley y) per lock, the valley being the one on
      its left; x in units of the half width, y in head units.
    """
    return {
      "straight": [
        (0.80, 12, 0.64, -66),
        (0.52, 18, 0.38, -58),
        (0.26, 22, 0.12, -56),
        (0.0, 24, -0.14, -56),
        (-0.27, 22, -0.40, -58),
        (-0.53, 18, -0.65, -66),
        (-0.80, 12, -0.95, -60),
      ],
      "side_swept": [
        (0.84, 26, 0.50, -196),
        (0.10, -40, 0.06, -96),
        (-0.26, 6, -0.28, -66),
        (-0.58, 32, -0.60, -40),
        (-0.88, 66, -0.97, -30),
      ],
      "curtain": [
        (0.90, 84, 0.74, -22),
        (0.60, 14, 0.03, -232),
        (-0.60, 14, -0.74, -22),
        (-0.90, 84, -0.98, -30),
      ],
      "wispy": [
        (0.86, 30, 0.62, -130),
        (0.46, -24, 0.38, -140),
        (0.20, 16, 0.08, -142),
        (-0.10, 20, -0.16, -146),
        (-0.36, -20, -0.50, -140),
        (-0.86, 30, -0.97, -60),
      ],
      "choppy": [
        (0.88, 50, 0.70, -80),
        (0.56, -10, 0.46, -100),
        (0.20, 30, 0.14, -92),
        (-0.12, -16, -0.20, -96),
        (-0.40, 34, -0.50, -84),
        (-0.70, -6, -0.76, -66),
        (-0.90, 56, -0.98, -40),
      ],
    }[self.fringe]

  def _parted(self) -> tuple[list, list[Point]]:
    """`_inner`, mirrored where the hair parts on the viewer's left."""
    inner, valleys = self._inner()
    if self.parting >= 0:
      return inner, valleys
    flipped = [canvas.mirror(c)[::-1, ::-1] for c in reversed(inner)]
    return flipped, [(-x, y) for x, y in valleys]

  def _inner(self) -> tuple[list, list[Point]]:
    """The inner edge as cubic segments from right to left, and the valleys."""
    w = self.face.width
    low = self.low
    start = (0.93 * w, low)
    end = (-0.93 * w, low)
    if self.fringe == "none" and self.parting:
      # Combed over from the parting: high beside it, low at the far temple.
      top = -236 if self.style in _SHORT else -206
      knots = [
        start,
        (0.90 * w, min(low - 60, -20)),
        (0.79 * w, -140),
        (0.52 * w, top + 4),
        (0.40 * w, top - 14),
        (0.12 * w, top + 36),
        (-0.34 * w, top + 84),
        (-0.74 * w, -100),
        (-0.90 * w, min(low - 60, -20)),
        end,
      ]
      valleys = [(0.40 * w, top), (0.12 * w, top + 40), (-0.34 * w, top + 84)]
      return [canvas.spline(knots, corners=[4])], valleys
    if self.fringe == "none":
      top = -236 if self.style in _SHORT else -206
      knots = [
        start,
        (0.90 * w, min(low - 60, -20)),
        (0.74 * w, -150),
        (0.36 * w, top),
        (0.0, top + 22),
        (-0.36 * w, top),
        (-0.74 * w, -150),
        (-0.90 * w, min(low - 60, -20)),
        end,
      ]
      return [canvas.spline(knots)], [(0.36 * w, top), (-0.36 * w, top)]
    lift = {"side_part": 44}.get(self.style, 26 if self.style in _SHORT else 0)
    segments = []
    # The side lock comes down from the temple and back up to the fringe.
    x, y = 0.90 * w, -60.0
    sx, sy = start
    segments.append((sx, sy, 0.90 * w, sy - 50, 0.86 * w, 10, x, y))
    valleys = []
    for tx, ty, vx, vy in self._tips():
      tx, ty, vx, vy = tx * w, ty - lift, vx * w, vy - lift
      segments.append(
        (
          x,
          y,
          x + 4,
          y + 0.55 * (ty - y),
          tx + 0.22 * (x - tx),
          ty - 0.22 * (ty - y),
          tx,
          ty,
        )
      )
      segments.append(
        (
          tx,
          ty,
          tx + 0.3 * (vx - tx),
          ty - 0.3 * (ty - vy),
          vx + 0.06 * (tx - vx),
          vy + 0.55 * (ty - vy),
          vx,
          vy,
        )
      )
      valleys.append((vx, vy))
      x, y = vx, vy
    ex, ey = end
    segments.append((x, y, -0.86 * w, 10, -0.90 * w, ey - 50, ex, ey))
    return [np.array(segments).reshape(-1, 4, 2)], valleys[:-1]

  def _crown(self) -> Point:
    """Where the strands come from."""
    w = self.face.width
    part = {"side_swept": 0.40, "curtain": 0.02}.get(self.fringe, 0.0)
    if self.style == "side_part":
      part = 0.45
    if self.parting:
      part = 0.5 * self.parting
    return part * w, -330 - 0.5 * self.volume

  def _tufts(self) -> None:
    """Draws the flicks at the ends of a pixie cut."""
    if self.style != "pixie":
      return
    w = self.face.width
    for side in (-1, 1):
      points = [
        (side * (w - 6), 40),
        (side * (w + 24), 96),
        (side * (w + 74), 118),
      ]
      self.shape(canvas.brush(points, [64, 46, 0]), 0.0)

  def _outer(self) -> Curve:
    """Outer edge of the front hair, with spikes or curls where it has them."""
    knots = self._silhouette()
    if self.style == "spiky" and not self.hat:
      w, v = self.face.width, self.volume
      spikes = [knots[0], (-(w + 20), -60)]
      corners = [1]
      count = 9
      for k in range(count):
        angle = math.radians(-78 + 156 * k / (count - 1))
        reach = 1.0 + 0.05 * (k % 2)
        x, y = math.sin(angle), -math.cos(angle)
        spikes.append(
          ((w + 118) * reach * x + 26, (346 + v + 92) * reach * y + 20)
        )
        corners.append(len(spikes) - 1)
        if k < count - 1:
          middle = math.radians(-78 + 156 * (k + 0.42) / (count - 1))
          spikes.append(
            ((w + 26) * math.sin(middle), -(346 + 0.4 * v) * math.cos(middle))
          )
          corners.append(len(spikes) - 1)
      spikes += [(w + 20, -60), knots[-1]]
      corners.append(len(spikes) - 2)
      return canvas.spline(spikes, corners=corners)
    if self.curled and not self.hat:
      w = self.face.width
      bumps = self.cloud(w + 84, 392, -20, 9, -1.75, 1.75)
      if self.style == "short_curls":
        bumps = self.cloud(w + 34, 374, -6, 9, -1.5, 1.5)
      return canvas.spline(
        bumps, corners=range(0, len(bumps), 2), roundness=1.5
      )
    if self.style == "crop" and self.face.attributes.headwear == "none":
      # A cowlick on the crown.
      _, top = knots[5]
      knots[5:6] = [(4, top), (64, top - 46), (48, top + 6)]
      return canvas.spline(knots, corners=[6, 7])
    return canvas.spline(knots)

  def _shade(self, placed: Curve) -> None:
    """Draws the shadow on the lower sides and the band of shine."""
    side = -1 if self.face.attributes.light_azimuth > 0 else 1
    away = np.array([side * 40, 30]) * self.pose.scale
    if self.face.soft:
      ring = None if self.curled or self.style == "locs" else self._ring(side)
      shine_hair(self.scene, placed, ring, self.colors, away)
      return
    with self.scene.clip(placed):
      moved = placed - away
      self.scene.draw(
        placed, moved, holes=True, fill=self.colors["shadow"], opacity=0.55
      )
      if not (self.curled or self.style == "locs"):
        self.scene.draw(
          self._ring(side), fill=self.colors["light"], opacity=0.62
        )

  def _ring(self, side: int) -> Curve:
    """The placed band of shine, ragged below; `side` is that of the shadow."""
    w, v = self.face.width, self.volume
    shift = -side * 30
    top, low = -262 - 0.3 * v, -216 - 0.2 * v
    band = []
    count = 8
    reach = 0.62 * w
    for k in range(count + 1):
      x = -reach + 2 * reach * k / count
      bow = 62 * (x / reach) ** 2
      band.append((x + shift, top + bow))
    for k in range(count, -1, -1):
      x = -reach + 2 * reach * k / count
      bow = 66 * (x / reach) ** 2
      edge = 26 if k % 2 else -6
      if k in (0, count):
        edge = -34
      band.append((x + shift, low + bow + edge))
    shine = canvas.spline(
      band, closed=True, corners=range(count + 1, 2 * count + 2)
    )
    return self.pose.head(shine, FRONT)

  def _flow(self, valleys: list[Point]) -> None:
    """Draws strands from the crown to the valleys between the locks."""
    if self.curled:
      return
    cx, cy = self._crown()
    if self.style == "locs":
      w = self.face.width
      for k in range(-3, 4):
        x = 0.27 * w * k
        self.strand(
          [(0.45 * x, cy + 10), (0.85 * x, -290), (x, -215)], 9, FRONT
        )
      return
    for vx, vy in valleys:
      start = (cx + 0.30 * (vx - cx), cy + 34 + 0.05 * abs(vx - cx))
      middle = (cx + 0.86 * (vx - cx), 0.5 * (start[1] + vy) - 8)
      reach = 0.25 if self.fringe != "none" else 0.0
      top = (
        start[0] + (vx - start[0]) * reach,
        start[1] + (vy - start[1]) * reach,
      )
      self.strand([(vx, vy), middle, top], 12, FRONT)
    w, v = self.face.width, self.volume
    if self.fringe == "none":
      for x in (-0.62, -0.2, 0.14, 0.56):
        y = -222 + 150 * x * x
        self.strand(
          [
            (x * w, y),
            (cx + 0.8 * (x * w - cx), 0.5 * (y + cy)),
            (cx + 0.45 * (x * w - cx), cy + 40),
          ],
          10,
          FRONT,
        )
    for side in (-1, 1):
      self.strand(
        [
          (side * (w + 0.1 * v), 0.7 * self.low - 20),
          (side * (0.95 * w + 0.2 * v), -110),
          (side * 0.80 * w, -215),
        ],
        10,
        FRONT,
      )


def _tip(start: np.ndarray, end: np.ndarray) -> Curve:
  """A rounded cut between two ends of an outline."""
  drop = np.array([0.0, 16.0])
  return np.array([[start, start + drop, end + drop, end]])
