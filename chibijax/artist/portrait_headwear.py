"""Headwear of a portrait as layers of cloth, metal or petals.

Coordinates are face units (`portrait_canvas`); colours are linear reflectance.
"""

import numpy as np

from chibijax.artist.attributes import Attributes
from chibijax.artist.portrait_body import cloth_albedo
from chibijax.artist.portrait_canvas import (
  Canvas,
  Grid,
  ellipse,
  mirror,
  paint,
  spline,
  stroke,
)
from chibijax.artist.portrait_filter import gaussian_blur, value_noise
from chibijax.artist.portrait_geometry import Face
from chibijax.artist.portrait_scene import Layer


def build_headwear(
  face: Face,
  a: Attributes,
  canvas: Canvas,
  g: Grid,
  rng: np.random.Generator,
) -> Layer:
  """Draws `a.headwear`, which must not be "none"."""
  makers = {
    "cap": _cap,
    "beanie": _beanie,
    "headband": _headband,
    "bow": _bow,
    "flower": _flower,
    "crown": _crown,
    "hijab": _hijab,
    "turban": _turban,
  }
  color = cloth_albedo(a.headwear_color)
  albedo = np.empty((3, g.size, g.size), np.float32)
  albedo[:] = color[:, None, None]
  layer = Layer(
    np.zeros((g.size, g.size), np.float32), albedo, _dome(face, g), 0.08
  )
  makers[a.headwear](layer, face, a, canvas, g, rng)
  return layer


def _dome(face: Face, g: Grid, thick: float = 0.16) -> np.ndarray:
  """Height of something worn over the skull."""
  wide = np.float32(face.half_width.max() + thick)
  up = np.minimum(g.v + 0.30, 0) / np.float32(1.40 + thick)
  q = np.clip((g.u / wide) ** 2 + up * up, 0, 0.995)
  return np.sqrt(1 - q) * np.float32(1.26)


def _add(layer: Layer, canvas: Canvas, *shapes: np.ndarray, blur: float = 0.01):
  part = canvas.coverage(*shapes, blur=blur)
  if part is not None:
    layer.cover[part[0]] = np.maximum(layer.cover[part[0]], part[1])
  return part


def _shell(face: Face, low: float, thick: float, tall: float) -> np.ndarray:
  """Outline of a hat's crown; `low` is its edge over the forehead."""
  edge = float(face.half_width.max()) + thick
  right = spline(
    [
      (0.0, -1.70 - tall),
      (0.48, -1.64 - tall),
      (0.84, -1.38 - 0.7 * tall),
      (edge * 0.985, -0.98),
      (edge, low + 0.14),
    ]
  )
  rim = spline([(edge, low + 0.14), (0.6, low + 0.05), (0, low)])
  half = np.concatenate([right, rim])
  return np.concatenate([half, mirror(half)[::-1]])


def _cap(layer, face, a, canvas, g, rng) -> None:
  _add(layer, canvas, _shell(face, -0.86, 0.09, 0.10))
  seams = [np.array([(0, -1.8), (0, -0.9)], np.float32)]
  for s in (-1, 1):
    seams.append(spline([(0, -1.8), (s * 0.5, -1.5), (s * 0.72, -0.82)]))
  part = canvas.coverage(*[stroke(c, 0.02) for c in seams], blur=0.008)
  paint(layer.albedo, part, layer.albedo[:, 0, 0] * 0.55, 0.6)
  visor = spline(
    [
      (-1.0, -0.80),
      (-0.6, -0.96),
      (0, -1.02),
      (0.6, -0.96),
      (1.0, -0.80),
      (0.98, -0.62),
      (0.55, -0.62),
      (0, -0.60),
      (-0.55, -0.62),
      (-0.98, -0.62),
    ],
    closed=True,
  )
  part = _add(layer, canvas, visor)
  paint(layer.albedo, part, cloth_albedo(a.accent_color) * 0.85)
  if part is not None:
    tilt = 1.45 - 0.55 * (g.v - (-1.0)) * 0
    layer.height[part[0]] = np.broadcast_to(
      tilt + 0.35 * (g.v + 0.8) - 0.25 * g.u**2, (g.size, g.size)
    )[part[0]]
  button = ellipse(0.0, -1.80, 0.06, 0.035, 12)
  paint(layer.albedo, canvas.coverage(button), layer.albedo[:, 0, 0] * 0.7)


def _knit(layer: Layer, g: Grid, strength: float) -> None:
  ribs = np.cos(g.u / np.sqrt(np.clip(1.25 - 0.25 * g.u**2, 0.1, 2)) * 34)
  layer.height += np.float32(0.014 * strength) * ribs
  layer.albedo *= 1 + 0.10 * strength * ribs


def _beanie(layer, face, a, canvas, g, rng) -> None:
  _add(layer, canvas, _shell(face, -0.82, 0.12, 0.24), blur=0.016)
  _knit(layer, g, 1.0)
  edge = float(face.half_width.max()) + 0.15
  cuff = spline(
    [
      (-edge, -0.62),
      (-0.6, -0.74),
      (0, -0.80),
      (0.6, -0.74),
      (edge, -0.62),
      (edge * 0.99, -1.0),
      (0.6, -1.12),
      (0, -1.17),
      (-0.6, -1.12),
      (-edge * 0.99, -1.0),
    ],
    closed=True,
  )
  part = _add(layer, canvas, cuff, blur=0.015)
  if part is not None:
    layer.height[part[0]] += 0.09 * part[1]


def _headband(layer, face, a, canvas, g, rng) -> None:
  edge = float(face.half_width.max()) + 0.06
  band = spline(
    [(-edge, -0.62), (-0.72, -1.06), (0, -1.22), (0.72, -1.06), (edge, -0.62)]
  )
  _add(layer, canvas, stroke(band, 0.24))
  layer.height += np.float32(0.05)


def _place(a: Attributes) -> tuple[float, float]:
  return (0.66, -1.40)


def _bow(layer, face, a, canvas, g, rng) -> None:
  x, y = _place(a)
  wing = spline(
    [
      (0, -0.04),
      (0.22, -0.24),
      (0.42, -0.22),
      (0.45, 0.02),
      (0.38, 0.22),
      (0.2, 0.18),
      (0, 0.05),
    ],
    closed=True,
  )
  turn = np.array([[0.9, 0.42], [-0.42, 0.9]], np.float32)
  shapes = [wing @ turn + (x, y), mirror(wing) @ turn + (x, y)]
  knot = ellipse(x, y, 0.10, 0.11, 16)
  part = _add(layer, canvas, *shapes, knot)
  _pillow(layer, part, g, 0.28)
  creases = [
    stroke(
      spline(np.array([(s * 0.06, 0), (s * 0.2, dv), (s * 0.34, dv * 1.6)]))
      @ turn
      + (x, y),
      0.03,
      0.8,
      0.0,
    )
    for s in (-1, 1)
    for dv in (-0.06, 0.06)
  ]
  color = layer.albedo[:, 0, 0].copy()
  paint(layer.albedo, canvas.coverage(*creases, blur=0.015), color * 0.45, 0.6)
  rim = canvas.coverage(
    stroke(np.concatenate([knot, knot[:1]]), 0.03), blur=0.012
  )
  paint(layer.albedo, rim, color * 0.45, 0.6)


def _pillow(layer: Layer, part, g: Grid, rise: float) -> None:
  """Gives a flat piece a rounded, padded height."""
  if part is None:
    return
  soft = gaussian_blur(layer.cover, 0.06 / g.pixel)
  layer.height += np.float32(rise) * soft


def _flower(layer, face, a, canvas, g, rng) -> None:
  x, y = -0.72, -1.22
  petals = []
  color = layer.albedo[:, 0, 0].copy()
  for k in range(6):
    angle = k * np.pi / 3 + 0.2
    petals.append(
      ellipse(
        x + 0.19 * np.cos(angle), y + 0.19 * np.sin(angle), 0.135, 0.135, 16
      )
    )
  part = _add(layer, canvas, *petals)
  _pillow(layer, part, g, 0.25)
  gaps = [
    stroke(
      np.array(
        [
          (x, y),
          (
            x + 0.27 * np.cos(k * np.pi / 3 + 0.72),
            y + 0.27 * np.sin(k * np.pi / 3 + 0.72),
          ),
        ],
        np.float32,
      ),
      0.035,
      1.0,
      0.3,
    )
    for k in range(6)
  ]
  paint(layer.albedo, canvas.coverage(*gaps, blur=0.018), color * 0.4, 0.6)
  paint(
    layer.albedo,
    canvas.coverage(ellipse(x, y, 0.085, 0.085, 14), blur=0.01),
    [0.55, 0.34, 0.05],
  )


def _crown(layer, face, a, canvas, g, rng) -> None:
  edge = 0.86
  points = [(-edge, -1.12)]
  for k in range(5):
    u = -0.80 + 0.40 * k
    points.append((u * 1.12, -1.95 + 0.16 * (u / 0.8) ** 2))
    if k < 4:
      points.append((u + 0.20, -1.50))
  points += [(edge, -1.12)]
  rim = spline(
    [(edge, -1.12), (0.5, -1.24), (0, -1.28), (-0.5, -1.24), (-edge, -1.12)]
  )
  outline = np.concatenate([np.array(points, np.float32), rim])
  _add(layer, canvas, outline)
  gold = np.array([0.60, 0.40, 0.11], np.float32)
  n = value_noise(rng, 20, g.size)[0]
  layer.albedo[:] = gold[:, None, None] * (1 + 0.15 * n)
  layer.gloss = 2.2
  gems = [
    ellipse(-0.45 + 0.45 * k, -1.40 + 0.03 * abs(k - 1), 0.07, 0.075, 14)
    for k in range(3)
  ]
  paint(
    layer.albedo,
    canvas.coverage(*gems, blur=0.008),
    cloth_albedo(a.headwear_color) * 0.7,
  )
  band = stroke(np.add(rim, (0, -0.06)), 0.05)
  paint(layer.albedo, canvas.coverage(band, blur=0.01), gold * 1.25)


def _hijab(layer, face, a, canvas, g, rng) -> None:
  edge = float(face.half_width.max())
  low = face.chin
  outer = spline(
    [
      (0, -1.84),
      (0.55, -1.74),
      (0.98, -1.36),
      (edge + 0.20, -0.7),
      (edge + 0.22, 0.1),
      (edge + 0.12, 0.9),
      (1.18, low + 0.05),
      (1.45, low + 0.45),
      (1.9, low + 0.95),
      (1.7, 3.0),
      (0, 3.3),
    ]
  )
  hole = spline(
    [
      (0, -1.02),
      (0.48, -0.92),
      (0.78, -0.58),
      (0.90, -0.05),
      (0.88, 0.55),
      (0.70, 1.08),
      (0.42, low - 0.14),
      (0, low - 0.01),
    ]
  )
  hole = hole * (edge, 1)
  whole = canvas.mask(np.concatenate([outer, mirror(outer)[::-1]]), blur=0.012)
  window = canvas.mask(np.concatenate([hole, mirror(hole)[::-1]]), blur=0.010)
  layer.cover[:] = whole * (1 - window)
  # Folds run around the face and gather under the chin.
  n = value_noise(rng, 6, g.size, 2)
  d = np.hypot(g.u / 1.05, (g.v - 0.15) / 1.35)
  angle = np.arctan2(g.u, g.v - 0.1)
  rings = np.sin(15 * d + 1.8 * n[0] + 0.8 * np.sin(2 * angle))
  drape = np.clip((g.v - low + 0.35 - 0.25 * np.abs(g.u)) / 0.9, 0, 1)
  drape = drape * drape * (3 - 2 * drape)
  swags = np.sin(9 * (g.v - 0.35 * g.u * np.sign(n[1] + 0.4)) + 2.2 * n[0])
  body = 0.55 - 0.16 * g.u**2 + 0.1 * (g.v - low)
  edge_roll = np.exp(-0.5 * ((d - 0.93) / 0.07) ** 2)
  under = np.clip((g.v - low + 0.5) / 0.6, 0, 1)
  wrap = layer.height * (1 - 0.45 * under)
  height = wrap + 0.018 * rings + 0.06 * edge_roll
  layer.height = (height * (1 - drape) + (body + 0.035 * swags) * drape).astype(
    np.float32
  )
  layer.gloss = 0.1


def _turban(layer, face, a, canvas, g, rng) -> None:
  edge = float(face.half_width.max())
  right = spline(
    [
      (0, -2.14),
      (0.55, -2.08),
      (1.02, -1.78),
      (edge + 0.26, -1.25),
      (edge + 0.20, -0.72),
      (edge + 0.05, -0.38),
      (edge - 0.06, -0.42),
    ]
  )
  rim = spline([(edge - 0.06, -0.42), (0.62, -0.72), (0.25, -0.98), (0, -1.08)])
  half = np.concatenate([right, rim])
  _add(layer, canvas, np.concatenate([half, mirror(half)[::-1]]), blur=0.015)
  # Wrapped bands cross over the forehead.
  layer.height = _dome(face, g, 0.34)
  left = g.v + 0.62 * g.u + 0.18 * g.u**2
  right_bands = g.v - 0.62 * g.u + 0.18 * g.u**2
  bands = np.where(g.u < 0.05 * np.sin(6 * g.v), right_bands, left)
  phase = (bands * 3.6) % 1
  layer.height = (layer.height + 0.07 * np.sqrt(phase)).astype(np.float32)
  layer.albedo *= 0.62 + 0.38 * np.clip(phase * 4, 0, 1)
