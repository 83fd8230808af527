"""Skin and hair as reflectance: tones, flush, freckles, where beards grow.

Albedo is in linear light on [3, H, W] planes; light is added by
`portrait_shading`. Coordinates are face units (`portrait_canvas`).
"""

import numpy as np
from jaxtyping import Float32

from chibijax.artist import palette
from chibijax.artist.attributes import Attributes
from chibijax.artist.portrait_canvas import Canvas, Grid, mirror, spline
from chibijax.artist.portrait_filter import product, value_noise
from chibijax.artist.portrait_geometry import Face
from chibijax.artist.portrait_scene import Layer, Scene
from chibijax.artist.portrait_shading import hex_to_linear, smoothstep

Planes = Float32[np.ndarray, "3 h w"]


def skin_albedo(tone: int) -> Float32[np.ndarray, "3"]:
  """Diffuse reflectance of a Monk tone.

  The published colours of the lightest tones are nearly white; as reflectances
  they would look like plaster, so they lose a little green and blue.
  """
  color = hex_to_linear(palette.SKIN[tone - 1])
  green = np.interp(tone, [1, 3, 5, 6, 8], [0.82, 0.80, 0.81, 0.90, 1.0])
  blue = np.interp(tone, [1, 3, 4, 6, 8], [0.73, 0.76, 0.88, 0.98, 1.0])
  color = color * np.array([0.95, green, blue], np.float32)
  # Photographs expose for the face: the darkest tones come out lighter and
  # warmer than the published swatches.
  deep = np.interp(tone, [6, 8, 10], [0.0, 0.35, 1.0])
  lift = 1 + deep * np.array([1.85, 0.90, 0.55], np.float32)
  return (color * lift).astype(np.float32)


def hair_albedo(name: str) -> Float32[np.ndarray, "3"]:
  """Diffuse reflectance of hair: darker than the drawn colour's name."""
  color = hex_to_linear(palette.HAIR[name])
  grey = color.mean()
  return ((color * 0.82 + grey * 0.18) * 0.72 + 0.002).astype(np.float32)


def skin_planes(
  face: Face, a: Attributes, g: Grid, rng: np.random.Generator
) -> Planes:
  """Skin of the head before the features: tone, flush, texture."""
  base = skin_albedo(a.skin_tone)
  eye_u, eye_v = face.eyes[1]
  flush = [
    (0.58, 0.48, 0.24, 0.22, 0.35 + 0.55 * a.blush),
    (0.0, face.nose[1] - 0.08, 0.16, 0.13, 0.45),
    (0.0, face.chin - 0.2, 0.25, 0.16, 0.22),
    (1.05, 0.15, 0.14, 0.3, 0.5),
    (eye_u, eye_v - 0.02, 0.21, 0.12, 0.28),
  ]
  dark = [
    (eye_u, eye_v + 0.11, 0.17, 0.06, 0.10 + 0.16 * face.aged),
    (eye_u - 0.2, eye_v, 0.09, 0.12, 0.16),
    (eye_u, eye_v - 0.10, 0.2, 0.07, 0.10),
    (0.33, face.nose[1] + 0.10, 0.06, 0.14, 0.05),
  ]
  red = _gaussians(flush, g)
  shade = _gaussians(dark, g)
  if face.masculine > 0.5 and a.facial_hair == "none":
    shade += 0.12 * face.masculine * beard_region(face, g)
  out = np.empty((3, g.size, g.size), np.float32)
  # Flush takes green and blue; on dark skin the share of it seen is smaller.
  amount = np.interp(a.skin_tone, [1, 5, 10], [0.30, 0.26, 0.20])
  cells = 26
  mottle = value_noise(rng, cells, g.size, 2)
  tint = 1 + 0.035 * mottle[0]
  if g.size >= 200:
    tint += 0.030 * value_noise(rng, 150, g.size)[0]
  for c, loss in enumerate((0.10, 1.0, 0.85)):
    tone = tint if c == 0 else tint - 0.02 * mottle[1]
    out[c] = base[c] * tone * (1 - amount * loss * red)
    out[c] *= 1 - shade * (0.75, 1.0, 0.92)[c]
  return out


def _gaussians(blobs: list[tuple[float, ...]], g: Grid) -> np.ndarray:
  """Sum of Gaussians (u, v, sigma u, sigma v, weight), mirrored in u."""
  both = blobs + [(-b[0], *b[1:]) for b in blobs if b[0] != 0]
  p = np.array(both, np.float32)
  across = np.exp(-0.5 * ((g.u - p[:, 0:1]) / p[:, 2:3]) ** 2)
  down = np.exp(-0.5 * ((g.v[:, 0] - p[:, 1:2]) / p[:, 3:4]) ** 2)
  return product((down * p[:, 4:5]).T, across)


def beard_region(face: Face, g: Grid) -> Float32[np.ndarray, "h w"]:
  """Where a beard would grow: soft 0..1 over jaw, chin and upper lip."""
  au = np.abs(g.u)
  # The cheek line falls from the sideburns to the corners of the mouth.
  line = 0.30 + 0.62 * np.clip((0.98 - au) / 0.55, 0, 1) ** 0.8
  line = np.where(au < 0.42, np.minimum(line, face.nose[1] + 0.09), line)
  return smoothstep(0.0, 0.16, g.v - line).astype(np.float32)


def beard_shapes(face: Face, kind: str) -> list[np.ndarray]:
  """Outlines of a moustache, and of the beard around a goatee's chin."""
  wide, y, m = 0.345 * face.expression.width, face.nose[1], face.mouth
  corner = m - 0.10 * face.expression.smile
  right = [
    (0.02, y + 0.11),
    (0.16, y + 0.10),
    (0.30, corner - 0.15),
    (wide + 0.10, corner - 0.02),
    (wide + 0.09, corner + 0.08),
    (wide - 0.02, corner - 0.02),
    (0.20, m - 0.085),
    (0.0, m - 0.07),
  ]
  half = spline(right)
  shapes = [np.concatenate([half, mirror(half)[::-1]])]
  if kind == "goatee":
    low = m + 0.65 * face.expression.gap
    right = [
      (wide + 0.10, corner - 0.04),
      (wide + 0.12, low + 0.20),
      (0.34, face.chin - 0.06),
      (0.16, face.chin + 0.05),
      (0.0, face.chin + 0.07),
    ]
    inner = [
      (0.0, low + 0.20),
      (0.17, low + 0.20),
      (wide - 0.04, low + 0.12),
      (wide + 0.02, corner),
    ]
    half = np.concatenate([spline(right), spline(inner)])
    shapes += [half, mirror(half)]
  return shapes


def lay_beard(
  scene: Scene,
  face: Face,
  a: Attributes,
  canvas: Canvas,
  g: Grid,
  z: np.ndarray,
  cover: np.ndarray,
  rng: np.random.Generator,
) -> None:
  """Lays stubble or a beard on the head.

  Args:
    scene: receives the beard; the head is laid already.
    face: the head's curves.
    a: the attributes.
    canvas: rasteriser.
    g: grid of the canvas.
    z: height field of the head.
    cover: coverage of the head.
    rng: for the hairs.
  """
  kind = a.facial_hair
  if kind == "none":
    return
  if kind in ("moustache", "goatee"):
    region = canvas.mask(*beard_shapes(face, kind), blur=0.045)
  else:
    # Hair grows up to the lips and just under them is a bare patch.
    lips = face.landmarks[48:60] * (1.05, 1) + np.array([0, 0.012])
    bare = canvas.mask(lips.astype(np.float32), blur=0.03)
    region = beard_region(face, g) * (1 - bare)
  fine = value_noise(rng, 70, g.size)[0] + 0.8 * value_noise(rng, 34, g.size)[0]
  if kind == "stubble":
    # Stubble is skin with a dark veil.
    amount = np.clip(region * (0.42 + 0.14 * fine), 0, 0.75) * cover
    color = np.minimum(hair_albedo(a.hair_color), 0.25)
    surface = scene.surface
    shadow = color * 0.5 + 0.3 * skin_albedo(a.skin_tone) * 0.4
    surface.albedo += (shadow[:, None, None] - surface.albedo) * amount
    return
  reach = np.clip(cover + _beard_fringe(face, canvas, kind), 0, 1)
  ragged = region * reach + 0.13 * fine * region * (1.3 - region)
  inside = smoothstep(0.25, 0.75, ragged)
  strands = hair_albedo(a.hair_color)[:, None, None] * 0.8
  down = np.zeros_like(scene.surface.tangent)
  down[1] = 1
  layer = Layer(
    inside * 0.94,
    strands * np.exp(0.24 * fine - 0.05),
    np.maximum(z, 0.25) + 0.05 + 0.016 * fine,
    0.05,
  )
  scene.lay(layer, hair=0.8, tangent=down, locks=0.0)


def _beard_fringe(face: Face, canvas: Canvas, kind: str) -> np.ndarray:
  """A full beard is wider and longer than the jaw."""
  if kind != "full_beard":
    return canvas.mask(face.head)
  low = face.landmarks[2:15].copy()
  low[:, 0] *= 1.05
  low[:, 1] += 0.13 * np.exp(-0.5 * (low[:, 0] / 0.5) ** 2) + 0.02
  return canvas.mask(low)
