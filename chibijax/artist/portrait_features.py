"""Paints the features of a face: eyes, brows, nose, mouth and the lines of age.

Everything here is albedo in linear light on [3, H, W] planes; light is added by
`portrait_shading`. Coordinates are face units (`portrait_canvas`).
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
from chibijax.artist.portrait_geometry import Face
from chibijax.artist.portrait_shading import hex_to_linear, mix, smoothstep
from chibijax.artist.portrait_skin import hair_albedo, skin_albedo

# Below this many pixels per face unit, details such as single brow hairs are
# smaller than a pixel of the picture and are left out.
_DETAIL = 30.0


def deeper(base: np.ndarray, amount: float) -> np.ndarray:
  """Skin in a fold: darker and redder."""
  return base * (1 - amount * np.array([0.72, 0.92, 0.92], np.float32))


@dataclasses.dataclass
class Features:
  """Planes of a head's surface and what paints the features into them.

  Attributes:
    albedo: reflectance of the head.
    gloss: strength of specular light.
    skin: share of skin for the shading (scatters light).
    bare: share of bare skin for the skin mask: no eyes, brows, lips.
    face: the head's curves.
    attributes: the attributes.
    canvas: rasteriser of the planes' size.
    grid: grid of the planes' size.
    rng: for the irregularities of hairs and spots.
  """

  albedo: Float32[np.ndarray, "3 h w"]
  gloss: Float32[np.ndarray, "h w"]
  skin: Float32[np.ndarray, "h w"]
  bare: Float32[np.ndarray, "h w"]
  face: Face
  attributes: Attributes
  canvas: Canvas
  grid: Grid
  rng: np.random.Generator

  def __post_init__(self) -> None:
    self._base = skin_albedo(self.attributes.skin_tone)
    self._fine = 1 / self.grid.pixel >= _DETAIL

  def paint(self) -> None:
    """Paints all features, in place."""
    self._folds()
    if self.face.aged > 0.5:
      self._age()
    if self.attributes.freckles > 0:
      self._freckles()
    self._nose()
    self._mouth()
    self._eyeballs()
    self._lids()
    self._brows()

  def _blend(
    self,
    *shapes: np.ndarray,
    color: np.ndarray | list[float],
    opacity: float = 1.0,
    blur: float = 0.0,
  ):
    part = self.canvas.coverage(*shapes, blur=blur)
    paint(self.albedo, part, color, opacity)
    return part

  def _nose(self) -> None:
    base = self._base
    wing, y, _ = self.face.nose
    hole = ellipse(wing * 0.46, y + 0.018, wing * 0.27, 0.028, 16)
    hole[:, 1] -= 0.25 * (hole[:, 0] - wing * 0.46)
    crease = spline(
      [
        (wing * 0.92, y - 0.17),
        (wing * 1.06, y - 0.08),
        (wing * 1.0, y - 0.005),
        (wing * 0.78, y + 0.03),
      ]
    )
    wall = stroke(crease, 0.035, 0.1, 0.4)
    self._blend(
      wall, mirror(wall), color=deeper(base, 0.6), opacity=0.55, blur=0.018
    )
    self._blend(
      hole, mirror(hole), color=deeper(base, 0.93), opacity=0.9, blur=0.012
    )
    if self._fine:
      under = spline(
        [(-wing * 0.4, y + 0.03), (0, y + 0.055), (wing * 0.4, y + 0.03)]
      )
      tip = stroke(under, 0.03, 0.3, 0.3)
      self._blend(tip, color=deeper(base, 0.5), opacity=0.5, blur=0.02)

  def _folds(self) -> None:
    """The folds from the nose to the corners of the mouth."""
    face, e = self.face, self.face.expression
    wing, y, _ = face.nose
    corner = 0.36 * e.width + 0.15
    fold = spline(
      [
        (wing + 0.07, y - 0.10),
        (wing + 0.17, y + 0.04),
        (corner, face.mouth - 0.10),
        (corner, face.mouth + 0.06 + 0.1 * face.aged),
      ]
    )
    strength = 0.16 + 0.42 * max(e.smile, 0) + 0.35 * face.aged
    strength *= 1 - 0.45 * face.childlike
    line = stroke(fold, 0.03 + 0.015 * face.aged, 0.2, 0.1)
    self._blend(
      line,
      mirror(line),
      color=deeper(self._base, 0.55),
      opacity=min(strength, 0.75),
      blur=0.022,
    )

  def _age(self) -> None:
    """Lines of the forehead, around the eyes and between the brows."""
    lines = []
    for k, v in enumerate((-0.62, -0.78, -0.94)):
      wave = spline(
        [(-0.5, v + 0.03), (-0.2, v), (0.1, v + 0.02), (0.5, v + 0.03)]
      )
      lines.append(stroke(wave * (1 - 0.08 * k, 1), 0.022, 0.0, 0.0))
    u, v = self.face.eyes[1]
    right = [
      stroke(
        spline([(u + 0.25, v + 0.3 * d), (u + 0.38, v + d)]), 0.02, 0.3, 0.0
      )
      for d in (-0.06, 0.02, 0.09)
    ]
    bag = spline([(u - 0.16, v + 0.12), (u, v + 0.19), (u + 0.2, v + 0.13)])
    right.append(stroke(bag, 0.03, 0.1, 0.1))
    right.append(stroke(spline([(0.06, -0.36), (0.05, -0.2)]), 0.02, 0.1, 0.1))
    lines += right + [mirror(line) for line in right]
    self._blend(*lines, color=deeper(self._base, 0.55), opacity=0.5, blur=0.012)

  def _freckles(self) -> None:
    amount = self.attributes.freckles
    count = int(30 + 70 * amount)
    u = self.rng.normal(0, 0.42, count)
    v = 0.36 + self.rng.normal(0, 0.14, count) + 0.06 * np.abs(u)
    radius = self.rng.uniform(0.008, 0.02, count)
    dot = ellipse(0.0, 0.0, 1.0, 1.0, 8)
    spots = dot * radius[:, None, None] + np.stack([u, v], 1)[:, None]
    color = self._base * np.array([0.62, 0.46, 0.36], np.float32)
    self._blend(*spots, color=color, opacity=0.35 + 0.3 * amount)

  def _mouth(self) -> None:
    a, base, e = self.attributes, self._base, self.face.expression
    outer, inner = self.face.landmarks[48:60], self.face.landmarks[60:68]
    color = hex_to_linear(palette.skin_palette(a.skin_tone)["lip"])
    vivid = {"feminine": 0.62, "androgynous": 0.45}.get(a.presentation, 0.34)
    bare_lip = base * np.array([0.90, 0.66, 0.64], np.float32)
    lip = mix(bare_lip, color * 0.85, vivid)
    top = spline(outer[:7], steps=4)
    below = spline(outer[[6, 7, 8, 9, 10, 11, 0]], steps=4)
    part = self._blend(
      np.concatenate([top, below]), color=lip, opacity=0.88, blur=0.012
    )
    paint(self.gloss, part, 0.75, 0.8)
    paint(self.bare, part, 0.0)
    # The upper lip faces down: it is darker.
    upper = np.concatenate([top, inner[[4, 3, 2, 1, 0]]])
    self._blend(upper, color=lip * 0.62, opacity=0.6, blur=0.02)
    width = 0.030
    if e.gap > 0.015:
      self._open_mouth(inner)
      width = 0.018
    line = spline(np.concatenate([outer[0:1], inner[:5], outer[6:7]]))
    self._blend(
      stroke(line, width, 0.5, 0.5),
      color=deeper(lip, 0.86),
      opacity=0.85,
      blur=0.008,
    )
    if self._fine:
      corners = [ellipse(*outer[k].tolist(), 0.035, 0.028, 12) for k in (0, 6)]
      self._blend(*corners, color=deeper(base, 0.7), opacity=0.5, blur=0.02)

  def _open_mouth(self, inner: np.ndarray) -> None:
    """The dark of the mouth, tongue and teeth."""
    e = self.face.expression
    hole = [spline(inner[:5]), spline(inner[[4, 5, 6, 7, 0]])]
    part = self._blend(np.concatenate(hole), color=[0.045, 0.010, 0.010])
    paint(self.gloss, part, 0.2)
    if e.tongue or e.gap > 0.15:
      v = float(inner[6, 1]) - (0.0 if e.tongue else 0.02)
      tongue = ellipse(0.0, v, 0.16, 0.11 if e.tongue else 0.06, 20)
      if not e.tongue:
        tongue = np.minimum(tongue, np.array([9, v + 0.01], np.float32))
      self._blend(tongue, color=[0.42, 0.11, 0.10], opacity=0.9, blur=0.015)
    if e.teeth > 0:
      self._teeth(inner, e.teeth * e.gap)

  def _teeth(self, inner: np.ndarray, height: float) -> None:
    top = spline(inner[:5])
    width = np.abs(top[:, 0:1]) / max(float(np.abs(top[:, 0]).max()), 1e-3)
    low = top + np.sqrt(1 - width**2) * np.array([0, 0.92 * height], np.float32)
    part = self._blend(
      np.concatenate([top, low[::-1]]),
      color=[0.66, 0.60, 0.51],
      opacity=0.96,
      blur=0.006,
    )
    paint(self.gloss, part, 0.6)
    if not self._fine:
      return
    middle = float(inner[2, 1])
    gaps = []
    for x in (-0.165, -0.105, -0.05, 0.0, 0.05, 0.105, 0.165):
      line = [(x, middle), (x, middle + height * 0.85)]
      gaps.append(stroke(np.array(line, np.float32), 0.010))
    self._blend(*gaps, color=[0.30, 0.22, 0.18], opacity=0.40, blur=0.004)

  def _eyeballs(self) -> None:
    face, e = self.face, self.face.expression
    sides = [k for k, open_ in enumerate((e.left, e.right)) if open_ > 0.1]
    if not sides:
      return
    lids = [face.lids[k] for k in sides]
    part = self.canvas.coverage(*lids)
    if part is None:
      return
    box, _ = part
    # The upper lid and its lashes shade the top of the eyeball.
    shifted = [curve + np.array([0, 0.055], np.float32) for curve in lids]
    lit = self.canvas.mask(*shifted, blur=0.018)[box]
    paint(self.albedo, part, self._iris(box) * (0.26 + 0.74 * lit))
    paint(self.gloss, part, 0.30)
    paint(self.skin, part, 0.15)
    paint(self.bare, part, 0.0)
    if self._fine:
      ducts = []
      for k in sides:
        u, v = face.eyes[k]
        inward = (0.205, -0.205)[k]
        ducts.append(ellipse(u + inward, v + 0.02, 0.026, 0.02, 12))
      self._blend(*ducts, color=[0.36, 0.17, 0.14], opacity=0.6, blur=0.008)

  def _iris(self, box: tuple[slice, slice]) -> Float32[np.ndarray, "3 h w"]:
    """Scleras, irises and pupils on a box of the grid."""
    rows, columns = box
    face, a, g = self.face, self.attributes, self.grid
    u, right = g.u[:, columns], g.u[:, columns] > 0
    (left_u, cv), (right_u, _) = face.eyes
    gaze = face.expression.gaze
    from_center = u - np.where(right, right_u, left_u).astype(np.float32)
    du = from_center - np.float32(gaze[0])
    dv = g.v[rows] - np.float32(cv - 0.018 + gaze[1])
    r = np.sqrt(du * du + dv * dv) * np.float32(1 / face.iris)
    soft = max(0.06, 0.5 * g.pixel / face.iris)
    corner = np.minimum(np.abs(from_center) / 0.22, 1)
    white = np.interp(a.skin_tone, [1, 5, 10], [0.52, 0.44, 0.29])
    sclera = np.array([1.0, 0.92, 0.86], np.float32) * np.float32(white)
    sclera = sclera[:, None, None] * (1 - np.float32(0.35) * corner * corner)
    tint = hex_to_linear(palette.EYES[a.eye_color]) * np.float32(0.8)
    rays = 1 + 0.16 * self.rng.standard_normal(48).astype(np.float32)
    angle = (np.arctan2(dv, du) * (12 / np.pi) + 12).astype(np.intp) % 24
    angle += 24 * right
    # The iris is lightest opposite the light, where the cornea focuses it.
    glow = 0.75 + 0.35 * np.clip(dv / np.float32(face.iris) + 0.2, -0.5, 1)
    iris = tint[:, None, None] * (glow * rays[angle])
    iris = iris * (1 - 0.70 * smoothstep(0.72, 1.0, r))
    out = mix(sclera, iris, 1 - smoothstep(1 - soft, 1 + soft, r))
    pupil = 1 - smoothstep(0.40 - soft, 0.40 + soft, r)
    return mix(out, np.float32(0.006), pupil)

  def _lids(self) -> None:
    """Lashes, the crease of the upper lid and the edge of the lower one."""
    a, base = self.attributes, self._base
    lash = 0.6 if a.presentation == "masculine" else 1.0
    lashes, creases, edges = [], [], []
    for lids, out in zip(self.face.lids, (-1, 1)):
      upper = lids[:26]
      line = upper + np.array([0, -0.006], np.float32)
      lashes.append(stroke(line, 0.030 + 0.018 * lash, 0.9, 0.3))
      if lash > 0.8:
        start = upper[0]
        tip = start + np.array([out * 0.075, -0.045], np.float32)
        bend = 0.5 * (start + tip) + np.array([0, 0.012], np.float32)
        wing = spline(np.stack([start, bend, tip]))
        lashes.append(stroke(wing, 0.03, 1.0, 0.0))
      rise = [(out * 0.03, -0.02), (0, -0.052), (0, -0.058), (0, -0.05)]
      crease = spline(upper[[0, 5, 12, 18, 24]] + [*rise, (0, -0.035)])
      creases.append(stroke(crease, 0.026, 0.3, 0.2))
      edges.append(stroke(lids[24:], 0.020, 0.3, 0.6))
    hood = {"hooded": 0.35, "narrow": 0.45}.get(a.eye_shape, 0.7)
    self._blend(*creases, color=deeper(base, 0.68), opacity=hood, blur=0.012)
    if self._fine:
      self._blend(*edges, color=deeper(base, 0.6), opacity=0.55, blur=0.008)
    dark = np.minimum(hair_albedo(a.hair_color) * 0.3, 0.02) + 0.004
    part = self._blend(
      *lashes, color=dark, opacity=0.55 + 0.35 * lash, blur=0.006
    )
    paint(self.bare, part, 0.0)

  def _brows(self) -> None:
    face, a = self.face, self.attributes
    thick = {"thick": 1.45, "thin": 0.62}.get(a.brow_shape, 1.0)
    width = 0.085 * thick * (1 + 0.28 * face.masculine)
    width *= 1 - 0.15 * face.childlike
    color = np.minimum(hair_albedo(a.hair_color) * 0.55, 0.30)
    color = np.minimum(color, self._base * 0.5)
    curves = [spline(brow) for brow in face.brows]
    bodies = [stroke(curve, width, 0.35, 0.85) for curve in curves]
    part = self._blend(*bodies, color=color, opacity=0.68, blur=0.022)
    if part is not None:
      paint(self.bare, (part[0], smoothstep(0.35, 0.65, part[1])), 0.0)
    if not self._fine:
      return
    count = 26
    hairs = []
    for curve, out in zip(curves, (-1, 1)):
      t = self.rng.uniform(0.02, 1.0, count)
      at = t * (len(curve) - 1)
      knots = np.arange(len(curve))
      root = np.stack([np.interp(at, knots, curve[:, k]) for k in (0, 1)], 1)
      root[:, 1] += self.rng.uniform(-0.3, 0.42, count) * width
      length = width * self.rng.uniform(0.5, 0.85, count)
      # Hairs stand up near the nose and lie outwards along the tail.
      lean = np.clip(1.25 - t, 0.25, 1)
      tip = root + np.stack([out * length, -0.8 * length * lean], 1)
      half = np.array([0, 0.006])
      hairs += list(np.stack([root - half, tip, root + half], 1))
    self._blend(
      *(hair.astype(np.float32) for hair in hairs),
      color=color * 0.7,
      opacity=0.6,
    )
