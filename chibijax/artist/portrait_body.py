"""Neck, shoulders, ears and clothes of a portrait.

Coordinates are face units (`portrait_canvas`); colours are linear reflectance.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32

from chibijax.artist import palette
from chibijax.artist.attributes import Attributes
from chibijax.artist.portrait_canvas import (
  Canvas,
  Grid,
  ellipse,
  mirror,
  paint,
  spline,
  stroke,
)
from chibijax.artist.portrait_filter import value_noise
from chibijax.artist.portrait_geometry import Face
from chibijax.artist.portrait_scene import Layer
from chibijax.artist.portrait_shading import hex_to_linear, smoothstep

# The neck's base lies this far below the chin.
COLLAR = 0.22


def cloth_albedo(name: str) -> Float32[np.ndarray, "3"]:
  """Reflectance of cloth: photographed fabrics are duller than swatches."""
  color = hex_to_linear(palette.CLOTHES[name])
  grey = color.mean()
  return ((color * 0.85 + grey * 0.15) * 0.78 + 0.004).astype(np.float32)


def _neck_width(face: Face) -> float:
  return 0.59 + 0.10 * face.masculine - 0.07 * face.childlike


def body_skin(face: Face, canvas: Canvas, g: Grid, base: np.ndarray) -> Layer:
  """Neck, collar bones and chest."""
  half = _neck_width(face)
  low = face.chin + COLLAR
  right = [
    (half * 1.04, 0.7),
    (half * 1.0, low - 0.14),
    (half * 1.10, low + 0.06),
    (1.25, low + 0.40),
    (2.2, low + 0.62),
    (2.8, low + 1.0),
    (2.9, 3.2),
  ]
  curve = spline(right)
  cover = canvas.mask(np.concatenate([curve, mirror(curve)[::-1]]))
  # Above the jaw nothing of it shows.
  lower = g.below(0.5)
  z = np.zeros((g.size, g.size), np.float32)
  z[lower.top :] = neck_height(face, lower)
  albedo = np.empty((3, g.size, g.size), np.float32)
  albedo[:] = base[:, None, None]
  # Under the chin little light arrives.
  depth = (g.v - face.chin) / 0.42 + 0.25 * np.abs(g.u)
  albedo *= 0.42 + 0.56 * smoothstep(-0.1, 1.15, depth)
  albedo[1:] *= 0.96
  return Layer(cover, albedo, z, 0.35)


def neck_height(face: Face, g: Grid) -> np.ndarray:
  """The neck is a cylinder, set back, that widens into the chest."""
  half = _neck_width(face)
  low = face.chin + COLLAR
  t = smoothstep(low - 0.1, low + 0.6, g.v)
  neck = np.sqrt(np.clip(1 - (g.u / (half * 1.04)) ** 2, 0, 1)) * 0.50 - 0.42
  chest = -0.10 - 0.10 * g.u**2 + 0.10 * (g.v - low)
  z = neck * (1 - t) + chest * t
  # Two neck tendons and the collar bones.
  tendon = np.exp(
    -0.5 * ((np.abs(g.u) - half * 0.55 * (1 - 0.5 * t)) / 0.09) ** 2
  )
  z = z + 0.03 * tendon * np.clip(1 - np.abs(g.v - low) / 0.5, 0, 1)
  bone = low + 0.34 + 0.05 * np.abs(g.u)
  return z + 0.05 * np.exp(-0.5 * ((g.v - bone) / 0.05) ** 2) * t


# Depth and half width of the neckline.
_NECKLINES = {
  "tshirt": (0.36, 0.74),
  "hoodie": (0.30, 0.70),
  "sweater": (0.24, 0.66),
  "shirt": (0.42, 0.58),
  "blazer": (0.55, 0.60),
  "dress": (0.62, 0.98),
  "overalls": (0.34, 0.74),
}
_CLOTH_GLOSS = {"blazer": 0.12, "dress": 0.2}


def clothes(
  face: Face,
  a: Attributes,
  canvas: Canvas,
  g: Grid,
  rng: np.random.Generator,
) -> Layer:
  """Shoulders in the garment, with folds, collar and trimmings."""
  low = face.chin + COLLAR
  half = _neck_width(face)
  slope = 0.05 * face.masculine
  shoulder = [
    (half * 1.02, low - 0.02),
    (half * 1.30, low + 0.12),
    (1.30, low + 0.38 - slope),
    (2.1, low + 0.56 - slope),
    (2.65, low + 0.90),
    (2.95, low + 1.6),
  ]
  depth, width = _NECKLINES[a.clothes]
  right = spline(shoulder)
  right = right[right[:, 0] >= width]
  neckline = spline(
    [
      tuple(right[0]),
      (width * 0.80, low + 0.55 * depth + 0.10),
      (width * 0.42, low + depth * 0.92 + 0.10),
      (0, low + depth + 0.12),
    ]
  )
  outline = [neckline[::-1], right, np.array([[2.95, 3.4], [-2.95, 3.4]])]
  outline += [mirror(right)[::-1], mirror(neckline)]
  cover = canvas.mask(np.concatenate(outline).astype(np.float32), blur=0.010)
  albedo = np.empty((3, g.size, g.size), np.float32)
  albedo[:] = cloth_albedo(a.clothes_color)[:, None, None]
  lower = g.below(low - 0.35)
  height = np.zeros((g.size, g.size), np.float32)
  height[lower.top :] = _folds(a, lower, rng, low, shoulder)
  layer = Layer(cover, albedo, height, _CLOTH_GLOSS.get(a.clothes, 0.06))
  _Tailor(layer, a, canvas, g, low, low + depth + 0.12, half).trim(
    np.concatenate([mirror(neckline)[:-1], neckline[::-1]]), rng
  )
  return layer


def _folds(
  a: Attributes,
  g: Grid,
  rng: np.random.Generator,
  low: float,
  shoulder: list[tuple[float, float]],
) -> np.ndarray:
  """The torso with soft folds that run down from neck and shoulders."""
  z = -0.05 - 0.12 * g.u**2 + 0.12 * (g.v - low)
  line = np.interp(np.abs(g.u), *zip(*shoulder)).astype(np.float32)
  # The torso rounds off towards the top of the shoulders.
  below = np.clip((g.v - line) / 0.55, 0, 1)
  z = z - 0.40 * (1 - np.sqrt(below * (2 - below)))
  n = value_noise(rng, 7, g.size, 2)[:, g.top :]
  phase = 5.5 * g.u * (1.3 - 0.15 * g.v) + 1.6 * n[0]
  stiff = {"blazer": 0.35, "hoodie": 1.2, "sweater": 0.9}.get(a.clothes, 1.0)
  z = z + np.float32(0.050 * stiff) * np.sin(phase) * (0.6 + 0.8 * n[1])
  drape = 7.0 * (g.v + 0.45 * np.abs(g.u)) + 2.0 * n[1]
  return z + np.float32(0.030 * stiff) * np.sin(drape) * (0.5 + n[0])


@dataclasses.dataclass
class _Tailor:
  """Adds collars, lapels, straps and knit to a garment.

  Attributes:
    layer: the garment.
    attributes: the attributes.
    canvas: rasteriser.
    grid: grid of the layer.
    low: height of the neck's base.
    bottom: height of the neckline's lowest point.
    half: half width of the neck.
  """

  layer: Layer
  attributes: Attributes
  canvas: Canvas
  grid: Grid
  low: float
  bottom: float
  half: float

  def __post_init__(self) -> None:
    self._color = cloth_albedo(self.attributes.clothes_color)
    self._accent = cloth_albedo(self.attributes.accent_color)

  def trim(self, neckline: np.ndarray, rng: np.random.Generator) -> None:
    """Adds what the garment has; `neckline` runs from left to right."""
    kind, layer, g = self.attributes.clothes, self.layer, self.grid
    if kind == "hoodie":
      self._rib(neckline, 0.26, 0.95, 0.14)
      cord = [(0.22, -0.06), (0.25, 0.25), (0.24, 0.6)]
      cord = stroke(spline(np.add(cord, (0, self.bottom))), 0.05)
      part = self.canvas.coverage(cord, mirror(cord), blur=0.01)
      paint(layer.albedo, part, self._accent)
    elif kind in ("tshirt", "sweater", "overalls"):
      self._rib(neckline, 0.11, 0.86, 0.05)
    if kind == "sweater":
      layer.height += 0.006 * np.sin(g.u * 60) * np.cos(g.v * 34)
      layer.albedo *= 1 + 0.10 * np.sin(g.u * 60 + 0.6) * np.cos(g.v * 34)
    elif kind == "overalls":
      self._overalls()
    elif kind == "shirt":
      self._collar(self._color * 1.02)
      self._buttons()
    elif kind == "blazer":
      self._blazer()
    elif kind == "dress":
      pattern = smoothstep(0.35, 0.65, value_noise(rng, 22, g.size)[0])
      change = self._accent[:, None, None] - layer.albedo
      layer.albedo += change * pattern * 0.7

  def _rib(
    self, neckline: np.ndarray, width: float, shade: float, rise: float
  ) -> None:
    self._piece(stroke(neckline, width), self._color * shade, rise)

  def _piece(
    self,
    shape: np.ndarray,
    color: np.ndarray,
    rise: float,
    *,
    inside: bool = False,
  ) -> None:
    """Sews on a shape and its mirror image; `inside` keeps to the garment."""
    layer = self.layer
    part = self.canvas.coverage(shape, mirror(shape), blur=0.01)
    if part is None:
      return
    box, cover = part
    if inside:
      cover = cover * layer.cover[box]
    paint(layer.albedo, (box, cover), color)
    layer.cover[box] = np.maximum(layer.cover[box], cover)
    layer.height[box] += rise * cover

  def _curved(self, points: list[tuple[float, float]]) -> np.ndarray:
    """Closed curve; heights are relative to the neck's base."""
    moved = np.array(points, np.float32) + np.array([0, self.low], np.float32)
    return spline(moved, closed=True, steps=4)

  def _overalls(self) -> None:
    strap = [(0.62, -0.1), (0.95, -0.1), (0.98, 1.6), (0.60, 1.6)]
    self._piece(self._curved(strap), self._accent, 0.05, inside=True)
    v = self.bottom - self.low + 0.28
    bib = [(-0.05, v), (0.9, v), (1.0, 1.7), (-0.05, 1.7)]
    self._piece(self._curved(bib), self._accent, 0.06, inside=True)

  def _collar(self, color: np.ndarray) -> None:
    half = self.half
    collar = [(0.05, 0.34), (half * 0.9, -0.16), (half * 1.22, -0.02)]
    collar += [(half * 1.15, 0.26), (0.42, 0.60)]
    self._piece(self._curved(collar), color, 0.10)

  def _buttons(self) -> None:
    albedo, canvas, low = self.layer.albedo, self.canvas, self.low
    placket = np.array([(0.0, low + 0.40), (0.0, 3.4)], np.float32)
    part = canvas.coverage(stroke(placket, 0.03), blur=0.015)
    paint(albedo, part, self._color * 0.6, 0.7)
    buttons = [
      ellipse(0.05, low + 0.62 + 0.42 * k, 0.03, 0.03, 10) for k in range(3)
    ]
    paint(albedo, canvas.coverage(*buttons), self._color * 0.4, 0.8)

  def _blazer(self) -> None:
    half = self.half
    front = [(-0.04, 0.24), (0.52, -0.02), (0.72, 0.25), (0.04, 1.6)]
    self._piece(
      self._curved([*front, (-0.04, 1.6)]), self._accent * 0.95, -0.04
    )
    self._collar(self._accent * 1.02)
    lapel = [(half * 1.18, -0.04), (half * 1.55, 0.16), (0.98, 0.75)]
    lapel += [(0.80, 0.82), (0.82, 0.98), (0.10, 1.5), (0.02, 1.3), (0.5, 0.6)]
    self._piece(self._curved(lapel), self._color * 0.92, 0.07)


def ears(face: Face) -> list[np.ndarray]:
  """Outlines of both ears."""
  edge = float(np.interp(0.1, face.rows, face.half_width))
  shape = spline(
    [
      (edge - 0.05, -0.12),
      (edge + 0.06, -0.20),
      (edge + 0.13, -0.12),
      (edge + 0.125, 0.08),
      (edge + 0.075, 0.27),
      (edge + 0.03, 0.40),
      (edge - 0.05, 0.36),
    ],
    closed=True,
  )
  return [shape, mirror(shape)]


def paint_ears(
  albedo: np.ndarray, face: Face, canvas: Canvas, base: np.ndarray
) -> None:
  """Darkens the hollow of the ears."""
  edge = float(np.interp(0.1, face.rows, face.half_width))
  bend = [(0.02, -0.1), (0.085, -0.08), (0.07, 0.12), (0.02, 0.2)]
  hollow = spline(np.add(bend, (edge, 0)), closed=True)
  part = canvas.coverage(hollow, mirror(hollow), blur=0.02)
  paint(albedo, part, base * np.array([0.62, 0.42, 0.38], np.float32), 0.7)
