"""The chibi's facial hair, glasses and earrings.

Coordinates are head units (see `pose`).
"""

import numpy as np

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Curve, Number, Scene
from chibijax.artist.face import LINE, Face
from chibijax.artist.hair import hair_colors
from chibijax.artist.pose import Pose

GOLD = "#f2c14e"
_LENS = 0.10  # opacity of clear lenses


class Wear:
  """Draws what a character wears on the head.

  Args:
    scene: receives the shapes.
    pose: placement.
    face: measures of the head.
  """

  def __init__(self, scene: Scene, pose: Pose, face: Face) -> None:
    self.scene = scene
    self.pose = pose
    self._folds: list[Curve] = []
    self._fold_color = ""
    self.face = face
    self.color = face.colors.headwear
    self.accent = face.colors.accent

  def piece(
    self, curve: Curve, color: str, depth: Number = 0.0, width: Number = LINE
  ) -> Curve:
    """Draws one outlined piece and returns it placed."""
    self.flush()
    placed = self.pose.head(curve, depth)
    self.scene.draw(
      placed,
      fill=color,
      stroke=palette.outline(color),
      width=width,
      label="other",
    )
    return placed

  def crease(
    self, points: list, color: str, width: Number, depth: Number = 0.0
  ) -> None:
    """Adds a fold line of a piece of this colour, drawn by `flush`."""
    widths = [0.3 * width] + [width] * (len(points) - 2) + [0.0]
    self._fold_color = palette.outline(color)
    self._folds.append(self.pose.head(canvas.brush(points, widths), depth))

  def flush(self) -> None:
    """Draws the folds added since the last piece as one path."""
    if self._folds:
      self.scene.draw(*self._folds, fill=self._fold_color, opacity=0.7)
      self._folds.clear()

  def draw_beard(self) -> None:
    """Draws facial hair; the mouth is drawn over it."""
    kind = self.face.attributes.facial_hair
    if kind == "none":
      return
    colors = hair_colors(self.face.colors.beard)
    fill = palette.mix(colors["base"], self.face.skin["line"], 0.12)
    w, chin, y = self.face.width, self.face.chin, self.face.eye_y + 136
    if kind in ("stubble", "full_beard"):
      top = y - 26 if kind == "full_beard" else y - 20
      grow = 16 if kind == "full_beard" else -4
      half = [
        (0.985 * w + 0.3 * grow, 60),
        (0.96 * w + 0.5 * grow, 150),
        (0.66 * w + grow, 252 + 0.5 * grow),
        (0.28 * w, chin + grow),
      ]
      edge = [*half, (0, chin + 1.3 * grow)]
      edge += [(-x, v) for x, v in reversed(half)]
      inside = [
        (-0.84 * w, 120),
        (-0.62 * w, y - 14),
        (-0.30 * w, top),
        (0, top + 10),
        (0.30 * w, top),
        (0.62 * w, y - 14),
        (0.84 * w, 120),
      ]
      shape = canvas.spline(edge + inside, closed=True, corners=[0, 8])
      placed = self.pose.head(shape, 0.6)
      if kind == "stubble":
        inside_head = self.pose.head(self.face.outline, 0.35)
        with self.scene.clip(inside_head):
          self.scene.draw(placed, fill=colors["line"], opacity=0.20)
        return
      self.scene.draw(
        placed, fill=fill, stroke=colors["line"], width=8, label="other"
      )
      for x in (-0.5, -0.25, 0.0, 0.25, 0.5):
        bottom = chin - 4 - 70 * x * x
        line = canvas.brush(
          [(x * w, bottom), (0.92 * x * w, bottom - 42)], [9, 0]
        )
        self.scene.draw(
          self.pose.head(line, 0.6), fill=colors["line"], opacity=0.6
        )
      self._skin_around_mouth(y)
      return
    if kind == "goatee":
      shape = canvas.spline(
        [
          (-62, y + 56),
          (0, y + 50),
          (62, y + 56),
          (50, chin - 6),
          (0, chin + 26),
          (-50, chin - 6),
        ],
        closed=True,
        corners=[0, 2],
      )
      self.scene.draw(
        self.pose.head(shape, 0.75),
        fill=fill,
        stroke=colors["line"],
        width=8,
        label="other",
      )
    self._moustache(y, fill, colors["line"])

  def _skin_around_mouth(self, y: Number) -> None:
    """Leaves room for the mouth in a full beard."""
    half = max(44.0, 0.5 * self.face.expression.width + 14)
    low = max(26.0, 0.80 * self.face.expression.lower_lip + 18)
    spot = canvas.spline(
      [
        (-half, y - 6),
        (0, y - 26),
        (half, y - 6),
        (0.6 * half, y + low),
        (-0.6 * half, y + low),
      ],
      closed=True,
    )
    self.scene.draw(
      self.pose.head(spot), fill=self.face.skin["base"], label="skin"
    )

  def _moustache(self, y: Number, fill: str, line: str) -> None:
    y -= 32 if self.face.soft else 20
    for side in (-1, 1):
      half = canvas.spline(
        [
          (side * -3, y - 12),
          (side * 36, y - 15),
          (side * 74, y + 4),
          (side * 92, y - 8),
          (side * 70, y + 26),
          (side * 26, y + 16),
          (side * -3, y + 8),
        ],
        closed=True,
        corners=[3],
      )
      self.scene.draw(
        self.pose.head(half), fill=fill, stroke=line, width=6, label="other"
      )

  def draw_glasses(self) -> None:
    """Draws glasses over the eyes."""
    kind = self.face.attributes.glasses
    if kind == "none":
      return
    f = self.face
    x, y = f.eye_x, f.eye_y + 4
    frame = {
      "round": "#5b4636",
      "square": "#2f2f38",
      "cat_eye": "#a8325a",
      "half_rim": "#3c4a6b",
      "sunglasses": "#26262c",
    }[kind]
    dark = palette.oklab(f.colors.skin)[0] < 0.4
    if f.soft and dark:
      # Dark frames would vanish on dark skin.
      frame = palette.shade(frame, 0.34)
    rx, ry = 124.0, 118.0
    if kind == "round":
      lens = canvas.ellipse(x, y, rx, ry)
    elif kind == "cat_eye":
      lens = canvas.spline(
        [
          (x - 104, y - 66),
          (x + 40, y - 92),
          (x + 148, y - 118),
          (x + 116, y + 40),
          (x + 10, y + 96),
          (x - 96, y + 44),
        ],
        closed=True,
        corners=[2],
      )
    else:
      drop = 0.86 if kind == "sunglasses" else 0.92
      lens = canvas.spline(
        [
          (x - 102, y - 84),
          (x, y - 92),
          (x + 106, y - 84),
          (x + 118, y),
          (x + 92, y + drop * 92),
          (x, y + 100),
          (x - 86, y + drop * 92),
          (x - 110, y),
        ],
        closed=True,
        roundness=1.0,
      )
    for side in (-1, 1):
      placed = self.pose.head(canvas.mirror(lens) if side < 0 else lens, 1.1)
      self._draw_lens(kind, placed, frame, side)
    bridge = canvas.brush(
      [(-(x - 108), y - 12), (0, y - 30), (x - 108, y - 12)], [13, 12, 13]
    )
    self.scene.draw(self.pose.head(bridge, 1.1), fill=frame, label="other")
    for side in (-1, 1):
      arm = canvas.brush(
        [(side * (x + 112), y - 22), (side * (f.width + 2), y - 26)], [13, 11]
      )
      self.scene.draw(self.pose.head(arm, 0.9), fill=frame, label="other")

  def _draw_lens(self, kind: str, lens: Curve, frame: str, side: int) -> None:
    if kind == "sunglasses":
      tint = self.scene.gradient([(0, "#1f1f2b"), (1, "#55506e")])
      self.scene.draw(lens, fill=tint, label="other", opacity=0.94)
    else:
      self.scene.draw(lens, fill="#e8f6ff", opacity=_LENS)
    low, high = lens.reshape(-1, 2).min(0), lens.reshape(-1, 2).max(0)
    middle, extent = (low + high) / 2, high - low
    with self.scene.clip(lens):
      for offset, thick in ((-0.18, 0.12), (0.02, 0.05)):
        a = middle + extent * np.array([offset + 0.28, -0.6])
        b = middle + extent * np.array([offset - 0.22, 0.6])
        thick = thick * extent[0]
        glare = canvas.brush([tuple(a), tuple(b)], [thick, thick])
        self.scene.draw(
          glare, fill="#ffffff", opacity=0.13 if kind != "sunglasses" else 0.25
        )
    if kind == "half_rim":
      # Only the upper half has a rim.
      count = len(lens)
      upper = np.concatenate([lens[count - 1 :], lens[:3]])
      self.scene.draw(
        upper,
        stroke=frame,
        width=19 * self.pose.scale,
        closed=False,
        label="other",
      )
      self.scene.draw(lens, stroke=frame, width=4 * self.pose.scale)
    else:
      self.scene.draw(
        lens, stroke=frame, width=16 * self.pose.scale, label="other"
      )

  def draw_earrings(self) -> None:
    """Draws earrings on the lobes."""
    kind = self.face.attributes.earrings
    if kind == "none" or self.face.attributes.headwear == "hijab":
      return
    for side in (-1, 1):
      x, y = side * (self.face.width + 16), 150.0
      if kind == "stud":
        self.piece(canvas.ellipse(x, y - 6, 15), GOLD, -0.6, 6)
      elif kind == "hoop":
        ring = self.pose.head(canvas.ellipse(x, y + 30, 32, 38), -0.6)
        for color, width in ((palette.outline(GOLD), 20), (GOLD, 10)):
          self.scene.draw(
            ring, stroke=color, width=width * self.pose.scale, label="other"
          )
      else:
        drop = canvas.spline(
          [(x, y), (x + 19, y + 48), (x, y + 68), (x - 19, y + 48)],
          closed=True,
          corners=[0],
        )
        self.piece(drop, "#7fb6e8", -0.6, 6)
        self.piece(canvas.ellipse(x, y - 6, 10), GOLD, -0.6, 5)
