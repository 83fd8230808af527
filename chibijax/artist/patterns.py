"""Patterns that fill a picture, in the artist's soft colours."""

import functools
import math

import numpy as np
from jaxtyping import UInt8

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Curve, Scene
from chibijax.artist.sticker_pen import heart, star
from chibijax.artist.stickers import named_color
from chibijax.errors import UserError

PATTERNS = (
  "dots",
  "stripes",
  "hearts",
  "stars",
  "checker",
  "sunburst",
  "confetti",
)
_SQUARE = ((-20, -20), (1020, -20), (1020, 1020), (-20, 1020))
_CONFETTI = ("pink", "sky", "mint", "yellow", "lavender", "coral")


def draw_pattern(
  kind: str, size: int, *, color: str, seed: int = 0
) -> UInt8[np.ndarray, "size size 3"]:
  """Draws a square of pattern.

  Args:
    kind: one of `PATTERNS`.
    size: side in pixels, 16 or more; the pattern scales with it.
    color: ground: `#rrggbb` or a name of the artist's palettes.
    seed: of the confetti.

  Returns:
    uint8 sRGB, not to be written to (the last 8 are kept).

  Raises:
    UserError: if the kind or the colour is unknown.
    ValueError: if the size is below 16.
  """
  if kind not in PATTERNS:
    raise UserError(
      f"a pattern must be one of {', '.join(PATTERNS)}; got {kind!r}"
    )
  if size < 16:
    raise ValueError(f"size must be 16 pixels or more, got {size}")
  return _draw(
    kind, size, named_color(color, pale=True), seed if kind == "confetti" else 0
  )


@functools.lru_cache(maxsize=8)
def _draw(
  kind: str, size: int, color: str, seed: int
) -> UInt8[np.ndarray, "size size 3"]:
  scene = Scene()
  scene.draw(canvas.polygon(_SQUARE), fill=color)
  lightness, a, b = palette.oklab(color)
  # A shade that keeps its hue rich, so that pastels do not turn grey.
  soft = palette.from_oklab(0.95 * lightness, 1.3 * a, 1.3 * b)
  if kind == "confetti":
    _confetti(scene, seed)
  else:
    # One path for all of them: far cheaper than one each.
    scene.draw(*_marks(kind), fill=soft)
  image = scene.render(size)[..., :3].copy()
  image.setflags(write=False)
  return image


def _marks(kind: str) -> list[Curve]:
  if kind == "stripes":
    return [
      canvas.polygon(
        [(x, -20), (x + 70, -20), (x - 970, 1020), (x - 1040, 1020)]
      )
      for x in range(0, 2200, 140)
    ]
  if kind == "checker":
    return [
      canvas.polygon([(x, y), (x + 125, y), (x + 125, y + 125), (x, y + 125)])
      for y in range(0, 1000, 125)
      for x in range(125 * (y // 125 % 2), 1000, 250)
    ]
  if kind == "sunburst":
    rays = []
    for k in range(16):
      ends = [math.pi * (2 * k + d) / 16 for d in (-0.5, 0.5)]
      far = [(500 + 900 * math.cos(a), 500 + 900 * math.sin(a)) for a in ends]
      rays.append(canvas.polygon([(500, 500), *far]))
    return rays
  shape = {
    "dots": canvas.ellipse(0, 0, 30),
    "hearts": heart(0, 0, 34, -10),
    "stars": star(0, 0, 38, angle=10),
  }[kind]
  return [
    shape + np.array([x + (75 if row % 2 else 0), 25 + 106 * row])
    for row in range(10)
    for x in range(0, 1001, 150)
  ]


def _confetti(scene: Scene, seed: int) -> None:
  """Scraps of paper on a jittered grid, so that none lies on another."""
  rng = np.random.default_rng([seed, 11])
  shapes: dict[str, list[Curve]] = {name: [] for name in _CONFETTI}
  step = 1000 / 11
  for cell in range(12 * 12):
    x, y = (np.array(divmod(cell, 12)) + rng.uniform(-0.3, 0.3, 2)) * step
    angle = math.radians(rng.uniform(0, 180))
    c, s = math.cos(angle), math.sin(angle)
    color = _CONFETTI[rng.integers(len(_CONFETTI))]
    if rng.random() < 0.3:
      piece = canvas.ellipse(0, 0, 12)
    else:
      wide, high = rng.uniform(9, 15), rng.uniform(16, 24)
      piece = canvas.polygon(
        [(-wide, -high), (wide, -high), (wide, high), (-wide, high)]
      )
    turned = piece @ np.array([[c, s], [-s, c]]) + np.array([x, y])
    shapes[color].append(turned)
  for name, curves in shapes.items():
    scene.draw(*curves, fill=palette.CLOTHES[name], opacity=0.8)
