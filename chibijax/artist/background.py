"""Plain or softly patterned backgrounds of the chibi."""

import numpy as np

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Scene
from chibijax.artist.face import Face

_SQUARE = ((-20, -20), (1020, -20), (1020, 1020), (-20, 1020))


def draw_background(scene: Scene, face: Face) -> None:
  """Fills the picture; kind "none" leaves it transparent."""
  kind = face.attributes.background
  if kind == "none":
    return
  color = face.colors.background
  mark, opacity = palette.shade(color, -0.055), 1.0
  if face.soft:
    mark, opacity = "#ffffff", 0.5
  square = canvas.polygon(_SQUARE)
  if face.soft:
    pass  # Only the pattern: `soft.set_on_glow` comes below the whole scene.
  elif kind == "gradient":
    fill = scene.gradient(
      [(0, palette.shade(color, 0.5)), (1, palette.shade(color, -0.10))]
    )
    scene.draw(square, fill=fill)
  else:
    scene.draw(square, fill=color)
  if kind == "stripes":
    for k in range(-1, 9):
      x = 250 * k
      band = [(x, -20), (x + 125, -20), (x - 915, 1020), (x - 1040, 1020)]
      scene.draw(canvas.polygon(band), fill=mark, opacity=opacity)
  elif kind in ("dots", "hearts"):
    shape = canvas.ellipse(0, 0, 34) if kind == "dots" else _heart(44.0)
    # One path for all of them: far cheaper than one each.
    marks = [
      shape + np.array([x + (90 if row % 2 else 0), 20 + 120 * row])
      for row in range(9)
      for x in range(0, 1001, 180)
    ]
    scene.draw(*marks, fill=mark, opacity=opacity)


def _heart(size: float) -> canvas.Curve:
  right = [
    (0, -0.45, 0.1, -1.05, 1.0, -1.05, 1.0, -0.3),
    (1.0, -0.3, 1.0, 0.25, 0.35, 0.55, 0, 1.0),
  ]
  half = np.array(right).reshape(-1, 4, 2) * size
  return canvas.join(half, canvas.mirror(half)[::-1, ::-1])
