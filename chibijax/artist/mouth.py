"""The chibi's mouth: two lip curves, everything else follows from them.

Coordinates are head units (see `pose`). Landmarks 48..59 lie on the outer lip
curves, 60..67 on the inner ones; a closed mouth is a brush stroke whose edges
are the outer curves and whose centre line is both inner curves.
"""

import numpy as np
from jaxtyping import Float

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Curve, Number, Scene
from chibijax.artist.face import Face
from chibijax.artist.pose import Pose

_INSIDE = "#7a2230"
_TONGUE = "#f0788a"
_TEETH = "#fffaf4"


def _lip(
  x: Number,
  y: Number,
  rise: tuple[Number, Number],
  middle: Number,
  wave: Number = 0,
) -> Curve:
  """A lip from the left to the right corner; `middle` is down positive."""
  left, right = (-x, y - rise[0]), (x, y - rise[1])
  if wave:
    knots = [left]
    for k in range(1, 4):
      up = wave if k % 2 else -wave
      knots.append((-x + 2 * x * k / 4, y - up))
    return canvas.spline([*knots, right])
  # A cubic reaches 3/4 of the way to its handles at the middle.
  handle = y + (middle + 0.25 * (rise[0] + rise[1]) / 2) / 0.75
  # Drooping corners of an open mouth make it a round "o".
  reach = 1.05 * x if middle < 4 * rise[0] < 0 else 0.62 * x
  return np.array(
    [[left, (-reach, handle), (reach, handle), right]], np.float64
  )


def _landmarks(
  pose: Pose, upper: Curve, lower: Curve, inset: Number
) -> Float[np.ndarray, "20 2"]:
  """Samples landmarks 48..67 from the two lip curves."""
  # Wavy lips have several cubics; even steps of length suit them better.
  along = canvas.divide if len(upper) == 1 else canvas.sample
  drop = np.array([0, inset * pose.scale])
  upper, lower = pose.head(upper), pose.head(lower)
  top, bottom = along(upper, 7), along(lower, 7)
  top[1:-1] -= drop
  bottom[1:-1] += drop
  inner_top, inner_bottom = along(upper, 5), along(lower, 5)
  return np.concatenate([top, bottom[5:0:-1], inner_top, inner_bottom[3:0:-1]])


def _draw_open(
  scene: Scene, pose: Pose, face: Face, upper: Curve, lower: Curve
) -> None:
  """Draws an open mouth: cavity, teeth, tongue, lip line."""
  e = face.expression
  shape = pose.head(canvas.join(upper, lower[::-1, ::-1]))
  scene.draw(shape, fill=_INSIDE, label="other")
  _, top = canvas.at(upper, 0.5)
  _, bottom = canvas.at(lower, 0.5)
  half = 0.56 * e.width
  with scene.clip(shape):
    if e.tongue == "in":
      bump = canvas.ellipse(0, bottom + 4, 0.62 * half, 0.52 * (bottom - top))
      scene.draw(pose.head(bump), fill=_TONGUE)
    if e.teeth != "none":
      drop = (0, 0.27 * (bottom - top) if e.teeth == "upper" else 999)
      band = canvas.join(upper - (0, 60), (upper + drop)[::-1, ::-1])
      scene.draw(pose.head(band), fill=_TEETH)
    if e.teeth == "full":
      middle = (upper + lower) / 2
      knots = [canvas.at(middle, t) for t in (0, 0.25, 0.5, 0.75, 1)]
      scene.draw(
        pose.head(canvas.brush(knots, [3, 4, 4, 4, 3])), fill="#d8c4bd"
      )
  scene.draw(shape, stroke=_line_color(face), width=8)


def _line_color(face: Face) -> str:
  line = palette.mix(face.skin["feature"], face.skin["lip"], 0.35)
  if face.soft and palette.oklab(face.colors.skin)[0] < 0.45:
    return palette.mix(line, "#e2958a", 0.4)
  return line


def _draw_kiss(scene: Scene, pose: Pose, face: Face, y: Number) -> None:
  """Draws puckered lips: two small full bumps."""
  lip = palette.mix(face.skin["lip"], "#e0566f", 0.5)
  for dy, rx in ((-12, 24), (13, 20)):
    scene.draw(
      pose.head(canvas.ellipse(0, y + dy, rx, 16)),
      fill=lip,
      stroke=palette.outline(lip),
      width=6,
      label="other",
    )
  scene.draw(
    pose.head(canvas.ellipse(-5, y + 10, 7, 4.5)), fill="#ffffff", opacity=0.7
  )


def draw_mouth(
  scene: Scene, pose: Pose, face: Face
) -> Float[np.ndarray, "20 2"]:
  """Draws the mouth.

  Returns:
    Landmarks 48..67 on the canvas.
  """
  e = face.expression
  y = face.eye_y + 138
  half = 0.56 * e.width * (1 + 0.16 * face.attributes.mouth_width)
  rise = (e.lift - e.skew / 2, e.lift + e.skew / 2)
  upper = _lip(half, y, rise, e.upper, e.wave)
  lower = _lip(half, y, rise, e.lower_lip, e.wave)
  if face.attributes.expression == "kiss":
    upper, lower = (
      _lip(half / 2, y, (0, 0), -4),
      _lip(half / 2, y, (0, 0), 4),
    )
    _draw_kiss(scene, pose, face, y)
    return _landmarks(pose, upper, lower, 24)
  if e.upper != e.lower_lip:
    _draw_open(scene, pose, face, upper, lower)
    return _landmarks(pose, upper, lower, 4)
  if e.tongue == "out":
    x, top = canvas.at(lower, 0.6)
    tip = canvas.spline(
      [
        (x - 24, top - 6),
        (x - 22, top + 30),
        (x, top + 46),
        (x + 22, top + 30),
        (x + 24, top - 8),
      ]
    )
    scene.draw(
      pose.head(tip),
      fill=_TONGUE,
      stroke=palette.outline(_TONGUE),
      width=6,
      label="other",
    )
  count = 7 if e.wave else 5
  span = len(upper)
  knots = [canvas.at(upper, span * k / (count - 1)) for k in range(count)]
  widths = [9.0] + [13.0] * (count - 2) + [9.0]
  scene.draw(
    pose.head(canvas.brush(knots, widths)),
    fill=_line_color(face),
    label="other",
  )
  if e.wave == 0 and e.tongue == "none":
    x, bottom = canvas.at(lower, 0.5)
    shadow = canvas.brush(
      [(x - 13, bottom + 19), (x, bottom + 22), (x + 13, bottom + 19)],
      [0, 6, 0],
    )
    scene.draw(pose.head(shadow), fill=face.skin["feature"], opacity=0.45)
  return _landmarks(pose, upper, lower, 5)
