"""Glasses and earrings of a portrait.

Coordinates are face units (`portrait_canvas`); colours are linear reflectance.
"""

import dataclasses

import numpy as np

from chibijax.artist.attributes import Attributes
from chibijax.artist.portrait_body import cloth_albedo
from chibijax.artist.portrait_canvas import (
  Canvas,
  Grid,
  Points,
  ellipse,
  mirror,
  paint,
  spline,
  stroke,
)
from chibijax.artist.portrait_geometry import Face
from chibijax.artist.portrait_scene import Scene
from chibijax.artist.portrait_shading import smoothstep


@dataclasses.dataclass(frozen=True)
class _Frame:
  """Half width and height of a lens, squareness, and the rim's thickness."""

  width: float
  height: float
  power: float
  rim: float


_FRAMES = {
  "round": _Frame(0.34, 0.33, 2.0, 0.032),
  "square": _Frame(0.36, 0.27, 4.5, 0.060),
  "cat_eye": _Frame(0.37, 0.27, 2.8, 0.058),
  "half_rim": _Frame(0.36, 0.24, 3.5, 0.034),
  "sunglasses": _Frame(0.39, 0.33, 3.0, 0.050),
}


def _lens(kind: str, u: float, v: float) -> Points:
  """Outline of the right lens, a superellipse."""
  f = _FRAMES[kind]
  t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
  c, s = np.cos(t), np.sin(t)
  x = np.sign(c) * np.abs(c) ** (2 / f.power) * f.width
  y = np.sign(s) * np.abs(s) ** (2 / f.power) * f.height
  if kind == "cat_eye":
    y = y - 0.10 * np.clip(x / f.width, 0, 1) ** 2 * (y < 0)
  elif kind == "sunglasses":
    x = x * np.where(y < 0, 1.06, 0.94)
  return np.stack([x + u, y + v], 1).astype(np.float32)


def _wires(kind: str, lens: Points, face: Face) -> list[Points]:
  """Rims, bridge and temples."""
  f, v = _FRAMES[kind], face.eyes[1][1]
  rim = lens[20:] if kind == "half_rim" else np.concatenate([lens, lens[:1]])
  ring = stroke(rim, f.rim)
  inside, outside = float(lens[:, 0].min()), float(lens[:, 0].max())
  edge = float(np.interp(v, face.rows, face.half_width))
  ends = [(outside, v - 0.04), (edge + 0.03, v - 0.07)]
  temple = stroke(np.array(ends, np.float32), f.rim)
  bridge = spline([(-inside, v - 0.01), (0, v - 0.065), (inside, v - 0.01)])
  wires = [ring, temple, stroke(bridge, f.rim)]
  return [*wires, mirror(ring), mirror(temple)]


def lay_glasses(
  scene: Scene, face: Face, a: Attributes, canvas: Canvas, g: Grid
) -> None:
  """Puts glasses on: their shadow, lenses and frame."""
  kind = a.glasses
  if kind == "none":
    return
  (_, v), (u, _) = face.eyes
  lens = _lens(kind, u + 0.02, v + 0.045)
  wires = _wires(kind, lens, face)
  s = scene.surface
  below = np.array([0, 0.06], np.float32)
  shadow = canvas.coverage(*(wire + below for wire in wires), blur=0.03)
  paint(s.albedo, shadow, 0.0, 0.30)
  part = canvas.coverage(lens, mirror(lens))
  if part is not None:
    if kind == "sunglasses":
      _dark_lens(scene, part, g)
    else:
      (rows, columns), cover = part
      slant = g.v[rows] - 0.55 * np.abs(g.u[:, columns]) + 0.34
      glare = np.exp(-0.5 * (slant / 0.05) ** 2)
      s.albedo[:, rows, columns] += cover * (0.07 * glare + 0.012)
  color = np.array([0.025, 0.022, 0.022], np.float32)
  if kind == "round":
    color = np.array([0.42, 0.30, 0.13], np.float32)
  elif kind == "cat_eye":
    color = cloth_albedo(a.accent_color) * 0.5
  frame = canvas.coverage(*wires, blur=0.004)
  paint(s.albedo, frame, color)
  paint(s.gloss, frame, 1.2)
  for plane in (s.skin, s.hair, scene.bare, scene.locks):
    paint(plane, frame, 0.0)
  paint(scene.alpha, frame, 1.0)


def _dark_lens(
  scene: Scene, part: tuple[tuple[slice, slice], np.ndarray], g: Grid
) -> None:
  """A graded tint with a faint reflection of the sky."""
  s = scene.surface
  (rows, columns), _ = part
  tone = 0.008 + 0.035 * smoothstep(0.25, -0.28, g.v[rows] - 0.05)
  slant = g.v[rows] + 0.12 + 0.3 * g.u[:, columns]
  tone = tone + 0.05 * np.exp(-0.5 * (slant / 0.07) ** 2)
  paint(s.albedo, part, tone[None], 0.93)
  paint(s.normal, part, [0.0, 0.25, 0.97])
  paint(s.gloss, part, 0.05)
  for plane in (s.skin, s.hair, scene.bare, scene.locks):
    paint(plane, part, 0.0)


def _earrings(face: Face, kind: str) -> list[Points]:
  edge = float(np.interp(0.1, face.rows, face.half_width)) + 0.045
  if kind == "stud":
    shapes = [ellipse(edge, 0.35, 0.042, 0.042, 12)]
  elif kind == "hoop":
    ring = ellipse(edge + 0.01, 0.52, 0.11, 0.15, 24)
    shapes = [stroke(np.concatenate([ring, ring[:1]]), 0.035)]
  else:
    wire = np.array([(edge, 0.36), (edge, 0.5)], np.float32)
    shapes = [stroke(wire, 0.02), ellipse(edge, 0.60, 0.05, 0.11, 16)]
  return shapes + [mirror(s) for s in shapes]


def lay_earrings(
  scene: Scene, face: Face, a: Attributes, canvas: Canvas
) -> None:
  """Puts earrings on, where hair does not cover them."""
  if a.earrings == "none" or a.headwear == "hijab":
    return
  part = canvas.coverage(*_earrings(face, a.earrings), blur=0.006)
  if part is None:
    return
  s = scene.surface
  part = (part[0], part[1] * (1 - s.hair[part[0]]))
  paint(s.albedo, part, [0.62, 0.48, 0.22])
  paint(s.normal, part, [-0.3, -0.35, 0.88])
  paint(s.gloss, part, 2.5)
  paint(s.skin, part, 0.0)
  paint(scene.bare, part, 0.0)
  paint(scene.alpha, part, 1.0)
