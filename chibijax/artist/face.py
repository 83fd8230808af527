"""The chibi's head outline, ears, brows, nose and mouth, with their landmarks.

Coordinates are head units (see `pose`).
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from chibijax.artist import canvas, palette
from chibijax.artist.attributes import Attributes
from chibijax.artist.canvas import Curve, Number, Scene
from chibijax.artist.colors import Colors
from chibijax.artist.expressions import EXPRESSIONS, Expression
from chibijax.artist.pose import Pose

Points = Float[np.ndarray, "n 2"]

LINE = 9.0  # width of an outline
EAR_LEVEL = 70.0

# Half widths at cheek and jaw relative to the temple, jaw height, chin height
# and half width of the chin.
_FACE_SHAPES = {
  "oval": (0.97, 0.66, 252.0, 320.0, 0.30),
  "round": (1.02, 0.76, 246.0, 312.0, 0.38),
  "square": (0.98, 0.82, 248.0, 314.0, 0.46),
  "heart": (0.95, 0.56, 250.0, 326.0, 0.20),
  "long": (0.95, 0.67, 268.0, 336.0, 0.30),
}


@dataclasses.dataclass(frozen=True)
class Face:
  """Shared measures of one chibi face.

  Attributes:
    attributes: the character.
    expression: its row of `EXPRESSIONS`.
    colors: base colours of everything, none missing but the brows'.
    soft: whether it is drawn with the finer shading of `soft`.
    skin: shades of its skin colour.
    width: half width of the head at the temples.
    chin: height of the chin.
    outline: closed head outline, clockwise from the top.
    eye_x, eye_y: centre of the viewer's right eye.
    eye_rx, eye_ry: half width and half height of a fully open eye.
  """

  attributes: Attributes
  expression: Expression
  colors: Colors
  soft: bool
  skin: dict[str, str]
  width: Number
  chin: Number
  outline: Curve
  eye_x: Number
  eye_y: Number
  eye_rx: Number
  eye_ry: Number

  @classmethod
  def of(
    cls,
    attributes: Attributes,
    colors: Colors | None = None,
    *,
    soft: bool = False,
  ) -> "Face":
    """Measures the face that the attributes describe.

    Args:
      attributes: the character.
      colors: exact colours in place of the attributes' words.
      soft: see the class.
    """
    a = attributes
    resolved = (colors or Colors()).resolve(a)
    width = 300 * (1 + 0.05 * a.face_width)
    cheek, jaw, jaw_y, chin, chin_width = _FACE_SHAPES[a.face_shape]
    right = [
      (0.56 * width, -282),
      (0.90 * width, -150),
      (width, 10),
      (cheek * width, 132),
      (jaw * width, jaw_y),
      (0.5 * chin_width * width, chin - 6),
    ]
    left = [(-x, y) for x, y in reversed(right)]
    knots = [(0.0, -330.0), *right, (0.0, chin), *left]
    baby = {"child": 0.08, "young": 0.03}.get(a.age, 0.0)
    size = 1 + 0.09 * a.eye_size + baby
    return cls(
      attributes=a,
      expression=EXPRESSIONS[a.expression],
      colors=resolved,
      soft=soft,
      skin=palette.skin_shades(resolved.skin),
      width=width,
      chin=chin,
      outline=canvas.spline(knots, closed=True),
      eye_x=(139 + 9 * a.eye_spacing) * (1 + 0.03 * a.face_width),
      eye_y=96.0,
      eye_rx=84 * size,
      eye_ry=101 * size,
    )

  def jaw(self, pose: Pose) -> Points:
    """Landmarks 0..16 on the placed outline, viewer's left to right."""
    # The outline runs clockwise, so the jaw is cut out and reversed.
    placed = pose.head(self.outline, 0.35)
    lower = placed[3:11]
    return canvas.sample(lower, 17)[::-1]


def draw_ears(scene: Scene, pose: Pose, face: Face) -> None:
  """Draws both ears, behind the head."""
  ears, inside = [], []
  for side in (-1, 1):
    ear = canvas.ellipse(side * (face.width + 4), EAR_LEVEL + 22, 44, 62)
    inner = canvas.ellipse(side * (face.width + 14), EAR_LEVEL + 24, 22, 36)
    ears.append(pose.head(ear, -0.6))
    inside.append(pose.head(inner, -0.6))
  scene.draw(
    *ears,
    fill=face.skin["base"],
    stroke=face.skin["line"],
    width=LINE,
    label="skin",
  )
  scene.draw(*inside, fill=face.skin["shadow"])


def draw_head(
  scene: Scene, pose: Pose, face: Face, fringe: Curve | None
) -> Curve:
  """Draws the skin of the head with its soft shading, blush and freckles.

  Args:
    scene: receives the shapes.
    pose: placement.
    face: measures.
    fringe: placed front hair that throws a shadow, if there is any.

  Returns:
    The placed outline.
  """
  skin = face.skin
  outline = pose.head(face.outline, 0.35)
  side = -1 if face.attributes.light_azimuth > 0 else 1
  # Light on the forehead and the near cheek, most needed by dark skin.
  much = 0.35 if face.soft else 1
  lit = scene.gradient(
    [
      (0, palette.mix(skin["base"], skin["light"], 0.62 * much)),
      (0.5, palette.mix(skin["base"], skin["light"], 0.32 * much)),
      (1, skin["base"]),
    ],
    vector=(0.5 - 0.08 * side, 0.48, 0.5),
  )
  scene.draw(outline, fill=lit, label="skin")
  with scene.clip(outline):
    # A crescent away from the light: the head minus the head moved.
    away = min(1.0, abs(face.attributes.light_azimuth) / 60)
    lift = 4 + 20 * math.sin(math.radians(face.attributes.light_elevation))
    shift = np.array([-side * (16 + 26 * away), -lift])
    moved = outline + shift * pose.scale
    scene.draw(outline, moved, holes=True, fill=skin["shadow"], opacity=0.75)
    if fringe is not None:
      moved = fringe + np.array([side * 8, 24]) * pose.scale
      scene.draw(moved, fill=skin["shadow"], opacity=0.9)
    draw_cheeks(scene, pose, face)
  scene.draw(outline, stroke=skin["line"], width=LINE)
  return outline


def draw_cheeks(scene: Scene, pose: Pose, face: Face) -> None:
  """Draws blush and freckles, and the laugh lines of the old."""
  a = face.attributes
  strength = min(1.0, a.blush * 0.75 + face.expression.blush)
  if a.blush == 0 and face.expression.blush == 0:
    strength = 0.0
  color = face.skin["blush"]
  x, y = face.eye_x + 62, face.eye_y + 118
  if strength > 0:
    soft = scene.gradient(
      [(0, color + "ff"), (0.55, color + "b0"), (1, color + "00")],
      vector=(0.5, 0.5, 0.5),
    )
    dashes = []
    for side in (-1, 1):
      spot = canvas.ellipse(side * x, y, 66, 40)
      scene.draw(pose.head(spot), fill=soft, opacity=0.35 + 0.6 * strength)
      for k in (-1, 0, 1):
        middle = side * x + 22 * k
        dash = [(middle + 7, y - 13), (middle - 7, y + 13)]
        dashes.append(pose.head(canvas.brush(dash, [5, 5])))
    if strength > 0.55:
      dark = palette.mix(color, face.skin["lip"], 0.7)
      scene.draw(*dashes, fill=dark, opacity=0.6)
  if a.freckles > 0:
    dot = palette.mix(face.skin["feature"], "#8a4b2a", 0.4)
    spots = [(-46, -16), (-22, 2), (-2, -20), (16, 6), (36, -14), (-30, 24)]
    marks = [
      pose.head(canvas.ellipse(side * (x - 26 + dx), y - 14 + dy, 6))
      for side in (-1, 1)
      for dx, dy in spots[: 3 + round(3 * a.freckles)]
    ]
    scene.draw(*marks, fill=dot, opacity=0.45 + 0.4 * a.freckles)
  if a.age == "senior":
    lines = []
    for side in (-1, 1):
      under = [
        (side * (face.eye_x - 46), y - 26),
        (side * (face.eye_x - 16), y - 14),
        (side * (face.eye_x + 22), y - 16),
      ]
      fold = [(side * 62, y - 8), (side * 84, y + 12), (side * 86, y + 36)]
      lines += [
        pose.head(canvas.brush(under, [0, 6, 0])),
        pose.head(canvas.brush(fold, [0, 7, 0])),
      ]
    scene.draw(*lines, fill=face.skin["feature"], opacity=0.55)


def brow_points(face: Face, side: int) -> list[tuple[Number, Number]]:
  """Centre line of one brow from its inner to its outer end.

  Args:
    face: measures.
    side: -1 for the viewer's left, 1 for the right.
  """
  a, e = face.attributes, face.expression
  arch, tilt = {
    "soft": (18, 0),
    "straight": (4, 2),
    "arched": (32, -4),
    "thick": (16, 2),
    "thin": (24, 0),
    "angled": (12, -14),
  }[a.brow_shape]
  y = face.eye_y - face.eye_ry - 40 - 9 * a.brow_height
  inner, outer = e.brow
  if side > 0:
    y -= e.brow_skew
  x0, x1 = face.eye_x - 58, face.eye_x + 66
  points = []
  for k in range(5):
    t = k / 4
    rise = inner * (1 - t) + outer * t - tilt * (t - 0.5)
    rise += arch * 4 * t * (1 - t) * (0.75 + 0.5 * t)
    points.append((side * (x0 + (x1 - x0) * t), y + 8 - rise))
  return points


def draw_brows(
  scene: Scene, pose: Pose, face: Face, color: str, *, over: bool
) -> Points:
  """Draws both brows.

  Args:
    scene: receives the shapes.
    pose: placement.
    face: measures.
    color: fill.
    over: whether this is the faint copy that shows through the fringe.

  Returns:
    Landmarks 17..26 on the centre lines of the brows, left to right.
  """
  thick = {"thick": 30, "thin": 13, "soft": 20}.get(
    face.attributes.brow_shape, 22
  )
  landmarks, shapes = [], []
  for side in (-1, 1):
    points = brow_points(face, side)
    widths = [0.75 * thick, thick, thick, 0.75 * thick, 0.2 * thick]
    shapes.append(pose.head(canvas.brush(points, widths)))
    landmarks.append(pose.head(np.array(points[::side])))
  scene.draw(
    *shapes,
    fill=color,
    opacity=0.55 if over else 1.0,
    label=None if over else "other",
  )
  return np.concatenate(landmarks)


def draw_nose(scene: Scene, pose: Pose, face: Face) -> Points:
  """Draws a small button nose.

  Returns:
    Landmarks 27..35: down the bridge, then along the base.
  """
  scale = 1 + 0.22 * face.attributes.nose_size
  y = face.eye_y + 86
  half = 17 * scale
  knots = [
    (-half, y - 3),
    (-0.5 * half, y + 6 * scale),
    (0.0, y + 8 * scale),
    (0.5 * half, y + 6 * scale),
    (half, y - 3),
  ]
  scene.draw(
    pose.head(canvas.brush(knots, [3, 9, 11, 9, 3]), 1.15),
    fill=face.skin["feature"],
    label="skin",
  )
  shine = canvas.ellipse(-3, y - 14 * scale, 8 * scale, 5.5 * scale)
  scene.draw(pose.head(shine, 1.15), fill=face.skin["light"], opacity=0.85)
  top = face.eye_y - 24
  bridge = np.linspace((0, top), (0, y - 8), 4)
  return np.concatenate(
    [pose.head(bridge, 1.1), pose.head(np.array(knots), 1.15)]
  )


def draw_extras(scene: Scene, pose: Pose, face: Face) -> None:
  """Draws a tear or a drop of sweat where the expression has one."""
  kind = face.expression.extra
  if kind == "none":
    return
  if kind == "tear":
    x, y, size = face.eye_x + 0.35 * face.eye_rx, face.eye_y + 128, 21
  else:
    x, y, size = face.width - 62, -38, 24
  drop = canvas.spline(
    [
      (x, y - 1.9 * size),
      (x + 0.95 * size, y + 0.2 * size),
      (x, y + size),
      (x - 0.95 * size, y + 0.2 * size),
    ],
    closed=True,
    corners=[0],
  )
  scene.draw(
    pose.head(drop, 0.9),
    fill=scene.gradient([(0, "#dff3ff"), (1, "#7cc4f2")]),
    stroke="#3f86b8",
    width=5,
    label="other",
  )
  scene.draw(
    pose.head(canvas.ellipse(x - 0.3 * size, y, 5, 8), 0.9), fill="#ffffff"
  )
