"""Abstract paintings: what style transfer learns from without any data.

A painting is a few colours and one manner of putting them down: brush strokes,
marbling, leaded glass, points, ink hatching, washes or overlapping planes. It
has no subject, so that its whole content is its style, and two paintings
differ in what a person would call their style. Drawn at twice the size and
averaged; everything scales with the size.
"""

import colorsys
import math

import numpy as np
from jaxtyping import Float32, UInt8

MANNERS = ("brush", "marble", "glass", "points", "hatch", "wash", "planes")

Plane = Float32[np.ndarray, "n n"]
Picture = Float32[np.ndarray, "n n 3"]
Palette = Float32[np.ndarray, "k 3"]


def draw_painting(
  size: int, rng: np.random.Generator, *, manner: str | None = None
) -> UInt8[np.ndarray, "size size 3"]:
  """Draws a painting.

  Args:
    size: side in pixels.
    rng: decides everything else.
    manner: one of `MANNERS`; None leaves it to `rng`.

  Returns:
    uint8 sRGB.
  """
  chosen = MANNERS[rng.integers(len(MANNERS))]
  colors = _palette(rng)
  paint = globals()[f"_{manner or chosen}"]
  made = np.clip(paint(2 * size, rng, colors), 0, 1)
  made = made.reshape(size, 2, size, 2, 3).mean((1, 3))
  return np.rint(255 * made).astype(np.uint8)


def draw_numbered(number: int, size: int) -> UInt8[np.ndarray, "size size 3"]:
  """Draws painting `number`, the same at every call.

  Args:
    number: not negative.
    size: side in pixels.

  Returns:
    uint8 sRGB.
  """
  return draw_painting(size, np.random.default_rng([number]))


def _palette(rng: np.random.Generator) -> Palette:
  """A ground and four paints, [5, 3]: two hues, from dark to light."""
  hue = rng.choice([0.0, 0.05, 0.1, 0.14, 0.4, 0.53, 0.6, 0.68, 0.8, 0.92])
  hue += rng.normal(0, 0.015)
  other = hue + rng.choice([0.12, -0.33, 0.33, 0.45, 0.5, 0.55])
  lights = np.array([0.25, 0.5, 0.75, 0.95]) + rng.uniform(-0.1, 0.05, 4)
  paints = [
    colorsys.hsv_to_rgb(
      (hue if i % 2 == 0 else other) + rng.normal(0, 0.02),
      rng.uniform(0.55, 1.0) if light < 0.85 else rng.uniform(0.25, 0.7),
      light,
    )
    for i, light in enumerate(lights)
  ]
  dark = rng.random() < 0.35
  ground = colorsys.hsv_to_rgb(
    rng.choice([hue, other, 0.11]),
    rng.uniform(0.3, 0.8) if dark else rng.uniform(0.03, 0.3),
    rng.uniform(0.08, 0.25) if dark else rng.uniform(0.88, 0.98),
  )
  return np.array([ground, *paints], np.float32)


def _noise(n: int, rng: np.random.Generator, cells: int) -> Plane:
  """Smooth noise in [0, 1] with `cells` bumps a side."""
  grid = rng.random((cells + 2, cells + 2)).astype(np.float32)
  at = np.arange(n, dtype=np.float32) * (cells / n)
  low = at.astype(int)
  part = (at - low).astype(np.float32)
  part = part * part * (3 - 2 * part)
  rows = grid[low] + (grid[low + 1] - grid[low]) * part[:, None]
  return rows[:, low] + (rows[:, low + 1] - rows[:, low]) * part[None]


def _pick(colors: Palette, at: np.ndarray | float) -> np.ndarray:
  """A palette's colours where `at` in [0, 1] points between them."""
  at = np.clip(at, 0, 1) * (len(colors) - 1)
  low = np.minimum(at.astype(int), len(colors) - 2)
  part = (at - low)[..., None]
  return colors[low] * (1 - part) + colors[low + 1] * part


def _around(
  canvas: Picture, y: int, x: int, angle: float, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """A view of the canvas around a point, and its pixels' places.

  Args:
    canvas: the canvas.
    y: row of the point.
    x: column of the point.
    angle: of the axes, in radians.
    reach: half the view's side, in pixels.

  Returns:
    The view [h, w, 3], and how far its pixels are along and across.
  """
  far = int(reach) + 2
  top, left = max(y - far, 0), max(x - far, 0)
  part = canvas[top : y + far, left : x + far]
  rows, columns = np.ogrid[
    top - y : top - y + part.shape[0], left - x : left - x + part.shape[1]
  ]
  cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
  rows, columns = rows.astype(np.float32), columns.astype(np.float32)
  return part, cos * columns + sin * rows, cos * rows - sin * columns


def _strokes(
  canvas: Picture, rng: np.random.Generator, colors: Palette,
  count: int, length: float, width: float,
) -> None:  # fmt: skip
  """Lays bristly strokes along a flow, into the canvas."""
  n = len(canvas)
  flow = 2.5 * math.pi * _noise(n, rng, 2)
  hues = _noise(n, rng, 3)
  for _ in range(count):
    y, x = map(int, rng.integers(n, size=2))
    angle = float(flow[y, x])
    long, wide = n * length * rng.uniform(0.6, 1.3), n * width
    part, along, across = _around(canvas, y, x, angle, long + wide)
    over = np.maximum(np.abs(along) - long, 0)
    inside = np.clip(wide - np.hypot(over, across) + 0.5, 0, 1)
    bristles = 0.09 * np.sin(across * (7 / wide) + rng.uniform(0, 6))
    hue = 1.6 * float(hues[y, x]) - 0.3 + rng.normal(0, 0.12)
    color = _pick(colors, hue)
    color = color + rng.normal(0, 0.04) + bristles[..., None]
    part += (0.95 * inside)[..., None] * (color - part)


def _brush(n: int, rng: np.random.Generator, colors: Palette) -> Picture:
  canvas = np.broadcast_to(colors[0], (n, n, 3)).astype(np.float32)
  size = rng.uniform(0.8, 1.4)
  _strokes(
    canvas, rng, colors[1:], int(400 / size**2), 0.055 * size, 0.016 * size
  )
  return canvas


def _marble(n: int, rng: np.random.Generator, colors: Palette) -> Picture:
  """Bands of colour along the heights of a warped field, finely combed."""
  y, x = np.indices((n, n), np.float32) / n
  warp = [_noise(n, rng, 4) + 0.4 * _noise(n, rng, 9) for _ in range(2)]
  turn = rng.uniform(0, math.pi)
  field = math.cos(turn) * (x + 0.35 * warp[0])
  field += math.sin(turn) * (y + 0.35 * warp[1])
  waves = rng.uniform(5, 9) * field
  bands = np.abs((waves % 1) * 2 - 1)
  made = _pick(colors[1:], bands)
  comb = 0.5 + 0.5 * np.sin(2 * math.pi * 5 * waves)
  return (made * (0.78 + 0.3 * comb)[..., None]).astype(np.float32)


def _glass(n: int, rng: np.random.Generator, colors: Palette) -> Picture:
  """Cells around points, with leads between them."""
  side = int(rng.integers(7, 12))
  seeds = np.indices((side, side)).reshape(2, -1).T + rng.random((side**2, 2))
  seeds = (seeds * n / side).astype(np.float32)
  rows, columns = np.ogrid[:n, :n]
  near = np.full((n, n), 9e9, np.float32)
  second, owner = near.copy(), np.zeros((n, n), int)
  for i, (y, x) in enumerate(seeds):
    reach = int(2.2 * n / side)
    top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
    window = (slice(top, int(y) + reach), slice(left, int(x) + reach))
    away = np.hypot(rows[window[0]] - y, columns[:, window[1]] - x)
    closer = away < near[window]
    between = np.minimum(second[window], away)
    second[window] = np.where(closer, near[window], between)
    near[window] = np.where(closer, away, near[window])
    owner[window] = np.where(closer, i, owner[window])
  tints = colors[rng.integers(1, 5, side**2)]
  tints = tints + rng.normal(0, 0.06, (side**2, 1))
  lead = np.clip((second - near) / (0.022 * n) - 0.4, 0, 1)
  light = 0.85 + 0.25 * _noise(n, rng, 3 * side)
  made = tints[owner] * (light * lead)[..., None] + 0.05
  return made.astype(np.float32)


def _points(n: int, rng: np.random.Generator, colors: Palette) -> Picture:
  """Points of pure paint on the ground."""
  canvas = np.broadcast_to(colors[0], (n, n, 3)).astype(np.float32)
  size = rng.uniform(0.9, 1.5)
  _strokes(canvas, rng, colors[1:], int(700 / size**2), 0.0, 0.014 * size)
  return canvas


def _hatch(n: int, rng: np.random.Generator, colors: Palette) -> Picture:
  """Lines of ink in two or three directions, where it is darker."""
  y, x = np.indices((n, n), np.float32) / n
  made = np.broadcast_to(colors[0], (n, n, 3)).astype(np.float32)
  light = colors[0].mean() > 0.5
  inks = colors[[1, 2, 1]] if light else colors[[4, 3, 4]]
  turn, lines = rng.uniform(0, math.pi), rng.uniform(18, 28)
  shade = _noise(n, rng, 3)
  for k in range(3):
    angle = turn + k * 1.1
    wobble = 0.02 * _noise(n, rng, 8)
    along = math.cos(angle) * x + math.sin(angle) * y + wobble
    wave = np.abs((along * lines) % 1 - 0.5)
    wide = 0.42 * np.clip(1.7 * shade - 0.45 * k, 0, 1)
    cover = np.clip((wide - wave) * n / lines + 0.5, 0, 1) * (wide > 0.04)
    made = made + cover[..., None] * (inks[k] - made)
  return made


def _wash(n: int, rng: np.random.Generator, colors: Palette) -> Picture:
  """Pools of thin paint with darker rims, on paper."""
  paper = np.array([0.97, 0.96, 0.92], np.float32)
  made = np.broadcast_to(paper, (n, n, 3)).astype(np.float32)
  for color in colors[[4, 3, 2, 4]]:
    field = _noise(n, rng, 4) + 0.35 * _noise(n, rng, 11)
    field += 0.12 * _noise(n, rng, 40)
    height = (field - np.quantile(field, 0.55)) * 18
    pool = np.clip(height, 0, 1)
    rim = np.exp(-np.square(height - 0.9) / 0.35)
    cover = pool * (0.45 + 0.2 * _noise(n, rng, 7)) + 0.4 * rim
    made = made * (1 - cover[..., None] * (1 - 0.9 * color))
  return made * (1 + 0.06 * (_noise(n, rng, n // 3) - 0.5))[..., None]


def _planes(n: int, rng: np.random.Generator, colors: Palette) -> Picture:
  """Overlapping tilted planes, each shaded to one side and outlined."""
  made = np.broadcast_to(colors[0], (n, n, 3)).astype(np.float32).copy()
  turn = rng.uniform(0, math.pi)
  for _ in range(70):
    y, x = map(int, rng.integers(n, size=2))
    angle = turn + rng.normal(0, 0.35) + (rng.random() < 0.4) * math.pi / 2
    high, wide = n * rng.uniform(0.04, 0.15, 2)
    part, along, across = _around(made, y, x, angle, math.hypot(high, wide))
    inner = np.minimum(wide - np.abs(along), high - np.abs(across))
    shade = np.clip(0.9 + 0.3 * across / high, 0.5, 1.3)
    color = colors[rng.integers(1, 5)] * shade[..., None]
    inside = np.clip(inner + 0.5, 0, 1)
    edge = np.clip(0.012 * n - np.abs(inner), 0, 1)
    part += (0.9 * inside)[..., None] * (color - part)
    part *= 1 - 0.75 * edge[..., None]
  return made
