"""The chibi's eyes.

Coordinates are head units (see `pose`). An eye is drawn for the viewer's right
and mirrored for the left, except for iris and highlights, which follow gaze and
light. Landmarks lie on the lid curves that also bound the white of the eye.
"""

import numpy as np
from jaxtyping import Float

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Curve, Number, Scene
from chibijax.artist.face import Face
from chibijax.artist.pose import Pose
from chibijax.artist.soft import light_eyes

# Height, width, rise of the outer corner, droop of the upper lid, all relative
# to a round eye.
_SHAPES = {
  "round": (1.00, 0.98, 0.00, 0.00),
  "almond": (0.88, 1.06, 0.10, 0.00),
  "cat": (0.90, 1.06, 0.26, 0.00),
  "droopy": (0.94, 1.02, -0.22, 0.00),
  "hooded": (0.86, 1.02, 0.02, 0.16),
  "narrow": (0.74, 1.08, 0.08, 0.00),
}


def _lids(face: Face) -> tuple[Curve, Curve]:
  """Upper and lower lid of the viewer's right eye, inner to outer corner."""
  e = face.expression
  tall, wide, rise, droop = _SHAPES[face.attributes.eye_shape]
  x, y = face.eye_x, face.eye_y
  rx, ry = face.eye_rx * wide, face.eye_ry * tall
  up = ry * e.opening * (1 - droop)
  down = ry * (1 - 1.6 * e.lower)
  # Lids that close come down to a line below the middle of the eye.
  y += face.eye_ry * 0.35 * max(0.0, 1 - e.opening)
  inner = (x - rx, y + 0.16 * ry)
  outer = (x + rx, y - rise * ry)
  upper = np.array(
    [
      [
        inner,
        (x - 0.86 * rx, y - 1.28 * up),
        (x + 0.72 * rx, y - 1.34 * up - 0.4 * rise * ry),
        outer,
      ]
    ]
  )
  lower = np.array(
    [
      [
        inner,
        (x - 0.70 * rx, y + 1.24 * down),
        (x + 0.78 * rx, y + 1.20 * down - 0.3 * rise * ry),
        outer,
      ]
    ]
  )
  return upper, lower


def _closed_lid(face: Face, kind: str) -> Curve:
  """The single line of a closed eye, inner to outer corner."""
  x, rx = face.eye_x, 0.98 * face.eye_rx
  if kind == "happy":
    y, bend = face.eye_y + 34, -92.0
  else:
    y, bend = face.eye_y + 18, 62.0
  return np.array(
    [
      [
        (x - rx, y),
        (x - 0.6 * rx, y + bend),
        (x + 0.6 * rx, y + bend),
        (x + rx, y),
      ]
    ]
  )


def _place(pose: Pose, curve: Curve, side: int) -> Curve:
  return pose.head(canvas.mirror(curve) if side < 0 else curve)


def _landmarks(
  pose: Pose, upper: Curve, lower: Curve, side: int
) -> Float[np.ndarray, "6 2"]:
  """Two corners, two points on each lid, in iBUG order."""
  top = canvas.divide(_place(pose, upper, side), 4)
  bottom = canvas.divide(_place(pose, lower, side), 4)
  if side < 0:
    # Mirrored curves run from right to left.
    top, bottom = top[::-1], bottom[::-1]
  return np.concatenate([top, bottom[2:0:-1]])


def _lash_color(face: Face) -> str:
  hair = face.colors.hair
  return palette.mix(palette.shade(hair, -0.75), "#1d1418", 0.65)


def _bright(color: str, lift: Number) -> str:
  """Raises lightness and chroma together: light inside a coloured iris."""
  lightness, a, b = palette.oklab(color)
  return palette.from_oklab(min(0.9, lightness + lift), 1.35 * a, 1.35 * b)


def _closed_lashes(face: Face, lid: Curve, kind: str) -> list[Curve]:
  """Line and lashes of a closed eye, for the viewer's right."""
  knots = [canvas.at(lid, t) for t in (0, 0.25, 0.5, 0.75, 1)]
  shapes = [canvas.brush(knots, [9, 16, 19, 18, 10])]
  if kind == "closed" or face.attributes.presentation == "feminine":
    down = 1 if kind == "closed" else -0.4
    for t, dx in ((0.74, 16), (0.9, 24)):
      x, y = canvas.at(lid, t)
      shapes.append(canvas.brush([(x, y), (x + dx, y + 18 * down)], [12, 0]))
  return shapes


def _open_lashes(face: Face, upper: Curve) -> list[Curve]:
  """Upper lash line, wing and lashes of an open eye."""
  feminine = face.attributes.presentation == "feminine"
  heavy = 1.15 if feminine else 1.0
  if face.attributes.eye_shape == "hooded":
    heavy *= 1.1
  knots = [canvas.at(upper, t) for t in (0, 0.12, 0.3, 0.5, 0.7, 0.88, 1)]
  band = canvas.brush(
    [(x, y - 3) for x, y in knots],
    [w * heavy for w in (5, 13, 19, 22, 25, 25, 14)],
  )
  ox, oy = canvas.at(upper, 1)
  # Anticlockwise, as brush strokes are, to unite with them.
  wing = canvas.spline(
    [
      (ox - 8, oy + 10),
      (ox + 10, oy + 6),
      (ox + 24 * heavy, oy - 22 * heavy),
      (ox + 6, oy - 12),
      (ox - 22, oy - 24),
    ],
    closed=True,
    corners=[2],
  )
  shapes = [band, wing]
  if feminine:
    for t, dx, dy in ((0.84, 28, -24), (0.70, 18, -26)):
      x, y = canvas.at(upper, t)
      shapes.append(
        canvas.brush(
          [(x - 4, y - 2), (x + 0.6 * dx, y + 0.45 * dy), (x + dx, y + dy)],
          [16, 9, 0],
        )
      )
  return shapes


def _draw_irises(
  scene: Scene,
  pose: Pose,
  face: Face,
  sides: list[int],
  openings: list[Curve],
) -> None:
  """Draws iris, pupil and highlights inside the placed eye openings."""
  e, a = face.expression, face.attributes
  color = face.colors.eyes
  tall = _SHAPES[a.eye_shape][0]
  wide = 1.07 * e.pupil if face.soft else e.pupil
  rx = 0.70 * face.eye_rx * wide
  ry = 0.86 * face.eye_ry * wide * (0.35 + 0.65 * tall)
  right, down = e.gaze[0] + 0.22 * a.gaze_x, e.gaze[1] + 0.16 * a.gaze_y
  y = face.eye_y + 4 + down * face.eye_ry
  y += face.eye_ry * 0.18 * max(0.0, 1 - e.opening)

  def spots(
    dx: Number, dy: Number, sx: Number, sy: Number, angle: Number = 0
  ) -> list[Curve]:
    found = []
    for side in sides:
      x = side * (face.eye_x - 3) + right * face.eye_rx
      spot = canvas.ellipse(x + dx * rx, y + dy * ry, sx * rx, sy * ry, angle)
      found.append(pose.head(spot))
    return found

  body = scene.gradient(
    [
      (0, palette.shade(color, -0.50)),
      (0.42, color),
      (1, _bright(color, 0.16)),
    ]
  )
  with scene.clip(*openings):
    scene.draw(
      *spots(0, 0, 1, 1),
      fill=body,
      stroke=palette.shade(color, -0.55),
      width=8,
      label="other",
    )
    scene.draw(*spots(0, 0.02, 0.46, 0.50), fill=palette.shade(color, -0.72))
    scene.draw(
      *spots(0, 0.66, 0.58, 0.22), fill=_bright(color, 0.30), opacity=0.8
    )
    # Shadow of the upper lid on everything below it.
    moved = [o + np.array([0, 24 * pose.scale]) for o in openings]
    scene.draw(*openings, *moved, fill="#2a1b3d", opacity=0.22, holes=True)
    light = 1 if a.light_azimuth > 0 else -1
    scene.draw(
      *spots(0.34 * light, -0.42, 0.36, 0.29, -20),
      *spots(-0.40 * light, 0.36, 0.17, 0.13),
      fill="#ffffff",
    )
    if face.soft:
      middles = [
        (side * (face.eye_x - 3) + right * face.eye_rx, y, ry) for side in sides
      ]
      light_eyes(scene, pose, middles, rx * light)


def draw_eyes(
  scene: Scene, pose: Pose, face: Face
) -> Float[np.ndarray, "12 2"]:
  """Draws both eyes, layer by layer.

  Returns:
    Landmarks 36..47 on the canvas.
  """
  landmarks, sides, openings = [], [], []
  lashes, lower_lines, folds, rims = [], [], [], []
  gap = 30 if face.attributes.eye_shape != "hooded" else 18
  for side, kind in zip((-1, 1), face.expression.eyes, strict=True):
    if kind != "open":
      upper = lower = _closed_lid(face, kind)
      shapes = _closed_lashes(face, upper, kind)
      rims.append(_place(pose, shapes[0] + np.array([0.0, 8.0]), side))
    else:
      upper, lower = _lids(face)
      opening = canvas.join(upper, lower[::-1, ::-1])
      sides.append(side)
      openings.append(_place(pose, opening, side))
      shapes = _open_lashes(face, upper)
      low = [canvas.at(lower, t) for t in (0.35, 0.55, 0.75, 0.92)]
      lower_lines.append(_place(pose, canvas.brush(low, [3, 6, 7, 4]), side))
      fold = [canvas.at(upper, t) for t in (0.28, 0.5, 0.72, 0.86)]
      fold = [(x, y - gap) for x, y in fold]
      folds.append(_place(pose, canvas.brush(fold, [2, 5, 6, 2]), side))
    lashes += [_place(pose, shape, side) for shape in shapes]
    landmarks.append(_landmarks(pose, upper, lower, side))
  color = _lash_color(face)
  if openings:
    scene.draw(*openings, fill="#fffdfb", label="other")
    _draw_irises(scene, pose, face, sides, openings)
    soft = palette.mix(color, face.skin["line"], 0.5)
    scene.draw(*lower_lines, fill=soft, opacity=0.85)
    scene.draw(*folds, fill=face.skin["feature"], opacity=0.6)
  if rims and palette.oklab(face.skin["base"])[0] < 0.42:
    # A lit rim below the lid, or black lashes vanish on dark skin.
    scene.draw(*rims, fill=face.skin["feature"])
  scene.draw(*lashes, fill=color, label="other")
  return np.concatenate(landmarks)
